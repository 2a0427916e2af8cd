// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/informers/admissionregistration"
	"k8s.io/client-go/informers/apiserverinternal"
	"k8s.io/client-go/informers/apps"
	"k8s.io/client-go/informers/autoscaling"
	"k8s.io/client-go/informers/batch"
	"k8s.io/client-go/informers/certificates"
	"k8s.io/client-go/informers/coordination"
	"k8s.io/client-go/informers/core"
	"k8s.io/client-go/informers/discovery"
	"k8s.io/client-go/informers/events"
	"k8s.io/client-go/informers/extensions"
	"k8s.io/client-go/informers/flowcontrol"
	"k8s.io/client-go/informers/lifecycle"
	"k8s.io/client-go/informers/networking"
	"k8s.io/client-go/informers/node"
	"k8s.io/client-go/informers/policy"
	"k8s.io/client-go/informers/rbac"
	"k8s.io/client-go/informers/resource"
	"k8s.io/client-go/informers/scheduling"
	"k8s.io/client-go/informers/storage"
	"k8s.io/client-go/informers/storagemigration"
	"k8s.io/client-go/tools/cache"
)

// heldInformers is an informer factory whose event handlers see nothing before
// release is called.
//
// Upstream's constructors register a handler first and set the fields that it
// uses afterwards (the disruption controller's pod handler needs the lister of
// budgets, for one). Such an order is sound in kube-controller-manager, where
// no informer runs before the last constructor has returned. Here the API
// server's informers run long before, and a handler is called the moment it is
// registered.
type heldInformers struct {
	informers.SharedInformerFactory // a heldSource
	gate                            gate
}

// heldSource is where all typed informers come from. New is upstream's
// internalinterfaces.NewInformerFunc, which cannot be named here.
type heldSource[New any] struct {
	informers.SharedInformerFactory
	informerFor func(runtime.Object, New) cache.SharedIndexInformer
	gate        gate
}

// hold returns a factory in front of f, and the function that releases its
// handlers. Handlers that were not released when ctx ends see nothing.
func hold(ctx context.Context, f informers.SharedInformerFactory) (held informers.SharedInformerFactory, release func()) {
	released := make(chan struct{})
	g := gate{released: released, abandoned: ctx.Done()}
	return &heldInformers{newHeldSource(f, f.InformerFor, g), g}, func() { close(released) }
}

// newHeldSource exists for its type inference.
func newHeldSource[New any](f informers.SharedInformerFactory, informerFor func(runtime.Object, New) cache.SharedIndexInformer, g gate) *heldSource[New] {
	return &heldSource[New]{SharedInformerFactory: f, informerFor: informerFor, gate: g}
}

// InformerFor returns the shared informer of obj's kind, held.
func (h *heldSource[New]) InformerFor(obj runtime.Object, newInformer New) cache.SharedIndexInformer {
	return &heldInformer{SharedIndexInformer: h.informerFor(obj, newInformer), gate: h.gate}
}

// ForResource returns the same informers as the typed accessors.
func (h *heldInformers) ForResource(r schema.GroupVersionResource) (informers.GenericInformer, error) {
	generic, err := h.SharedInformerFactory.ForResource(r)
	if err != nil {
		return nil, err
	}
	return heldGeneric{GenericInformer: generic, gate: h.gate}, nil
}

type heldGeneric struct {
	informers.GenericInformer
	gate gate
}

func (h heldGeneric) Informer() cache.SharedIndexInformer {
	return &heldInformer{SharedIndexInformer: h.GenericInformer.Informer(), gate: h.gate}
}

// heldInformer holds the handlers that are added to an informer.
type heldInformer struct {
	cache.SharedIndexInformer
	gate gate
}

func (h *heldInformer) AddEventHandler(handler cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	return h.SharedIndexInformer.AddEventHandler(heldHandler{handler, h.gate})
}

func (h *heldInformer) AddEventHandlerWithResyncPeriod(handler cache.ResourceEventHandler, resync time.Duration) (cache.ResourceEventHandlerRegistration, error) {
	return h.SharedIndexInformer.AddEventHandlerWithResyncPeriod(heldHandler{handler, h.gate}, resync)
}

func (h *heldInformer) AddEventHandlerWithOptions(handler cache.ResourceEventHandler, o cache.HandlerOptions) (cache.ResourceEventHandlerRegistration, error) {
	return h.SharedIndexInformer.AddEventHandlerWithOptions(heldHandler{handler, h.gate}, o)
}

// heldHandler waits before its first event. Each handler has a goroutine and a
// buffer of its own in the informer, so no other waits with it.
type heldHandler struct {
	handler cache.ResourceEventHandler
	gate    gate
}

func (h heldHandler) OnAdd(obj any, isInInitialList bool) {
	if h.gate.pass() {
		h.handler.OnAdd(obj, isInInitialList)
	}
}

func (h heldHandler) OnUpdate(before, after any) {
	if h.gate.pass() {
		h.handler.OnUpdate(before, after)
	}
}

func (h heldHandler) OnDelete(obj any) {
	if h.gate.pass() {
		h.handler.OnDelete(obj)
	}
}

// gate is closed until released is, and for ever once abandoned is first.
type gate struct{ released, abandoned <-chan struct{} }

func (g gate) pass() bool {
	select {
	case <-g.released:
		return true
	default:
	}
	select {
	case <-g.released:
		return true
	case <-g.abandoned:
		return false
	}
}

// Admissionregistration returns the group's informers, held.
func (h *heldInformers) Admissionregistration() admissionregistration.Interface {
	return admissionregistration.New(h.SharedInformerFactory, "", nil)
}

// Internal returns the group's informers, held.
func (h *heldInformers) Internal() apiserverinternal.Interface {
	return apiserverinternal.New(h.SharedInformerFactory, "", nil)
}

// Apps returns the group's informers, held.
func (h *heldInformers) Apps() apps.Interface { return apps.New(h.SharedInformerFactory, "", nil) }

// Autoscaling returns the group's informers, held.
func (h *heldInformers) Autoscaling() autoscaling.Interface {
	return autoscaling.New(h.SharedInformerFactory, "", nil)
}

// Batch returns the group's informers, held.
func (h *heldInformers) Batch() batch.Interface { return batch.New(h.SharedInformerFactory, "", nil) }

// Certificates returns the group's informers, held.
func (h *heldInformers) Certificates() certificates.Interface {
	return certificates.New(h.SharedInformerFactory, "", nil)
}

// Coordination returns the group's informers, held.
func (h *heldInformers) Coordination() coordination.Interface {
	return coordination.New(h.SharedInformerFactory, "", nil)
}

// Core returns the group's informers, held.
func (h *heldInformers) Core() core.Interface { return core.New(h.SharedInformerFactory, "", nil) }

// Discovery returns the group's informers, held.
func (h *heldInformers) Discovery() discovery.Interface {
	return discovery.New(h.SharedInformerFactory, "", nil)
}

// Events returns the group's informers, held.
func (h *heldInformers) Events() events.Interface {
	return events.New(h.SharedInformerFactory, "", nil)
}

// Extensions returns the group's informers, held.
func (h *heldInformers) Extensions() extensions.Interface {
	return extensions.New(h.SharedInformerFactory, "", nil)
}

// Flowcontrol returns the group's informers, held.
func (h *heldInformers) Flowcontrol() flowcontrol.Interface {
	return flowcontrol.New(h.SharedInformerFactory, "", nil)
}

// Lifecycle returns the group's informers, held.
func (h *heldInformers) Lifecycle() lifecycle.Interface {
	return lifecycle.New(h.SharedInformerFactory, "", nil)
}

// Networking returns the group's informers, held.
func (h *heldInformers) Networking() networking.Interface {
	return networking.New(h.SharedInformerFactory, "", nil)
}

// Node returns the group's informers, held.
func (h *heldInformers) Node() node.Interface { return node.New(h.SharedInformerFactory, "", nil) }

// Policy returns the group's informers, held.
func (h *heldInformers) Policy() policy.Interface {
	return policy.New(h.SharedInformerFactory, "", nil)
}

// Rbac returns the group's informers, held.
func (h *heldInformers) Rbac() rbac.Interface { return rbac.New(h.SharedInformerFactory, "", nil) }

// Resource returns the group's informers, held.
func (h *heldInformers) Resource() resource.Interface {
	return resource.New(h.SharedInformerFactory, "", nil)
}

// Scheduling returns the group's informers, held.
func (h *heldInformers) Scheduling() scheduling.Interface {
	return scheduling.New(h.SharedInformerFactory, "", nil)
}

// Storage returns the group's informers, held.
func (h *heldInformers) Storage() storage.Interface {
	return storage.New(h.SharedInformerFactory, "", nil)
}

// Storagemigration returns the group's informers, held.
func (h *heldInformers) Storagemigration() storagemigration.Interface {
	return storagemigration.New(h.SharedInformerFactory, "", nil)
}
