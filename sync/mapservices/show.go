// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mapservices

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// LabelFromHost marks virtual Services that show one of the host.
	LabelFromHost = "mapservices.portico.dev/from-host"
	// ManagedBy marks their EndpointSlices, so that no controller inside takes
	// them for its own.
	ManagedBy = "mapservices.portico.dev"
)

// shows reports whether a virtual Service shows one of the host.
func shows(virtual *corev1.Service) bool { return virtual.Labels[LabelFromHost] == "true" }

// showsSlice reports whether a virtual slice belongs to such a Service.
func showsSlice(virtual *discoveryv1.EndpointSlice) bool {
	return virtual.Labels[discoveryv1.LabelManagedBy] == ManagedBy
}

// virtualService returns the virtual Service that shows a host Service. Its
// address is its own: it stays while the host Service changes its address.
func virtualService(host *corev1.Service, at types.NamespacedName) *corev1.Service {
	v := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: at.Namespace, Name: at.Name, Labels: map[string]string{LabelFromHost: "true"}},
		Spec: corev1.ServiceSpec{
			Type:                     corev1.ServiceTypeClusterIP,
			Ports:                    virtualPorts(host.Spec.Ports),
			SessionAffinity:          host.Spec.SessionAffinity,
			SessionAffinityConfig:    host.Spec.SessionAffinityConfig.DeepCopy(),
			PublishNotReadyAddresses: host.Spec.PublishNotReadyAddresses,
		},
	}
	if isExternal(host) {
		v.Spec.Type, v.Spec.ExternalName = corev1.ServiceTypeExternalName, host.Spec.ExternalName
		return v
	}
	v.Spec.IPFamilies = append([]corev1.IPFamily(nil), host.Spec.IPFamilies...)
	if p := host.Spec.IPFamilyPolicy; p != nil {
		policy := *p
		v.Spec.IPFamilyPolicy = &policy
	}
	if isHeadless(host) {
		v.Spec.ClusterIP = corev1.ClusterIPNone
	}
	return v
}

// virtualPorts are the ports that clients use. A node port is the host's.
func virtualPorts(host []corev1.ServicePort) []corev1.ServicePort {
	var out []corev1.ServicePort
	for i := range host {
		p := *host[i].DeepCopy()
		p.NodePort = 0
		out = append(out, p)
	}
	return out
}

// nextService gives a shown Service all that follows the host. Labels and
// annotations that the tenant added are the tenant's.
func nextService(shown, want *corev1.Service) *corev1.Service {
	next := shown.DeepCopy()
	next.Spec.Type, next.Spec.ExternalName = want.Spec.Type, want.Spec.ExternalName
	next.Spec.Selector = nil
	next.Spec.Ports = want.Spec.Ports
	next.Spec.SessionAffinity, next.Spec.SessionAffinityConfig = want.Spec.SessionAffinity, want.Spec.SessionAffinityConfig
	next.Spec.PublishNotReadyAddresses = want.Spec.PublishNotReadyAddresses
	return next
}

// otherService reports whether a Service has to be made again to become want:
// the API allocates these fields once.
func otherService(shown, want *corev1.Service) bool {
	return isExternal(shown) != isExternal(want) || isHeadless(shown) != isHeadless(want) ||
		!apiequality.Semantic.DeepEqual(shown.Spec.IPFamilies, want.Spec.IPFamilies) ||
		!apiequality.Semantic.DeepEqual(shown.Spec.IPFamilyPolicy, want.Spec.IPFamilyPolicy)
}

func isExternal(s *corev1.Service) bool { return s.Spec.Type == corev1.ServiceTypeExternalName }

func isHeadless(s *corev1.Service) bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }

// within reports whether a DNS name is in a domain.
func within(name, domain string) bool {
	name, domain = strings.ToLower(strings.TrimSuffix(name, ".")), strings.ToLower(strings.TrimSuffix(domain, "."))
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// virtualSlice returns the virtual slice that shows a host slice, with the
// addresses and none of the names of the host. It goes with its Service.
func virtualSlice(host *discoveryv1.EndpointSlice, service *corev1.Service) *discoveryv1.EndpointSlice {
	sum := sha256.Sum256([]byte(host.Name))
	v := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: service.Namespace, Name: service.Name + "-" + hex.EncodeToString(sum[:5]),
			Labels: map[string]string{discoveryv1.LabelServiceName: service.Name, discoveryv1.LabelManagedBy: ManagedBy},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: corev1.SchemeGroupVersion.String(), Kind: "Service", Name: service.Name, UID: service.UID,
			}},
		},
		AddressType: host.AddressType,
	}
	for i := range host.Endpoints {
		e := host.Endpoints[i].DeepCopy()
		// A host name of an endpoint is a part of its name below the Service's.
		v.Endpoints = append(v.Endpoints, discoveryv1.Endpoint{Addresses: e.Addresses, Conditions: e.Conditions, Hostname: e.Hostname})
	}
	for i := range host.Ports {
		v.Ports = append(v.Ports, *host.Ports[i].DeepCopy())
	}
	return v
}

// nextSlice gives a shown slice all that follows the host.
func nextSlice(shown, want *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	next := shown.DeepCopy()
	if next.Labels == nil {
		next.Labels = map[string]string{}
	}
	maps.Copy(next.Labels, want.Labels)
	next.OwnerReferences = want.OwnerReferences
	next.Endpoints, next.Ports = want.Endpoints, want.Ports
	return next
}

// otherSlice reports whether the API keeps a slice from becoming want.
func otherSlice(shown, want *discoveryv1.EndpointSlice) bool {
	return shown.AddressType != want.AddressType
}
