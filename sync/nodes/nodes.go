// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/utils/clock"

	"portico.dev/portico/sync/internal/mirror"
	"portico.dev/portico/sync/internal/queue"
)

// workers suffices for thousands of nodes: each is written once per heartbeat.
const workers = 2

// defaultLinger bridges a rolling update.
const defaultLinger = 30 * time.Second

// Config says how Nodes are made up, and where. Everything is of the virtual side:
// the host's nodes are never asked for.
type Config struct {
	Virtual   kubernetes.Interface
	Informers informers.SharedInformerFactory
	Shape     Shape

	// Heartbeat is how often a Node's status is renewed; 0 means five minutes.
	Heartbeat time.Duration
	// Linger is how long a Node outlives its last pod; 0 means half a minute.
	Linger time.Duration
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Controller keeps made-up Nodes in step with the pods that are on them.
type Controller struct {
	cfg   Config
	nodes corelisters.NodeLister
	made  mirror.Kind[*corev1.Node]
	usage *usage
	loop  *queue.Loop[string]
}

// New returns a controller. It registers with the informers, so it must be
// called before they are relied on.
func New(cfg Config) (*Controller, error) {
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 5 * time.Minute
	}
	if cfg.Linger == 0 {
		cfg.Linger = defaultLinger
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	nodes := cfg.Informers.Core().V1().Nodes()
	c := &Controller{cfg: cfg, nodes: nodes.Lister(), made: kindOf(cfg.Virtual)}
	c.loop = queue.NewLoop("nodes", cfg.Clock, c.reconcile)

	var err error
	if c.usage, err = newUsage(cfg.Informers, cfg.Clock, cfg.Linger, c.loop); err != nil {
		return nil, err
	}
	// Nodes that exist at the start are looked at too: their last pod may have gone
	// while no replica watched.
	look := func(node *corev1.Node) { c.loop.Add(node.Name) }
	return c, queue.Listen(c.loop, "nodes", nodes.Informer(), queue.On[*corev1.Node]{Added: look, Deleted: look})
}

// kindOf says how Nodes are made and removed. Their updates are particular: see
// Controller.keep and Mirror.update.
func kindOf(virtual kubernetes.Interface) mirror.Kind[*corev1.Node] {
	return mirror.Kind[*corev1.Node]{Noun: "node", Client: virtual.CoreV1().Nodes()}
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	return c.loop.Run(ctx, workers, c.cfg.Informers)
}

// Shown reports whether a made-up Node stands for a host node of that name,
// because a pod of the virtual cluster is on it. A virtual Node proves nothing:
// a tenant can make one under any name.
func (c *Controller) Shown(name string) bool {
	pods, err := c.usage.podsOn(name)
	return err == nil && len(pods) > 0
}

// reconcile makes, refreshes or removes one Node.
func (c *Controller) reconcile(ctx context.Context, name string) (time.Duration, error) {
	pods, err := c.usage.podsOn(name)
	if err != nil {
		return 0, err
	}
	node, err := c.nodes.Get(name)
	exists := err == nil
	switch {
	case err != nil && !apierrors.IsNotFound(err):
		return 0, err
	case exists && mirrored(node):
		// Left from a time when host nodes were shown. It comes back made up if
		// it is in use.
		return 0, c.made.Remove(ctx, node)
	case exists && node.Labels[LabelFake] == "":
		return 0, nil // the tenant's own
	case len(pods) > 0:
		return c.keep(ctx, name, node, hostIP(pods))
	case !exists:
		return 0, nil
	}
	if wait := c.usage.remaining(name); wait > 0 {
		return wait, nil
	}
	c.usage.forget(name)
	return 0, c.made.Remove(ctx, node)
}

// keep makes sure that the Node is there and that its last heartbeat is recent.
func (c *Controller) keep(ctx context.Context, name string, node *corev1.Node, ip string) (time.Duration, error) {
	if node == nil {
		created, err := c.made.Create(ctx, c.cfg.Shape.node(name))
		if err != nil || created == nil {
			return 0, err
		}
		node = created
	}

	now := c.cfg.Clock.Now()
	if due := lastHeartbeat(node).Add(c.cfg.Heartbeat); now.Before(due) && hasAddress(node, ip) {
		return due.Sub(now), nil
	}
	// The informer may not have seen our last write yet, and the transition
	// times come from there.
	node, err := c.cfg.Virtual.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return 0, fmt.Errorf("get node %q: %w", name, err)
	}
	if due := lastHeartbeat(node).Add(c.cfg.Heartbeat); now.Before(due) && hasAddress(node, ip) {
		return due.Sub(now), nil
	}
	status := c.cfg.Shape.status(name, ip, node.Status.Conditions, metav1.NewTime(now))
	body, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return 0, fmt.Errorf("encode the status of node %q: %w", name, err)
	}
	// A merge patch sets exactly these fields and loses no other in the status.
	if _, err := c.cfg.Virtual.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{}, "status"); err != nil {
		return 0, fmt.Errorf("patch the status of node %q: %w", name, err)
	}
	return c.cfg.Heartbeat, nil
}

func hostIP(pods []any) string {
	for _, obj := range pods {
		if pod, ok := obj.(*corev1.Pod); ok && pod.Status.HostIP != "" {
			return pod.Status.HostIP
		}
	}
	return ""
}

func hasAddress(node *corev1.Node, ip string) bool {
	if ip == "" {
		return true
	}
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP && a.Address == ip {
			return true
		}
	}
	return false
}

func lastHeartbeat(node *corev1.Node) time.Time {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.LastHeartbeatTime.Time
		}
	}
	return time.Time{}
}
