// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mapservices

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/hostview"
)

// offered says how the host Services are kept.
func offered(cfg *Config, seen func(name string) (*corev1.Service, error)) copies.Kind[*corev1.Service] {
	return copies.Kind[*corev1.Service]{
		Client: cfg.Host.CoreV1().Services(cfg.Translator.Cluster().HostNamespace),
		Seen:   seen,
		Ours: func(host *corev1.Service) bool {
			return cfg.Translator.ScopeSelector().Matches(labels.Set(host.Labels)) &&
				host.Labels[hostview.LabelComposed] == string(hostview.MappedService)
		},
		Removed: &copies.Removed{},
		Rules: copies.Rules[*corev1.Service]{
			Same: func(want, host *corev1.Service) bool {
				return !otherService(want, host) && len(host.Spec.ExternalIPs) == 0 &&
					apiequality.Semantic.DeepEqual(kept(want), kept(host))
			},
			Fixed: otherService,
			Patch: servicePatch,
		},
	}
}

// hostService returns the host Service that offers the pods of a translated
// Service. Nothing is taken from the latter but its ports, its selector and how
// connections are spread: it has no external address, and no port of nodes.
func hostService(t *rewrite.Translator, translated *corev1.Service, name string) *corev1.Service {
	marks := maps.Clone(t.ScopeLabels())
	marks[hostview.LabelComposed] = string(hostview.MappedService)
	h := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: t.Cluster().HostNamespace, Name: name, Labels: marks, OwnerReferences: t.Owners(),
		},
		Spec: *kept(translated),
	}
	h.Spec.Type = corev1.ServiceTypeClusterIP
	if isHeadless(translated) {
		h.Spec.ClusterIP = corev1.ClusterIPNone
	}
	h.Spec.IPFamilies, h.Spec.IPFamilyPolicy = translated.Spec.IPFamilies, translated.Spec.IPFamilyPolicy
	return h
}

// kept are the fields of a Service that follow another one and can change.
func kept(s *corev1.Service) *corev1.ServiceSpec {
	return &corev1.ServiceSpec{
		Type:                     s.Spec.Type,
		Ports:                    virtualPorts(s.Spec.Ports),
		Selector:                 maps.Clone(s.Spec.Selector),
		SessionAffinity:          s.Spec.SessionAffinity,
		SessionAffinityConfig:    s.Spec.SessionAffinityConfig.DeepCopy(),
		PublishNotReadyAddresses: s.Spec.PublishNotReadyAddresses,
		InternalTrafficPolicy:    s.Spec.InternalTrafficPolicy,
		TrafficDistribution:      s.Spec.TrafficDistribution,
	}
}

// servicePatch is the merge patch that gives host the fields of want.
func servicePatch(want, host *corev1.Service) map[string]any {
	// Fields that are empty in want are null in a patch of all fields; those
	// that the API defaults are set in both.
	spec, err := runtime.DefaultUnstructuredConverter.ToUnstructured(kept(want))
	if err != nil {
		return map[string]any{} // a Service always converts
	}
	for _, field := range []string{"ports", "sessionAffinity", "sessionAffinityConfig", "publishNotReadyAddresses", "internalTrafficPolicy", "trafficDistribution", "externalIPs"} {
		if _, ok := spec[field]; !ok {
			spec[field] = nil
		}
	}
	spec["selector"] = hostview.Changes(want.Spec.Selector, host.Spec.Selector)
	return map[string]any{"spec": spec}
}
