// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// byAddress is the index of pods and Services by their addresses.
const byAddress = "portico.dev/egress-address"

// View knows the addresses of the cluster, from the API server's informers.
// Those of pods and Services are the host's word: a tenant can't write them.
// Those in EndpointSlices are the tenant's, and prove nothing.
type View struct {
	pods      cache.Indexer
	addresses cache.Indexer // of Services
	services  corelisters.ServiceLister
	slices    proxy.EndpointSliceGetter
}

// NewView makes a View on informers that have not been started.
func NewView(shared informers.SharedInformerFactory, slices proxy.EndpointSliceGetter) (*View, error) {
	pods, services := shared.Core().V1().Pods().Informer(), shared.Core().V1().Services()
	if err := pods.AddIndexers(cache.Indexers{byAddress: podAddresses}); err != nil {
		return nil, fmt.Errorf("index pods by address: %w", err)
	}
	if err := services.Informer().AddIndexers(cache.Indexers{byAddress: serviceAddresses}); err != nil {
		return nil, fmt.Errorf("index Services by address: %w", err)
	}
	return &View{pods: pods.GetIndexer(), addresses: services.Informer().GetIndexer(), services: services.Lister(), slices: slices}, nil
}

// podAddresses are the addresses that a pod has now. The status of a pod that
// has ended still shows its own, which may be another tenant's pod's by then.
func podAddresses(obj any) ([]string, error) {
	p, ok := obj.(*corev1.Pod)
	if !ok || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return nil, nil
	}
	all := []string{p.Status.PodIP}
	for _, a := range p.Status.PodIPs {
		all = append(all, a.IP)
	}
	return canonical(all), nil
}

// serviceAddresses are those that the host gave a Service inside of itself. A
// tenant can write addresses of load balancers.
func serviceAddresses(obj any) ([]string, error) {
	s, ok := obj.(*corev1.Service)
	if !ok || s.Spec.Type == corev1.ServiceTypeExternalName {
		return nil, nil
	}
	all := append([]string{s.Spec.ClusterIP}, s.Spec.ClusterIPs...)
	for _, in := range s.Status.LoadBalancer.Ingress {
		all = append(all, in.IP)
	}
	return canonical(all), nil
}

// canonical writes addresses as they are looked up, and drops other texts.
func canonical(all []string) []string {
	var out []string
	for _, s := range all {
		if ip, err := netip.ParseAddr(s); err == nil {
			out = append(out, ip.Unmap().String())
		}
	}
	return out
}

// isPod reports whether a running pod of the cluster has an address.
func (v *View) isPod(ip netip.Addr) bool {
	keys, err := v.pods.IndexKeys(byAddress, ip.Unmap().String())
	return err == nil && len(keys) > 0
}

// serviceAt returns the Service that has an address, or nil.
func (v *View) serviceAt(ip netip.Addr) *corev1.Service {
	all, err := v.addresses.ByIndex(byAddress, ip.Unmap().String())
	if err != nil || len(all) == 0 {
		return nil
	}
	s, _ := all[0].(*corev1.Service)
	return s
}

// portName is the name of a port of a Service.
func portName(s *corev1.Service, port int32) (string, bool) {
	for i := range s.Spec.Ports {
		if s.Spec.Ports[i].Port == port {
			return s.Spec.Ports[i].Name, true
		}
	}
	return "", false
}

// endpoint chooses a ready endpoint of a Service that suits. It fails with 503
// if there is none, and with a refusal if none of those that there are suits.
func (v *View) endpoint(s *corev1.Service, port int32, suits func(netip.Addr) bool) (netip.AddrPort, error) {
	name, ok := portName(s, port)
	if !ok {
		return netip.AddrPort{}, apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", port, s.Name))
	}
	slices, err := v.slices.GetEndpointSlices(s.Namespace, s.Name)
	if err != nil {
		return netip.AddrPort{}, err
	}
	family := corev1.IPFamilyUnknown
	if len(s.Spec.IPFamilies) > 0 {
		family = s.Spec.IPFamilies[0]
	}
	found := false
	chosen, err := proxy.RandomEndpoint(s.Name, slices, name, family, func(e *discoveryv1.Endpoint) bool {
		ip, err := netip.ParseAddr(e.Addresses[0])
		found = true
		return err == nil && suits(ip)
	})
	switch {
	case err != nil && found:
		return netip.AddrPort{}, refused("no endpoint of Service %s/%s is usable: each", s.Namespace, s.Name)
	case err != nil:
		return netip.AddrPort{}, err
	}
	return netip.ParseAddrPort(chosen)
}
