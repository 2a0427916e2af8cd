// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"

	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/measure"
	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/cmd/portico/internal/release"
	"portico.dev/portico/cmd/portico/internal/ui"
	"portico.dev/portico/cmd/portico/internal/wait"
	"portico.dev/portico/proxy/door"
	"portico.dev/portico/rewrite"
)

// broken is the state of a cluster whose control plane does not come up by
// itself. The other states are those of package cluster.
const broken = "Broken"

const (
	// measured is how long the size of a store is shown before it is asked for
	// again, and scrape how long porticod may take for an answer.
	measured = 30 * time.Second
	scrape   = 5 * time.Second
	// scrapes is how many are asked at the same time.
	scrapes = 4
)

// uiSource shows the clusters of a host to package ui. What it does, it does by
// the commands of portico, so that a button and a command are the same.
type uiSource struct {
	app        *app
	host       *host.Host
	kubeconfig string // --kubeconfig
	namespace  string // "" for all
	usage      func(ctx context.Context, namespace string) (map[types.NamespacedName]measure.Usage, error)
	store      func(ctx context.Context, namespace, name string, port int) (measure.Store, error)

	mu     sync.Mutex
	stores map[ui.ID]storeSize
}

type storeSize struct {
	measure.Store
	known bool
	at    time.Time
}

func (a *app) newUISource(h *host.Host) (*uiSource, error) {
	metrics, err := metricsclient.NewForConfig(h.REST)
	if err != nil {
		return nil, fmt.Errorf("open the metrics of the host: %w", err)
	}
	return &uiSource{
		app: a, host: h, kubeconfig: a.host.Kubeconfig, namespace: a.namespace, stores: map[ui.ID]storeSize{},
		usage: func(ctx context.Context, namespace string) (map[types.NamespacedName]measure.Usage, error) {
			return measure.Pods(ctx, metrics, namespace)
		},
		store: func(ctx context.Context, namespace, name string, port int) (measure.Store, error) {
			return measure.StoreOf(ctx, h, namespace, name, port)
		},
	}, nil
}

// Clusters asks the host five times, however many clusters there are, and each
// porticod that serves its own measurements for the size of its store.
func (s *uiSource) Clusters(ctx context.Context) (ui.Fleet, error) {
	fleet := ui.Fleet{Host: s.host.Context}
	found, err := finder(s.host).List(ctx, s.namespace)
	if apierrors.IsForbidden(err) && s.namespace == "" {
		err = fmt.Errorf("%w (portico ui -n NAMESPACE shows those of one host namespace)", err)
	}
	if err != nil {
		return fleet, err
	}
	missing := func(column string, err error) {
		if err != nil {
			fleet.Missing = append(fleet.Missing, column+": "+err.Error())
		}
	}
	doors, err := s.host.Client.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: door.LabelDoor})
	missing("Reasons and stores are not known", err)
	usage, err := s.usage(ctx, s.namespace)
	missing("CPU and memory are not known", err)
	tenants, err := s.tenants(ctx)
	missing("Pods are not counted", err)

	replicas := map[ui.ID][]corev1.Pod{}
	if doors != nil {
		for _, p := range doors.Items {
			id := ui.ID{Namespace: p.Namespace, Name: p.Labels[door.LabelDoor]}
			replicas[id] = append(replicas[id], p)
		}
	}
	for i := range found {
		c := viewCluster(&found[i])
		judge(&c, replicas[c.ID])
		addUsage(&c, replicas[c.ID], usage)
		if tenants != nil {
			n := tenants[c.ID]
			c.Pods = &n
		}
		fleet.Clusters = append(fleet.Clusters, c)
	}
	s.addStores(ctx, fleet.Clusters, replicas)
	return fleet, nil
}

// tenants counts the tenants' pods on the host by cluster.
func (s *uiSource) tenants(ctx context.Context) (map[ui.ID]int, error) {
	list, err := s.host.Metadata.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(s.namespace).
		List(ctx, metav1.ListOptions{LabelSelector: rewrite.LabelCluster + "," + rewrite.LabelNamespace})
	if err != nil {
		return nil, err
	}
	counts := map[ui.ID]int{}
	for i := range list.Items {
		counts[ui.ID{Namespace: list.Items[i].Namespace, Name: list.Items[i].Labels[rewrite.LabelCluster]}]++
	}
	return counts, nil
}

// addStores measures the stores of several clusters at the same time.
func (s *uiSource) addStores(ctx context.Context, clusters []ui.Cluster, replicas map[ui.ID][]corev1.Pod) {
	var all sync.WaitGroup
	places := make(chan struct{}, scrapes)
	for i := range clusters {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			s.addStore(ctx, &clusters[i], replicas[clusters[i].ID])
		})
	}
	all.Wait()
}

// addStore adds the size of a cluster's store, if a ready porticod of it serves
// its own measurements.
func (s *uiSource) addStore(ctx context.Context, c *ui.Cluster, replicas []corev1.Pod) {
	port := 0
	for i := range replicas {
		if wait.Ready(&replicas[i]) && replicas[i].DeletionTimestamp == nil {
			port = measure.Port(&replicas[i])
		}
	}
	if port == 0 {
		return
	}
	s.mu.Lock()
	size, seen := s.stores[c.ID]
	s.mu.Unlock()
	if now := s.app.now(); !seen || now.Sub(size.at) >= measured {
		soon, cancel := context.WithTimeout(ctx, scrape)
		defer cancel()
		store, err := s.store(soon, c.Namespace, c.Name, port)
		if ctx.Err() != nil {
			return // Nobody waits for the page: the next one asks again.
		}
		size = storeSize{store, err == nil, now}
		s.mu.Lock()
		s.stores[c.ID] = size
		s.mu.Unlock()
	}
	if size.known {
		c.Store = &size.Used
		if size.Limit > 0 {
			c.StoreLimit = &size.Limit
		}
	}
}

// Cluster shows what portico describe shows.
func (s *uiSource) Cluster(ctx context.Context, id ui.ID) (*ui.Cluster, error) {
	if cluster.CheckName(id.Name) != nil || (s.namespace != "" && s.namespace != id.Namespace) {
		return nil, ui.ErrUnknown
	}
	found, err := finder(s.host).Get(ctx, id.Namespace, id.Name)
	if errors.Is(err, cluster.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", ui.ErrUnknown, err)
	}
	if err != nil {
		return nil, err
	}
	o, err := s.app.overview(ctx, s.host, found)
	if err != nil {
		return nil, err
	}
	c := viewCluster(found)
	judge(&c, o.replicas)
	if o.Problem != "" {
		c.Reason = o.Problem
	}
	c.Pods, c.Address, c.Data = &o.Tenants, o.Address, o.Claims
	for _, p := range o.Pods {
		c.ControlPlane = append(c.ControlPlane, ui.Pod{Name: p.Name, Node: p.Node, Image: p.Image, Problem: p.Problem, Ready: p.Ready, Restarts: p.Restarts})
	}
	for _, w := range append(o.Conditions, o.Events...) {
		c.Warnings = append(c.Warnings, ui.Warning{Object: w.Object, Reason: w.Reason, Message: w.Message, Seen: w.Seen})
	}
	// One who may not read metrics sees the rest.
	if usage, err := s.usage(ctx, id.Namespace); err == nil {
		addUsage(&c, o.replicas, usage)
	}
	s.addStore(ctx, &c, o.replicas)
	return &c, nil
}

func viewCluster(c *cluster.Cluster) ui.Cluster {
	return ui.Cluster{
		ID: ui.ID{Namespace: c.Namespace, Name: c.Name}, State: string(c.State), Version: c.Version, Replicas: c.Replicas, Ready: c.Ready,
		Created: c.Created, LastUser: c.LastUser, LastActivity: c.LastActivity, SleepsAfter: c.SleepsAfter, SleepsBy: c.SleepsBy, SleepingSince: c.SleepingSince, WakeAt: c.WakeAt,
	}
}

// judge says why a cluster does not serve, and whether it is broken: when a
// container of its control plane has a fault that waiting does not cure.
func judge(c *ui.Cluster, replicas []corev1.Pod) {
	if c.State != string(cluster.Starting) {
		return
	}
	for i := range replicas {
		pod := &replicas[i]
		if wait.Ready(pod) {
			continue
		}
		reason, certain := wait.Problem(pod)
		c.Reason = "pod " + pod.Name + ": " + reason
		if certain && pod.DeletionTimestamp == nil {
			c.State = broken
			return
		}
	}
}

func addUsage(c *ui.Cluster, replicas []corev1.Pod, usage map[types.NamespacedName]measure.Usage) {
	for _, p := range replicas {
		u, there := usage[types.NamespacedName{Namespace: p.Namespace, Name: p.Name}]
		if !there {
			continue
		}
		if c.CPU == nil {
			c.CPU, c.Memory = new(int64), new(int64)
		}
		*c.CPU += u.CPU
		*c.Memory += u.Memory
	}
}

// Do runs the command of a button, with its output as the progress.
func (s *uiSource) Do(ctx context.Context, action ui.Action, id ui.ID, progress io.Writer) error {
	run := newApp(output.Streams{In: strings.NewReader(""), Out: progress, Err: progress}, s.app.command)
	run.open, run.chart, run.background, run.now = s.app.open, s.app.chart, s.app.background, s.app.now
	run.releases = func(h *host.Host, namespace string) (*release.Client, error) {
		client, err := s.app.releases(h, namespace)
		if err != nil {
			return nil, err
		}
		c := *client
		c.Say = run.streams.Say
		return &c, nil
	}
	args := []string{"--kubeconfig", s.kubeconfig, "--context", s.host.Context, "--namespace", id.Namespace, string(action), "--", id.Name}
	if code := run.run(ctx, args); code != 0 {
		return output.ExitError(code)
	}
	return nil
}
