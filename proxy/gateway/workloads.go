// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/marks"
)

const (
	// wakesPerSecond and wakeBurst bound the clusters that strangers can start.
	wakesPerSecond = 2
	wakeBurst      = 20
	// wakeLimit bounds the host's answers for one cluster.
	wakeLimit = 10 * time.Second
	// leastFresh is how long after its wake-up a cluster's door is waited for at
	// least.
	leastFresh = time.Minute
	// round is how often clusters are woken whose time has come.
	round = 5 * time.Second
	// attempts are made when others write the workload at the same time.
	attempts = 5
)

// Errors of clusters that are not woken.
var (
	ErrPaused       = errors.New("the virtual cluster is paused")
	ErrAsleep       = errors.New("the virtual cluster sleeps")
	ErrTooManyWakes = errors.New("too many virtual clusters are woken at the same time")
)

// Workloads knows which clusters of a host rest, by watching the workloads that
// are their control planes, and wakes those that sleep.
type Workloads struct {
	client kubernetes.Interface
	clock  clock.WithTicker
	views  []informers.SharedInformerFactory
	stores []cache.Store
	synced []cache.InformerSynced
	fresh  time.Duration // how long after its wake-up a cluster's door is waited for
	rate   *rate.Limiter // of wakes for clients
	waking singleflight.Group
	mu     sync.Mutex
	woken  map[types.NamespacedName]time.Time // by this process
}

// resting is a workload of either kind, as far as its rest is concerned.
type resting struct {
	metav1.ObjectMeta
	deployment bool
	replicas   int32
}

func (r *resting) rest() marks.Rest { return marks.RestOf(r.Annotations, r.replicas) }

// NewWorkloads watches the control planes in some namespaces, or in all. A nil
// clock is the real one. A client waits for a cluster that wakes as long as wait,
// also one who comes when others have waited for a while.
func NewWorkloads(client kubernetes.Interface, c clock.WithTicker, wait time.Duration, namespaces ...string) *Workloads {
	if c == nil {
		c = clock.RealClock{}
	}
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	w := &Workloads{
		client: client, clock: c, fresh: max(leastFresh, wait), rate: rate.NewLimiter(wakesPerSecond, wakeBurst),
		woken: map[types.NamespacedName]time.Time{},
	}
	for _, ns := range namespaces {
		view := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(ns),
			informers.WithTweakListOptions(func(l *metav1.ListOptions) { l.LabelSelector = rewrite.LabelCluster }),
			informers.WithTransform(leanWorkload))
		w.views = append(w.views, view)
		for _, informer := range []cache.SharedIndexInformer{view.Apps().V1().StatefulSets().Informer(), view.Apps().V1().Deployments().Informer()} {
			w.stores, w.synced = append(w.stores, informer.GetStore()), append(w.synced, informer.HasSynced)
		}
	}
	return w
}

// leanWorkload drops the fields that are not looked at.
func leanWorkload(obj any) (any, error) {
	lean := func(m metav1.ObjectMeta) metav1.ObjectMeta {
		return metav1.ObjectMeta{
			Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
			Labels: m.Labels, Annotations: m.Annotations, DeletionTimestamp: m.DeletionTimestamp,
		}
	}
	switch o := obj.(type) {
	case *appsv1.StatefulSet:
		return &appsv1.StatefulSet{ObjectMeta: lean(o.ObjectMeta), Spec: appsv1.StatefulSetSpec{Replicas: o.Spec.Replicas}}, nil
	case *appsv1.Deployment:
		return &appsv1.Deployment{ObjectMeta: lean(o.ObjectMeta), Spec: appsv1.DeploymentSpec{Replicas: o.Spec.Replicas}}, nil
	}
	return obj, nil
}

// restingOf returns a workload that is the control plane of a cluster: named
// like it. Other parts of one have the label too.
func restingOf(obj any) *resting {
	var r *resting
	switch o := obj.(type) {
	case *appsv1.StatefulSet:
		r = &resting{ObjectMeta: o.ObjectMeta, replicas: ptr.Deref(o.Spec.Replicas, 1)}
	case *appsv1.Deployment:
		r = &resting{ObjectMeta: o.ObjectMeta, replicas: ptr.Deref(o.Spec.Replicas, 1), deployment: true}
	default:
		return nil
	}
	if r.Labels[rewrite.LabelCluster] != r.Name || r.DeletionTimestamp != nil {
		return nil
	}
	return r
}

// Run watches until ctx is done, and wakes the clusters whose time has come.
func (w *Workloads) Run(ctx context.Context) {
	for _, view := range w.views {
		view.StartWithContext(ctx)
	}
	ticker := w.clock.NewTicker(round)
	defer ticker.Stop()
	for ctx.Err() == nil {
		w.wakeDue(ctx)
		select {
		case <-ctx.Done():
		case <-ticker.C():
		}
	}
	for _, view := range w.views {
		view.Shutdown()
	}
}

// Synced reports whether every workload is known.
func (w *Workloads) Synced() bool {
	return !slices.ContainsFunc(w.synced, func(synced cache.InformerSynced) bool { return !synced() })
}

// wakeDue wakes the clusters that have work to do. Every gateway of a host does
// it; the first one succeeds.
func (w *Workloads) wakeDue(ctx context.Context) {
	now := w.clock.Now()
	for _, store := range w.stores {
		for _, obj := range store.List() {
			r := restingOf(obj)
			if r == nil {
				continue
			}
			if at := r.rest().WakeAt; at.IsZero() || now.Before(at) {
				continue
			}
			if err := w.wake(ctx, types.NamespacedName{Namespace: r.Namespace, Name: r.Name}, r.deployment, marks.WokenByTime); err != nil && ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "Cluster has work to do and was not woken", "cluster", klog.KRef(r.Namespace, r.Name))
			}
		}
	}
}

// Look implements Waker.
func (w *Workloads) Look(cluster types.NamespacedName) (waits bool, err error) {
	_, waits, err = w.look(cluster)
	return waits, err
}

// look returns the workload of a cluster with ErrAsleep, and otherwise whether the
// door is worth waiting for.
func (w *Workloads) look(cluster types.NamespacedName) (r *resting, waits bool, err error) {
	if r = w.find(cluster); r == nil {
		return nil, false, nil // A process that somebody else started.
	}
	now, rest := w.clock.Now(), r.rest()
	switch {
	case rest.Paused:
		return r, false, ErrPaused
	case now.Sub(rest.Woken) < w.fresh || now.Sub(w.wokenAt(cluster)) < w.fresh:
		return r, true, nil
	case rest.Sleeping.IsZero():
		return r, false, nil
	}
	return r, false, ErrAsleep
}

// Wake implements Waker.
func (w *Workloads) Wake(ctx context.Context, cluster types.NamespacedName) (waits bool, err error) {
	r, waits, err := w.look(cluster)
	if !errors.Is(err, ErrAsleep) {
		return waits, err
	}
	// The work for one is the work for all who come meanwhile.
	result := w.waking.DoChan(cluster.String(), func() (any, error) {
		if !w.rate.AllowN(w.clock.Now(), 1) {
			return nil, ErrTooManyWakes
		}
		return nil, w.wake(context.WithoutCancel(ctx), cluster, r.deployment, marks.WokenByConnection)
	})
	select {
	case done := <-result:
		return done.Err == nil, done.Err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (w *Workloads) find(cluster types.NamespacedName) *resting {
	for _, store := range w.stores {
		if obj, known, err := store.GetByKey(cluster.String()); known && err == nil {
			if r := restingOf(obj); r != nil {
				return r
			}
		}
	}
	return nil
}

func (w *Workloads) wokenAt(cluster types.NamespacedName) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.woken[cluster]
}

// wake scales a workload up, as the host has it now: the view may be of before a
// person paused the cluster.
func (w *Workloads) wake(ctx context.Context, cluster types.NamespacedName, deployment bool, why string) error {
	ctx, cancel := context.WithTimeout(ctx, wakeLimit)
	defer cancel()
	for range attempts {
		r, err := w.get(ctx, cluster, deployment)
		switch {
		case err != nil:
			return fmt.Errorf("look at a virtual cluster that sleeps: %w", err)
		case r == nil:
			return nil // It is being deleted.
		case !r.rest().Sleeping.IsZero():
		case r.rest().Paused:
			return ErrPaused
		default:
			return nil // Somebody was faster.
		}
		body, err := marks.WakePatch(r.ResourceVersion, r.Annotations, w.clock.Now(), why)
		if err != nil {
			return err
		}
		err = w.patch(ctx, cluster, deployment, body)
		if apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wake a virtual cluster: %w", err)
		}
		w.note(cluster)
		woken.WithLabelValues(why).Inc()
		klog.FromContext(ctx).Info("Woke a cluster", "cluster", cluster, "reason", why)
		return nil
	}
	return fmt.Errorf("wake a virtual cluster: others wrote its workload %d times meanwhile", attempts)
}

// note keeps the time of a wake-up until the view has it.
func (w *Workloads) note(cluster types.NamespacedName) {
	now := w.clock.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for other, at := range w.woken {
		if now.Sub(at) >= w.fresh {
			delete(w.woken, other)
		}
	}
	w.woken[cluster] = now
}

func (w *Workloads) get(ctx context.Context, cluster types.NamespacedName, deployment bool) (*resting, error) {
	if deployment {
		d, err := w.client.AppsV1().Deployments(cluster.Namespace).Get(ctx, cluster.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		return restingOf(d), nil
	}
	s, err := w.client.AppsV1().StatefulSets(cluster.Namespace).Get(ctx, cluster.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return restingOf(s), nil
}

func (w *Workloads) patch(ctx context.Context, cluster types.NamespacedName, deployment bool, body []byte) error {
	var err error
	if deployment {
		_, err = w.client.AppsV1().Deployments(cluster.Namespace).Patch(ctx, cluster.Name, types.MergePatchType, body, metav1.PatchOptions{})
	} else {
		_, err = w.client.AppsV1().StatefulSets(cluster.Namespace).Patch(ctx, cluster.Name, types.MergePatchType, body, metav1.PatchOptions{})
	}
	return err
}
