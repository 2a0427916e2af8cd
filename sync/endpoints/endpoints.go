// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package endpoints

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/queue"
	"portico.dev/portico/sync/internal/room"
	"portico.dev/portico/sync/kinds"
)

// workers bounds the slices that are written at the same time.
const workers = 4

const (
	// mostSlices bounds the slices that every node of the host has to follow. Each
	// has up to a thousand endpoints.
	mostSlices = 1000
	// whenFull is how long a slice waits for room before it is looked at again.
	whenFull = time.Minute
)

// Config says where Services and slices are read, and where slices are written.
type Config struct {
	Translator *rewrite.Translator
	// Informers are of the virtual side.
	Informers informers.SharedInformerFactory
	// Host writes the slices, in the cluster's host namespace.
	Host kubernetes.Interface
	// Most is how many slices the host has at most; 0 means a thousand.
	Most int
}

// Controller keeps the host slices. It works slice by slice.
type Controller struct {
	translator *rewrite.Translator
	host       kubernetes.Interface

	informers informers.SharedInformerFactory
	view      informers.SharedInformerFactory
	services  corelisters.ServiceLister
	slices    discoverylisters.EndpointSliceLister
	copies    copies.Kind[*discoveryv1.EndpointSlice]
	loop      *queue.Loop[types.NamespacedName] // over virtual slices
	room      *room.Room
}

// New returns a controller. It registers with the informers, so it must be
// called before they are relied on.
func New(cfg Config) (*Controller, error) {
	if cfg.Most == 0 {
		cfg.Most = mostSlices
	}
	selector, err := hostview.Pushed(cfg.Translator)
	if err != nil {
		return nil, err
	}
	view := hostview.NewFactory(cfg.Host, cfg.Translator.Cluster().HostNamespace, selector)
	services, slices := cfg.Informers.Core().V1().Services(), cfg.Informers.Discovery().V1().EndpointSlices()
	c := &Controller{
		translator: cfg.Translator, host: cfg.Host, informers: cfg.Informers, view: view,
		services: services.Lister(), slices: slices.Lister(), copies: kinds.PushedEndpointSlices.Copies(cfg.Translator, cfg.Host, view),
	}
	pushed := view.Discovery().V1().EndpointSlices().Informer()
	c.room = room.New(cfg.Most, func() []string { return names(pushed.GetStore().List()) })
	c.loop = queue.NewLoop("endpoints", nil, c.reconcile)
	return c, errors.Join(
		queue.Listen(c.loop, "services", services.Informer(), queue.Each(c.enqueueService)),
		queue.Listen(c.loop, "endpoint slices", slices.Informer(), queue.Each(c.enqueueSlice)),
		queue.Listen(c.loop, "pushed endpoint slices", pushed, queue.Each(c.enqueueCopy)),
	)
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	return c.loop.Run(ctx, workers, c.informers, c.view)
}

// enqueueService asks for all slices of a Service: it may have lost or got a
// selector.
func (c *Controller) enqueueService(service *corev1.Service) {
	slices, err := c.slices.EndpointSlices(service.Namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service.Name}))
	if err != nil {
		return // a selector over labels that exist cannot fail
	}
	for _, s := range slices {
		c.enqueueSlice(s)
	}
}

func (c *Controller) enqueueSlice(s *discoveryv1.EndpointSlice) {
	c.loop.Add(types.NamespacedName{Namespace: s.Namespace, Name: s.Name})
}

// enqueueCopy asks for the virtual slice of a host slice. The door's own slice
// has none.
func (c *Controller) enqueueCopy(s *discoveryv1.EndpointSlice) {
	if namespace, name, ours := kinds.PushedEndpointSlices.ToVirtual(c.translator, s); ours {
		c.loop.Add(types.NamespacedName{Namespace: namespace, Name: name})
	}
}

// reconcile brings the host slice of one virtual slice in step.
func (c *Controller) reconcile(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	virtual, err := c.wanted(key)
	if err != nil {
		return 0, err
	}
	if virtual == nil {
		return 0, c.remove(ctx, key)
	}
	in, err := c.inputs(ctx, virtual)
	var host *discoveryv1.EndpointSlice
	if err == nil {
		host, err = kinds.PushedEndpointSlices.ToHost(c.translator, virtual, in)
	}
	var refused *apierrors.StatusError
	switch {
	case errors.Is(err, rewrite.ErrOwnService), errors.Is(err, rewrite.ErrForeign), errors.Is(err, rewrite.ErrOwnEndpoints), errors.As(err, &refused):
		// No slice of the tenant leads there, however often it is asked for.
		klog.FromContext(ctx).Info("Endpoint slice is not brought to the host", "virtualObject", klog.KObj(virtual), "err", err)
		return 0, c.remove(ctx, key)
	case err != nil:
		return 0, err
	}
	if host.Name, err = c.place(ctx, key); err != nil {
		return 0, describe(key, err)
	}
	if !c.copies.Known(host.Name) && !c.room.Take(host.Name) {
		klog.FromContext(ctx).Info("Endpoint slice is not brought to the host: it has as many of this cluster as it may", "virtualObject", klog.KObj(virtual), "most", c.room.Most())
		return whenFull, nil
	}
	if _, err = c.copies.Write(ctx, host); err != nil {
		c.room.Free(host.Name)
	}
	return 0, describe(key, err)
}

func (c *Controller) remove(ctx context.Context, key types.NamespacedName) error {
	for _, name := range c.translator.HostNames(kinds.PushedEndpointSlices.Kind, key.Namespace, key.Name) {
		if err := c.removeNamed(ctx, key, name); err != nil {
			return describe(key, err)
		}
	}
	return nil
}

func (c *Controller) removeNamed(ctx context.Context, key types.NamespacedName, name string) error {
	if c.seen(key, name) == nil {
		return nil
	}
	removed, err := c.copies.RemoveSeen(ctx, name)
	if removed {
		c.room.Free(name) // if it is still there, it is seen
	}
	return err
}

// names returns the names of objects.
func names(objects []any) []string {
	all := make([]string, 0, len(objects))
	for _, obj := range objects {
		if o, ok := obj.(metav1.Object); ok {
			all = append(all, o.GetName())
		}
	}
	return all
}

func describe(key types.NamespacedName, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("endpoint slice %s on the host: %w", key, err)
}

// wanted returns a virtual slice if the host must have it, and nil otherwise.
func (c *Controller) wanted(key types.NamespacedName) (*discoveryv1.EndpointSlice, error) {
	slice, err := c.slices.EndpointSlices(key.Namespace).Get(key.Name)
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	name := slice.Labels[discoveryv1.LabelServiceName]
	if name == "" || slice.DeletionTimestamp != nil {
		return nil, nil
	}
	service, err := c.services.Services(key.Namespace).Get(name)
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	if !answersAtClusterIP(service) {
		return nil, nil
	}
	return slice, nil
}

// answersAtClusterIP reports whether a Service has a ClusterIP whose endpoints
// come from its slices alone.
func answersAtClusterIP(s *corev1.Service) bool {
	return len(s.Spec.Selector) == 0 && s.Spec.Type != corev1.ServiceTypeExternalName && s.DeletionTimestamp == nil &&
		s.Spec.ClusterIP != "" && s.Spec.ClusterIP != corev1.ClusterIPNone
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
