// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	kubeplugin "github.com/coredns/coredns/plugin/kubernetes"
	"github.com/coredns/coredns/plugin/kubernetes/object"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// Indexes that we add to the shared informers.
const (
	servicesByIP    = "portico.dev/dns-services-by-ip"
	slicesByService = "portico.dev/dns-slices-by-service"
	slicesByIP      = "portico.dev/dns-slices-by-ip"
)

// records gives the kubernetes plugin, in place of its own informers, the API
// server's objects, turned into the plugin's types when they are asked for. The
// plugin's interface has no name outside of it, but all methods are exported.
type records struct {
	services, slices, namespaces cache.Indexer
	synced                       []cache.InformerSynced
	modified                     atomic.Int64
}

// newRecords registers with the informers, so it must be called before these
// are started.
func newRecords(shared informers.SharedInformerFactory) (*records, error) {
	services := shared.Core().V1().Services().Informer()
	slices := shared.Discovery().V1().EndpointSlices().Informer()
	namespaces := shared.Core().V1().Namespaces().Informer()
	if err := services.AddIndexers(cache.Indexers{servicesByIP: clusterIPs}); err != nil {
		return nil, fmt.Errorf("index services: %w", err)
	}
	if err := slices.AddIndexers(cache.Indexers{slicesByService: serviceOfSlice, slicesByIP: readyIPs}); err != nil {
		return nil, fmt.Errorf("index endpoint slices: %w", err)
	}
	r := &records{
		services: services.GetIndexer(), slices: slices.GetIndexer(), namespaces: namespaces.GetIndexer(),
		synced: []cache.InformerSynced{services.HasSynced, slices.HasSynced, namespaces.HasSynced},
	}
	r.touch()
	for _, informer := range []cache.SharedIndexInformer{services, slices} {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { r.touch() },
			UpdateFunc: func(before, after any) { r.touchIfChanged(before, after) },
			DeleteFunc: func(any) { r.touch() },
		}); err != nil {
			return nil, fmt.Errorf("listen to changes: %w", err)
		}
	}
	return r, nil
}

// touch notes a change. The time of the last one is the zone's serial number.
func (r *records) touch() { r.modified.Store(time.Now().Unix()) }

func (r *records) touchIfChanged(before, after any) {
	b, ok := before.(metav1.Object)
	a, ok2 := after.(metav1.Object)
	if !ok || !ok2 || a.GetResourceVersion() != b.GetResourceVersion() {
		r.touch()
	}
}

func clusterIPs(obj any) ([]string, error) {
	svc, ok := obj.(*corev1.Service)
	if !ok {
		return nil, nil
	}
	var ips []string
	for _, ip := range svc.Spec.ClusterIPs {
		if ip != corev1.ClusterIPNone {
			ips = append(ips, ip)
		}
	}
	return ips, nil
}

func serviceOfSlice(obj any) ([]string, error) {
	slice, ok := obj.(*discoveryv1.EndpointSlice)
	if !ok || slice.Labels[discoveryv1.LabelServiceName] == "" {
		return nil, nil
	}
	return []string{object.EndpointsKey(slice.Labels[discoveryv1.LabelServiceName], slice.Namespace)}, nil
}

func readyIPs(obj any) ([]string, error) {
	slice, ok := obj.(*discoveryv1.EndpointSlice)
	if !ok {
		return nil, nil
	}
	var ips []string
	for i := range slice.Endpoints {
		if ready := slice.Endpoints[i].Conditions.Ready; ready == nil || *ready {
			ips = append(ips, slice.Endpoints[i].Addresses...)
		}
	}
	return ips, nil
}

// toService converts a Service. Upstream's conversion empties its argument, so
// it gets a copy; the parts that it keeps it copies itself.
func toService(obj any) *object.Service {
	svc, ok := obj.(*corev1.Service)
	if !ok {
		return nil
	}
	shallow := *svc
	out, err := object.ToService(&shallow)
	if err != nil {
		return nil
	}
	return out.(*object.Service)
}

// toEndpoints converts an EndpointSlice, in the way of toService. The addresses
// are shuffled, as CoreDNS' loadbalance plugin does with answers: many clients
// take the first.
func toEndpoints(obj any) *object.Endpoints {
	slice, ok := obj.(*discoveryv1.EndpointSlice)
	if !ok {
		return nil
	}
	shallow := *slice
	out, err := object.EndpointSliceToEndpoints(&shallow)
	if err != nil {
		return nil
	}
	endpoints := out.(*object.Endpoints)
	for _, s := range endpoints.Subsets {
		swap := func(i, j int) { s.Addresses[i], s.Addresses[j] = s.Addresses[j], s.Addresses[i] }
		rand.Shuffle(len(s.Addresses), swap) //nolint:gosec // Guessing gains nothing.
	}
	return endpoints
}

func converted[T any](objects []any, convert func(any) *T) []*T {
	out := make([]*T, 0, len(objects))
	for _, obj := range objects {
		if t := convert(obj); t != nil {
			out = append(out, t)
		}
	}
	return out
}

// byIndex returns nothing for an index that does not exist, which cannot be.
func byIndex[T any](indexer cache.Indexer, index, value string, convert func(any) *T) []*T {
	objects, err := indexer.ByIndex(index, value)
	if err != nil {
		return nil
	}
	return converted(objects, convert)
}

// SvcIndex returns the Service of a key "name.namespace". Neither part has dots.
func (r *records) SvcIndex(key string) []*object.Service {
	name, namespace, _ := strings.Cut(key, ".")
	obj, exists, err := r.services.GetByKey(namespace + "/" + name)
	if err != nil || !exists {
		return nil
	}
	return converted([]any{obj}, toService)
}

// SvcIndexReverse returns the Services that have an address.
func (r *records) SvcIndexReverse(ip string) []*object.Service {
	return byIndex(r.services, servicesByIP, ip, toService)
}

// EpIndex returns the endpoints of a Service.
func (r *records) EpIndex(key string) []*object.Endpoints {
	return byIndex(r.slices, slicesByService, key, toEndpoints)
}

// EpIndexReverse returns the endpoints that have an address.
func (r *records) EpIndexReverse(ip string) []*object.Endpoints {
	return byIndex(r.slices, slicesByIP, ip, toEndpoints)
}

// ServiceList returns all Services.
func (r *records) ServiceList() []*object.Service { return converted(r.services.List(), toService) }

// EndpointsList returns all endpoints.
func (r *records) EndpointsList() []*object.Endpoints {
	return converted(r.slices.List(), toEndpoints)
}

// GetNamespaceByName returns a namespace, or an error if it does not exist.
func (r *records) GetNamespaceByName(name string) (*object.Namespace, error) {
	obj, exists, err := r.namespaces.GetByKey(name)
	if err != nil {
		return nil, err
	}
	ns, ok := obj.(*corev1.Namespace)
	if !exists || !ok {
		return nil, apierrors.NewNotFound(corev1.Resource("namespaces"), name)
	}
	return &object.Namespace{Version: ns.ResourceVersion, Name: ns.Name}, nil
}

// HasSynced reports whether everything is known.
func (r *records) HasSynced() bool {
	for _, synced := range r.synced {
		if !synced() {
			return false
		}
	}
	return true
}

// Modified returns when something last changed, in seconds.
func (r *records) Modified(kubeplugin.ModifiedMode) int64 { return r.modified.Load() }

// Run and Stop are for informers of the plugin's own.
func (r *records) Run()        {}
func (r *records) Stop() error { return nil }

// The following methods are called with settings that we do not make: pods
// verified, external addresses, multi-cluster zones, zones of nodes.

func (r *records) PodIndex(string) []*object.Pod                 { return nil }
func (r *records) SvcExtIndexReverse(string) []*object.Service   { return nil }
func (r *records) SvcImportIndex(string) []*object.ServiceImport { return nil }
func (r *records) ServiceImportList() []*object.ServiceImport    { return nil }
func (r *records) McEpIndex(string) []*object.MultiClusterEndpoints {
	return nil
}

func (r *records) GetNodeByName(_ context.Context, name string) (*corev1.Node, error) {
	return nil, apierrors.NewNotFound(corev1.Resource("nodes"), name)
}
