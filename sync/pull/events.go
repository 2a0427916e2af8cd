// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package pull

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/queue"
)

const (
	workers = 4
	// An Event may be here before the object that it is about: the scheduler is faster than a watch. It is looked at
	// again every retryEvery, for patience in all, and then taken for somebody else's.
	retryEvery = 250 * time.Millisecond
	patience   = 5 * time.Second
	// What is composed for a pod, its tokens above all, is on the host within a second. After this time of a kubelet's
	// looking for it, it is not just late.
	composing = 10 * time.Second
)

// Config is what the puller needs.
type Config struct {
	Translator *rewrite.Translator
	// Virtual writes the Events.
	Virtual kubernetes.Interface
	// Informers are of the virtual side.
	Informers informers.SharedInformerFactory
	// Host is read only: the Events of the cluster's host namespace.
	Host kubernetes.Interface
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Events pulls host Events into the virtual cluster.
type Events struct {
	cfg       Config
	namespace string
	host      informers.SharedInformerFactory
	events    corelisters.EventLister
	targets   *targets
	synced    []cache.InformerSynced
	queue     *queue.Queue[string]

	waiting sync.Map // name of a host Event -> time.Time since when its object is looked for
	written sync.Map // name of a host Event -> true once its virtual Event is there
}

// New returns a puller. It registers with the informers, so it must be called before they are relied on.
func New(cfg Config) (*Events, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	e := &Events{cfg: cfg, namespace: cfg.Translator.Cluster().HostNamespace}
	e.host = informers.NewSharedInformerFactoryWithOptions(cfg.Host, 0,
		informers.WithNamespace(e.namespace), informers.WithTransform(trim))
	e.events = e.host.Core().V1().Events().Lister()
	e.queue = queue.New("events", cfg.Clock, e.reconcile)

	var err error
	if e.targets, err = newTargets(cfg); err != nil {
		return nil, err
	}
	registration, err := e.host.Core().V1().Events().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    e.enqueue,
		UpdateFunc: func(_, obj any) { e.enqueue(obj) },
		DeleteFunc: e.forget,
	})
	if err != nil {
		return nil, fmt.Errorf("listen to host events: %w", err)
	}
	e.synced = []cache.InformerSynced{registration.HasSynced}
	return e, nil
}

// Run works until ctx ends.
func (e *Events) Run(ctx context.Context) error {
	e.cfg.Informers.Start(ctx.Done())
	// The objects come first: Events that are there at the start find theirs at once.
	if !cache.WaitForCacheSync(ctx.Done(), e.targets.synced...) {
		return nil // ctx ended first
	}
	e.host.Start(ctx.Done())
	defer e.host.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), e.synced...) {
		return nil
	}
	e.queue.Run(ctx, workers)
	return nil
}

// trim drops what is not read from an Event before it is kept.
func trim(obj any) (any, error) {
	event, ok := obj.(*corev1.Event)
	if !ok {
		return obj, nil
	}
	trimmed := *event // a watch may have given the same object to somebody else
	trimmed.ManagedFields, trimmed.Labels, trimmed.Annotations = nil, nil, nil
	return &trimmed, nil
}

func (e *Events) enqueue(obj any) {
	if event, ok := obj.(*corev1.Event); ok && e.targets.translates(event.InvolvedObject.Kind) && event.Reason != noTemplate &&
		(event.Type == corev1.EventTypeWarning || !hidden(event)) {
		e.queue.Add(event.Name)
	}
}

// noTemplate is the reason that the host's controller of ResourceClaims gives for making none from a template: there are none on
// the host. The tenant's own controller makes them, and speaks for itself where it cannot
// (k8s.io/kubernetes/pkg/controller/resourceclaim).
const noTemplate = "FailedResourceClaimCreation"

// hidden reports whether an Event is about a container that the tenant does not see.
func hidden(event *corev1.Event) bool {
	return event.InvolvedObject.FieldPath == "spec.initContainers{"+rewrite.HostsName+"}"
}

func (e *Events) forget(obj any) {
	if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj); err == nil {
		if _, name, err := cache.SplitMetaNamespaceKey(key); err == nil {
			e.waiting.Delete(name)
			e.written.Delete(name)
		}
	}
}

// reconcile shows one host Event, if it is about an object of ours.
func (e *Events) reconcile(ctx context.Context, name string) (time.Duration, error) {
	event, err := e.events.Events(e.namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	object, ok := e.targets.find(event.InvolvedObject)
	if !ok {
		return e.wait(name), nil
	}
	e.waiting.Delete(name)
	message, ok := e.cfg.Translator.ComposedToVirtual(event.Message, object.Namespace, object.Name, object.pod, lasted(event) >= composing)
	if !ok {
		return 0, nil // comes here again with every try of the kubelet
	}
	if err := e.write(ctx, name, e.translate(event, message, object)); err != nil {
		return 0, fmt.Errorf("show host event %q: %w", name, err)
	}
	klog.FromContext(ctx).V(4).Info("Pulled event", "event", name, "virtualObject", klog.KRef(object.Namespace, object.Name))
	return 0, nil
}

// lasted is the time between the first and the last of what an Event counts.
func lasted(event *corev1.Event) time.Duration {
	first, last := event.FirstTimestamp.Time, event.LastTimestamp.Time
	if first.IsZero() {
		first, last = event.EventTime.Time, event.EventTime.Time
	}
	if event.Series != nil {
		last = event.Series.LastObservedTime.Time
	}
	return last.Sub(first)
}

// wait says how long to wait for the object of an Event, or 0 when it is not worth it any more.
func (e *Events) wait(name string) time.Duration {
	now := e.cfg.Clock.Now()
	since, _ := e.waiting.LoadOrStore(name, now)
	if now.Sub(since.(time.Time)) < patience {
		return retryEvery
	}
	e.waiting.Delete(name)
	return 0
}
