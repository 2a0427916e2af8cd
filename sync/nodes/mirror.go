// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/mirror"
	"portico.dev/portico/sync/internal/queue"
	"portico.dev/portico/sync/occupancy"
)

// MirrorConfig says which host nodes a Mirror reads, and where it shows them.
type MirrorConfig struct {
	Virtual   kubernetes.Interface
	Informers informers.SharedInformerFactory // of the virtual cluster
	// Host may get, list and watch the nodes of the host: see CheckAccess.
	Host kubernetes.Interface

	// Selector chooses the host nodes that are shown by their labels; nil means all.
	Selector labels.Selector
	// InUse shows only those that run a pod of the virtual cluster.
	InUse bool
	// HideImages leaves status.images out: it names the images of all who use the
	// node.
	HideImages bool
	// Tolerations are those of every pod of the virtual cluster on the host,
	// unseen by the tenant. Taints that they tolerate are not shown: inside,
	// they would keep DaemonSets away and evict pods.
	Tolerations []corev1.Toleration
	// Room is the room that pods of others take. A scheduler inside sees the nodes
	// without it. Nil shows them whole.
	Room *occupancy.Room

	// Linger is how long a Node outlives its last pod with InUse; 0 means half a minute.
	Linger time.Duration
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Mirror keeps virtual Nodes in step with host nodes.
type Mirror struct {
	cfg     MirrorConfig
	nodes   corelisters.NodeLister
	host    corelisters.NodeLister
	outside informers.SharedInformerFactory // of the host
	shown   mirror.Kind[*corev1.Node]
	usage   *usage // nil unless InUse
	loop    *queue.Loop[string]
}

// roomSettles is for how long changes of the room on a node are gathered. Many
// pods come and go together, and each write is seen by all that watch Nodes.
const roomSettles = time.Second

// NewMirror returns a Mirror. It registers with the virtual informers, so it must be called before they are relied on.
func NewMirror(cfg MirrorConfig) (*Mirror, error) {
	if cfg.Linger == 0 {
		cfg.Linger = defaultLinger
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	if cfg.Selector == nil {
		cfg.Selector = labels.Everything()
	}
	m := &Mirror{cfg: cfg, shown: kindOf(cfg.Virtual), outside: informers.NewSharedInformerFactoryWithOptions(cfg.Host, 0,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = cfg.Selector.String() }),
		informers.WithTransform(transform(cfg.HideImages, cfg.Tolerations)))}
	m.loop = queue.NewLoop("nodes", cfg.Clock, m.reconcile)
	m.nodes, m.host = cfg.Informers.Core().V1().Nodes().Lister(), m.outside.Core().V1().Nodes().Lister()

	if cfg.InUse {
		var err error
		if m.usage, err = newUsage(cfg.Informers, cfg.Clock, cfg.Linger, m.loop); err != nil {
			return nil, err
		}
	}
	look := func(node *corev1.Node) { m.loop.Add(node.Name) }
	on := queue.On[*corev1.Node]{Added: look, Deleted: look, Changed: func(old, node *corev1.Node) {
		if !sameShape(old, node) { // more than a heartbeat
			look(node)
		}
	}}
	if cfg.Room != nil {
		if err := cfg.Room.Listen(m.loop, func(node string) { m.loop.AddAfter(node, roomSettles) }); err != nil {
			return nil, err
		}
	}
	return m, errors.Join(
		queue.Listen(m.loop, "host nodes", m.outside.Core().V1().Nodes().Informer(), on),
		queue.Listen(m.loop, "nodes", cfg.Informers.Core().V1().Nodes().Informer(), on),
	)
}

// Observe watches the host's nodes until ctx ends. With several replicas of the
// door every one of them does, because each answers Shown; one of them also runs.
func (m *Mirror) Observe(ctx context.Context) error { return hostview.Observe(ctx, m.outside) }

// Run brings the virtual Nodes in step until ctx ends. It needs Observe to run as
// well.
func (m *Mirror) Run(ctx context.Context) error {
	return m.loop.Run(ctx, workers, m.cfg.Informers)
}

// Shown says whether the host node of that name is one that the virtual cluster shows. A virtual Node proves nothing: a
// tenant can make one under any name.
func (m *Mirror) Shown(name string) bool {
	if _, err := m.host.Get(name); err != nil {
		return false
	}
	if m.usage == nil {
		return true
	}
	pods, err := m.usage.podsOn(name)
	return err == nil && len(pods) > 0
}

// KeepsAway reports whether a host node has a taint that keeps pods away which
// have these tolerations on the host. A cordon shows on the virtual Node.
func (m *Mirror) KeepsAway(name string, tolerations []corev1.Toleration) bool {
	host, err := m.host.Get(name)
	if err != nil {
		return false
	}
	_, found := corev1helpers.FindMatchingUntoleratedTaint(klog.Background(), host.Spec.Taints, tolerations, func(t *corev1.Taint) bool {
		return t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute
	}, true)
	return found
}

// reconcile makes, changes or removes one virtual Node.
func (m *Mirror) reconcile(ctx context.Context, name string) (time.Duration, error) {
	node, err := optional(m.nodes.Get(name))
	if err != nil {
		return 0, err
	}
	host, err := optional(m.host.Get(name))
	if err != nil {
		return 0, err
	}
	var again time.Duration
	if host != nil && m.usage != nil {
		shown, wait, err := m.inUse(name, node != nil)
		if err != nil {
			return 0, err
		}
		if !shown {
			host = nil
		}
		again = wait
	}
	switch {
	case host == nil && node == nil:
		return 0, nil
	case host == nil:
		if !mirrored(node) && node.Labels[LabelFake] == "" {
			return 0, nil // the tenant's own, and on no host
		}
		if m.usage != nil {
			m.usage.forget(name)
		}
		return 0, m.shown.Remove(ctx, node)
	case node == nil:
		return again, m.create(ctx, m.withRoomLeft(host))
	default:
		return again, m.update(ctx, node, m.withRoomLeft(host))
	}
}

// withRoomLeft is a host node whose allocatable resources are those that others
// leave.
func (m *Mirror) withRoomLeft(host *corev1.Node) *corev1.Node {
	if m.cfg.Room == nil {
		return host
	}
	left := *host
	left.Status.Allocatable = m.cfg.Room.Left(host.Name, host.Status.Allocatable)
	return &left
}

// optional turns "not found" into nil.
func optional(node *corev1.Node, err error) (*corev1.Node, error) {
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return node, err
}

// inUse says whether a node is shown because pods are on it, or were a moment ago, and then for how much longer.
func (m *Mirror) inUse(name string, exists bool) (shown bool, wait time.Duration, err error) {
	pods, err := m.usage.podsOn(name)
	if err != nil || len(pods) > 0 {
		return true, 0, err
	}
	if !exists {
		return false, 0, nil
	}
	wait = m.usage.remaining(name)
	return wait > 0, max(wait, 0), nil
}

// create makes the Node whole: unlike for other kinds, the API takes a new Node's status as it comes, because kubelets
// register themselves like that.
func (m *Mirror) create(ctx context.Context, host *corev1.Node) error {
	_, err := m.shown.Create(ctx, merge(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: host.Name}}, host))
	return err
}

// update brings a Node to the result of merge.
func (m *Mirror) update(ctx context.Context, node, host *corev1.Node) error {
	if uid := lastContribution(node).UID; uid != "" && uid != host.UID {
		// The host has another node under this name. The deletion's event brings this key back.
		return m.shown.Remove(ctx, node)
	}
	if want := merge(node, host); same(want, node) {
		return nil
	}
	// The informer may not have seen the last write yet.
	client := m.cfg.Virtual.CoreV1().Nodes()
	node, err := client.Get(ctx, host.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get node %q: %w", host.Name, err)
	}
	// The status goes first: once the record says that the host does not
	// contribute a resource, nothing would remove it.
	if want := merge(node, host); !same(want.Status, node.Status) {
		// A write of the status also takes labels and annotations, which belong with the spec.
		node = node.DeepCopy()
		node.Status = want.Status
		if node, err = client.UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("update the status of node %q: %w", host.Name, err)
		}
	}
	if want := merge(node, host); !same(want, node) {
		if _, err = client.Update(ctx, want, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("update node %q: %w", host.Name, err)
		}
	}
	return nil
}

// CheckAccess asks the host for its nodes as a Mirror does, and returns the host's refusal.
func CheckAccess(ctx context.Context, host kubernetes.Interface) error {
	if _, err := host.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
		return fmt.Errorf("list the host's nodes: %w", err)
	}
	changes, err := host.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("watch the host's nodes: %w", err)
	}
	changes.Stop()
	return nil
}
