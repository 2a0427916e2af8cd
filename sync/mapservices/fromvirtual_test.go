// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mapservices_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/harness"
)

func TestVirtualServiceIsOffered(t *testing.T) {
	f := start(t, nil)
	translated := f.api()
	f.createHost(translated)
	h := f.host("api", any1)
	want := corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, Selector: translated.Spec.Selector,
		Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}},
	}
	if diff := cmp.Diff(want, h.Spec); diff != "" {
		t.Errorf("host Service (-want +got):\n%s", diff)
	}
	if h.Labels[rewrite.LabelCluster] != harness.Cluster || len(h.OwnerReferences) != 1 || h.OwnerReferences[0].UID != "anchor" {
		t.Errorf("it has labels %v and owners %v: it would not go with the cluster", h.Labels, h.OwnerReferences)
	}
	if h.Spec.Selector[rewrite.LabelNamespace] != "shop" || h.Spec.Selector[rewrite.LabelCluster] != harness.Cluster {
		t.Errorf("it selects %v, which others may have", h.Spec.Selector)
	}
	f.Stop()
	if w := harness.Writes(&f.Virtual.Fake, ""); len(w) > 0 {
		t.Errorf("the virtual cluster got %v", w)
	}
}

func TestOfferedServiceFollowsTheVirtualOne(t *testing.T) {
	f := start(t, nil)
	f.says(f.outside, "ConfigMap team-a/vc.anchor MappedServiceMissing")
	f.createHost(f.api())
	f.host("api", any1)

	changed := f.api(func(s *corev1.Service) {
		s.Spec.ClusterIP = "10.96.0.77"
		s.Spec.Selector = map[string]string{"tier": "front"}
		s.Spec.Ports[0].Port = 81
	})
	f.updateHost(changed)
	f.host("api", func(s *corev1.Service) bool {
		return cmp.Equal(s.Spec.Selector, changed.Spec.Selector) && s.Spec.Ports[0].Port == 81 && s.Spec.ClusterIP == ""
	})

	// A change or a deletion on the host is undone.
	h := f.host("api", any1)
	h.Spec.Selector = map[string]string{"app": "other"}
	h.Annotations = map[string]string{"note": "of the operator"}
	f.updateHost(h)
	f.host("api", func(s *corev1.Service) bool {
		return cmp.Equal(s.Spec.Selector, changed.Spec.Selector) && s.Annotations["note"] != ""
	})
	f.deleteHost("team-a/api")
	f.host("api", any1)

	f.deleteHost("team-a/" + changed.Name)
	f.hostGone("api")
	f.createHost(changed)
	f.host("api", any1)
}

func TestHeadlessServiceIsOfferedAsOne(t *testing.T) {
	f := start(t, nil)
	f.createHost(f.api())
	f.host("api", func(s *corev1.Service) bool { return s.Spec.ClusterIP == "" })
	f.updateHost(f.api(func(s *corev1.Service) {
		s.Spec.Type, s.Spec.ClusterIP = corev1.ServiceTypeClusterIP, corev1.ClusterIPNone
	}))
	f.host("api", func(s *corev1.Service) bool {
		return s.Spec.ClusterIP == corev1.ClusterIPNone && len(s.Spec.Selector) == 3
	})
}

// An operator has a host Service under the name of a mapping. It stays as it is,
// they hear of it, and the mapping has the name when it is free.
func TestHostServiceUnderTheNameOfAMappingIsNotTouched(t *testing.T) {
	f := prepare(t, nil)
	f.createHost(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: harness.HostNamespace, Name: "api"}, Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.5"}})
	f.createHost(f.api())
	f.start()
	f.says(f.outside, "Service team-a/api MappedServiceNameTaken")
	f.host("api", func(s *corev1.Service) bool { return s.Spec.ClusterIP == "10.96.0.5" && len(s.Spec.Selector) == 0 })
	f.deleteHost("team-a/api")
	f.Clock.Step(time.Minute) // no other event reports it
	f.host("api", func(s *corev1.Service) bool { return len(s.Spec.Selector) > 0 })
}

// A tenant makes the Service that is mapped to the host lead to addresses, or to
// a name, of their choice: a neighbour's pods, or a host Service that is open to
// the operator's pods only. No such Service is offered, and one that was is gone.
func TestAttackMappedNameLeadsHostPodsElsewhere(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*corev1.Service)
		reason string
	}{
		"endpoints of the tenant's": {func(s *corev1.Service) { s.Spec.Selector = nil }, "MappedServiceNoSelector"},
		"a name": {func(s *corev1.Service) {
			s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "vault.infra.svc.cluster.local", Selector: map[string]string{"app": "api"}}
		}, "MappedServiceExternalName"},
	} {
		t.Run(name, func(t *testing.T) {
			f := prepare(t, nil)
			f.createHost(f.api())
			f.start()
			f.host("api", any1)
			f.updateHost(f.api(tc.change))
			f.hostGone("api")
			f.says(f.outside, "ConfigMap team-a/vc.anchor "+tc.reason)
		})
	}
}

// A Service on the host has another's annotations, or a selector that is not the
// cluster's, so that a mapping would lead to pods of others. It is not offered.
func TestAttackTranslatedServiceIsForged(t *testing.T) {
	f := prepare(t, nil)
	forged := f.api(func(s *corev1.Service) { s.Name = "victim" })
	forged.Annotations = f.api().Annotations // says that it is shop/api
	f.createHost(forged)
	wide := f.api()
	wide.Spec.Selector = map[string]string{"app": "api"}
	f.createHost(wide)
	f.start()
	f.says(f.outside, "ConfigMap team-a/vc.anchor MappedServiceNoSelector")
	f.OnlyWrites("services", forged.Name, wide.Name)
}
