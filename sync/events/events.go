// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package events

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
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/queue"
)

const (
	workers = 4
	// An Event may be here before the object that it is about: the scheduler is
	// faster than a watch. It is looked at again every retryEvery, for patience
	// in all, and then taken for somebody else's.
	retryEvery = 250 * time.Millisecond
	patience   = 5 * time.Second
	// An object that is composed for a pod, its tokens above all, is on the
	// host within a second. If a kubelet has looked for it for this long, it is
	// not just late.
	composing = 10 * time.Second
)

// Config says where host Events are read, and where virtual ones are written.
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

// Controller brings host Events into the virtual cluster.
type Controller struct {
	cfg       Config
	namespace string                          // on the host
	outside   informers.SharedInformerFactory // of the host
	events    corelisters.EventLister
	targets   *targets
	loop      *queue.Loop[string] // over names of host Events

	waiting sync.Map // name of a host Event -> time.Time since when its object is looked for
	written sync.Map // name of a host Event -> true once its virtual Event is there
}

// New returns a Controller. It registers with the informers, so it must be called
// before they are relied on.
func New(cfg Config) (*Controller, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	c := &Controller{cfg: cfg, namespace: cfg.Translator.Cluster().HostNamespace}
	c.outside = informers.NewSharedInformerFactoryWithOptions(cfg.Host, 0,
		informers.WithNamespace(c.namespace), informers.WithTransform(trim))
	events := c.outside.Core().V1().Events()
	c.events = events.Lister()
	c.loop = queue.NewLoop("events", cfg.Clock, c.reconcile)

	var err error
	if c.targets, err = newTargets(cfg, c.loop); err != nil {
		return nil, err
	}
	onEvent := queue.Each(c.enqueue)
	onEvent.Deleted = c.forget
	return c, queue.Listen(c.loop, "host events", events.Informer(), onEvent)
}

// Run works until ctx ends. No Event is handled before the objects are known, so
// that those that are there at the start find theirs at once.
func (c *Controller) Run(ctx context.Context) error {
	return c.loop.Run(ctx, workers, c.cfg.Informers, c.outside)
}

// trim drops the unread fields of an Event before it is kept.
func trim(obj any) (any, error) {
	event, ok := obj.(*corev1.Event)
	if !ok {
		return obj, nil
	}
	trimmed := *event // a watch may have given the same object to somebody else
	trimmed.ManagedFields, trimmed.Labels, trimmed.Annotations = nil, nil, nil
	return &trimmed, nil
}

func (c *Controller) enqueue(event *corev1.Event) {
	if c.targets.translates(event.InvolvedObject.Kind) && event.Reason != noTemplate &&
		(event.Type == corev1.EventTypeWarning || !hidden(event)) {
		c.loop.Add(event.Name)
	}
}

// noTemplate is the reason that the host's controller of ResourceClaims gives
// for making none from a template: there are none on the host. The tenant's own
// controller makes them, and speaks for itself where it cannot
// (k8s.io/kubernetes/pkg/controller/resourceclaim).
const noTemplate = "FailedResourceClaimCreation"

// hidden reports whether an Event is about a container that the tenant does not
// see.
func hidden(event *corev1.Event) bool {
	return event.InvolvedObject.FieldPath == "spec.initContainers{"+rewrite.EtcHostsName+"}"
}

func (c *Controller) forget(event *corev1.Event) {
	c.waiting.Delete(event.Name)
	c.written.Delete(event.Name)
}

// reconcile shows one host Event, if it is about an object of ours.
func (c *Controller) reconcile(ctx context.Context, name string) (time.Duration, error) {
	event, err := c.events.Events(c.namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	object, ok := c.targets.find(event.InvolvedObject)
	if !ok {
		return c.wait(name), nil
	}
	c.waiting.Delete(name)
	message, ok := c.cfg.Translator.ComposedToVirtual(event.Message, object.Namespace, object.Name, object.pod, lasted(event) >= composing)
	if !ok {
		return 0, nil // comes here again with every try of the kubelet
	}
	if err := c.write(ctx, name, c.translate(event, message, object)); err != nil {
		return 0, fmt.Errorf("show host event %q: %w", name, err)
	}
	klog.FromContext(ctx).V(4).Info("Showed event", "event", name, "virtualObject", klog.KRef(object.Namespace, object.Name))
	return 0, nil
}

// lasted is the time between the first and the last occurrence that an Event
// counts.
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

// wait says how long to wait for the object of an Event, or 0 when it is not
// worth it any more.
func (c *Controller) wait(name string) time.Duration {
	now := c.cfg.Clock.Now()
	since, _ := c.waiting.LoadOrStore(name, now)
	if now.Sub(since.(time.Time)) < patience {
		return retryEvery
	}
	c.waiting.Delete(name)
	return 0
}
