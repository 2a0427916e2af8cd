// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite/rules"
)

var services = kind[*corev1.Service]{
	name: "Service", admit: (*translation).admitService, translate: (*translation).service, restore: (*restoration).service,
	status: rules.Service.Status,
}

// ServiceToHost returns the host Service of a virtual Service. The virtual
// default/kubernetes is the cluster's own host Service: an update leaves that
// as it is, a new one is ErrOwnService.
func (t *Translator) ServiceToHost(v *corev1.Service, in Inputs) (*corev1.Service, error) {
	if isKubernetesService(v.Namespace, v.Name) {
		if host, ok := in.Host.(*corev1.Service); ok {
			return host.DeepCopy(), nil
		}
		return nil, ErrOwnService
	}
	if t.OwnsDNS(v.Namespace, v.Name) {
		return t.dnsServiceToHost(v, in)
	}
	return services.hostOf(t, v, in)
}

// ServiceToVirtual returns the virtual Service that a host Service is.
func (t *Translator) ServiceToVirtual(h *corev1.Service) (*corev1.Service, error) {
	if h.Namespace == t.cluster.HostNamespace && h.Name == t.cluster.Service {
		return t.kubernetesService(h), nil
	}
	v, err := services.virtualOf(t, h)
	if v != nil && t.OwnsDNS(v.Namespace, v.Name) {
		v.Spec.Selector = DNSLabels()
	}
	return v, err
}

// service narrows the selector to the pods of the Service's own namespace. A
// Service without a selector stays without: its endpoints are the tenant's.
func (c *translation) service(h, _ *corev1.Service) {
	if len(h.Spec.Selector) > 0 {
		selector := make(map[string]string, len(h.Spec.Selector)+2)
		for k, v := range h.Spec.Selector {
			selector[c.labelKey(k)] = v
		}
		maps.Copy(selector, c.t.NamespaceSelector(c.namespace))
		h.Spec.Selector = selector
	}
	c.references(h)
}

func (c *restoration) service(v, _ *corev1.Service) {
	c.references(v)
	selector := make(map[string]string, len(v.Spec.Selector))
	for k, value := range v.Spec.Selector {
		if virtual, ok := c.labelKey(k); ok {
			selector[virtual] = value
		}
	}
	v.Spec.Selector = orNilMap(selector)
}

// kubernetesService shows the cluster's own host Service as the Service that
// every cluster has: same address and ports, but no selector, for the pods
// behind it are not the tenant's.
func (t *Translator) kubernetesService(h *corev1.Service) *corev1.Service {
	v := h.DeepCopy()
	v.ObjectMeta = metav1.ObjectMeta{
		Namespace: "default", Name: "kubernetes",
		Labels:            map[string]string{"component": "apiserver", "provider": "kubernetes"},
		UID:               h.UID,
		ResourceVersion:   h.ResourceVersion,
		Generation:        h.Generation,
		CreationTimestamp: h.CreationTimestamp,
		DeletionTimestamp: h.DeletionTimestamp,
	}
	v.Spec.Selector = nil
	return v
}

// HostName returns the host name of a virtual object of a kind.
func (t *Translator) HostName(kind, namespace, name string) (string, error) {
	switch kind {
	case "Service", "Endpoints":
		return t.ServiceName(namespace, name), nil
	case "Pod", "PersistentVolumeClaim", "ResourceClaim", "Secret", "ConfigMap", "EndpointSlice":
		return t.Name(namespace, name), nil
	}
	return "", fmt.Errorf("%w: %s", ErrKind, kind)
}
