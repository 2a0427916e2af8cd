// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kinds_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/kinds"
)

// meta is that of a sample.
var meta = metav1.ObjectMeta{Namespace: "default", Name: "sample"}

func TestPushed(t *testing.T) {
	pushed(t, kinds.PushedSecrets,
		&corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{"a": []byte("1"), "b": []byte("2")}},
		map[string]func(*corev1.Secret){
			"other content":    func(s *corev1.Secret) { s.Data = map[string][]byte{"a": []byte("3"), "c": {}} },
			"a key, no bytes":  func(s *corev1.Secret) { s.Data = map[string][]byte{"a": []byte("1"), "c": nil} },
			"another type":     func(s *corev1.Secret) { s.Type = "example.com/type" },
			"immutable by now": func(s *corev1.Secret) { s.Immutable = ptr.To(true) },
		})
	pushed(t, kinds.PushedSecrets, &corev1.Secret{ObjectMeta: meta, Immutable: ptr.To(true)}, map[string]func(*corev1.Secret){
		"was immutable": func(s *corev1.Secret) { s.Data = map[string][]byte{"a": []byte("1")} },
	})
	pushed(t, kinds.PushedConfigMaps,
		&corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"a": "1"}, BinaryData: map[string][]byte{"b": {0xff}}},
		map[string]func(*corev1.ConfigMap){
			"other text":       func(c *corev1.ConfigMap) { c.Data = map[string]string{"c": "2"} },
			"other bytes":      func(c *corev1.ConfigMap) { c.BinaryData = nil },
			"immutable by now": func(c *corev1.ConfigMap) { c.Immutable = ptr.To(true) },
		})
	pushed(t, kinds.PushedConfigMaps, &corev1.ConfigMap{ObjectMeta: meta, Immutable: ptr.To(true)}, map[string]func(*corev1.ConfigMap){
		"was immutable": func(c *corev1.ConfigMap) { c.Data = map[string]string{"a": "1"} },
	})
	pushed(t, kinds.PushedEndpointSlices,
		&discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "sample", Labels: map[string]string{discoveryv1.LabelServiceName: "db"}}, AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}}}, Ports: []discoveryv1.EndpointPort{{Port: ptr.To[int32](80)}},
		},
		map[string]func(*discoveryv1.EndpointSlice){
			"other endpoints": func(s *discoveryv1.EndpointSlice) { s.Endpoints[0].Addresses[0] = "192.0.2.2" },
			"no endpoint":     func(s *discoveryv1.EndpointSlice) { s.Endpoints = []discoveryv1.Endpoint{} },
			"other ports":     func(s *discoveryv1.EndpointSlice) { s.Ports[0].Port = ptr.To[int32](81) },
			"other family": func(s *discoveryv1.EndpointSlice) {
				s.AddressType, s.Endpoints[0].Addresses[0] = discoveryv1.AddressTypeIPv6, "2001:db8::1"
			},
		})
	pushed(t, kinds.PushedNetworkPolicies(func() rewrite.Network { return rewrite.Network{} }),
		&networkingv1.NetworkPolicy{ObjectMeta: meta, Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "web", "tier": "front"}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{}},
		}},
		map[string]func(*networkingv1.NetworkPolicy){
			"fewer labels":    func(p *networkingv1.NetworkPolicy) { delete(p.Spec.PodSelector.MatchLabels, "tier") },
			"no label":        func(p *networkingv1.NetworkPolicy) { p.Spec.PodSelector.MatchLabels = nil },
			"no rule":         func(p *networkingv1.NetworkPolicy) { p.Spec.Ingress = nil },
			"other direction": func(p *networkingv1.NetworkPolicy) { p.Spec.PolicyTypes[0] = networkingv1.PolicyTypeEgress },
			"a rule out":      func(p *networkingv1.NetworkPolicy) { p.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{}} },
		})
	webPath := func(service string, port networkingv1.ServiceBackendPort) networkingv1.IngressRuleValue {
		return networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
			Path: "/", PathType: ptr.To(networkingv1.PathTypePrefix),
			Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: service, Port: port}},
		}}}}
	}
	pushed(t, kinds.PushedIngresses(&rewrite.IngressPolicy{Classes: []string{"web"}, Hosts: []string{"*"}, Annotations: []string{"example.com/a"}}),
		&networkingv1.Ingress{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "sample", Annotations: map[string]string{"example.com/a": "1", "example.com/b": "2"}},
			Spec: networkingv1.IngressSpec{
				IngressClassName: ptr.To("web"), TLS: []networkingv1.IngressTLS{{Hosts: []string{"a.example.com"}, SecretName: "tls"}},
				DefaultBackend: &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Name: "http"}}},
				Rules:          []networkingv1.IngressRule{{Host: "a.example.com", IngressRuleValue: webPath("web", networkingv1.ServiceBackendPort{Number: 80})}},
			},
		},
		map[string]func(*networkingv1.Ingress){
			"other rules": func(i *networkingv1.Ingress) { i.Spec.Rules[0].Host = "b.example.com" },
			"no rules":    func(i *networkingv1.Ingress) { i.Spec.Rules = nil },
			"no TLS":      func(i *networkingv1.Ingress) { i.Spec.TLS = nil },
			"no default":  func(i *networkingv1.Ingress) { i.Spec.DefaultBackend = nil },
			"number of a port": func(i *networkingv1.Ingress) {
				i.Spec.DefaultBackend.Service.Port = networkingv1.ServiceBackendPort{Number: 80}
			},
			"another class":      func(i *networkingv1.Ingress) { i.Spec.IngressClassName = ptr.To("other") },
			"another annotation": func(i *networkingv1.Ingress) { i.Annotations["example.com/a"] = "3" },
			"no annotation":      func(i *networkingv1.Ingress) { delete(i.Annotations, "example.com/a") },
		})
	pushed(t, kinds.PushedPodDisruptionBudgets,
		&policyv1.PodDisruptionBudget{ObjectMeta: meta, Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr.To(intstr.FromInt32(2)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web", "tier": "front"}},
			UnhealthyPodEvictionPolicy: ptr.To(policyv1.AlwaysAllow),
		}},
		map[string]func(*policyv1.PodDisruptionBudget){
			"another number":         func(b *policyv1.PodDisruptionBudget) { b.Spec.MinAvailable = ptr.To(intstr.FromInt32(3)) },
			"no number":              func(b *policyv1.PodDisruptionBudget) { b.Spec.MinAvailable = nil },
			"fewer labels":           func(b *policyv1.PodDisruptionBudget) { delete(b.Spec.Selector.MatchLabels, "tier") },
			"selects nothing":        func(b *policyv1.PodDisruptionBudget) { b.Spec.Selector = nil },
			"selects all":            func(b *policyv1.PodDisruptionBudget) { b.Spec.Selector = &metav1.LabelSelector{} },
			"policy for the unready": func(b *policyv1.PodDisruptionBudget) { b.Spec.UnhealthyPodEvictionPolicy = nil },
		})
	pushed(t, kinds.PushedPodDisruptionBudgets, &policyv1.PodDisruptionBudget{ObjectMeta: meta}, map[string]func(*policyv1.PodDisruptionBudget){
		"selected nothing": func(b *policyv1.PodDisruptionBudget) {
			b.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
		},
	})
	pushed(t, kinds.PushedPriorityClasses(1000),
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "sample"}, Value: 10, Description: "before", GlobalDefault: true},
		map[string]func(*schedulingv1.PriorityClass){
			"another value":       func(c *schedulingv1.PriorityClass) { c.Value = 20 },
			"another description": func(c *schedulingv1.PriorityClass) { c.Description = "after" },
			"another policy":      func(c *schedulingv1.PriorityClass) { c.PreemptionPolicy = ptr.To(corev1.PreemptNever) },
		})
	pushed(t, kinds.PushedStorageClasses,
		&storagev1.StorageClass{
			ObjectMeta:  metav1.ObjectMeta{Name: "sample", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
			Provisioner: "example.com/disk", Parameters: map[string]string{"fsType": "xfs"}, MountOptions: []string{"noatime"},
		},
		map[string]func(*storagev1.StorageClass){
			"another provisioner": func(c *storagev1.StorageClass) { c.Provisioner = "example.com/other" },
			"other parameters":    func(c *storagev1.StorageClass) { c.Parameters["fsType"] = "ext4" },
			"another policy":      func(c *storagev1.StorageClass) { c.ReclaimPolicy = ptr.To(corev1.PersistentVolumeReclaimRetain) },
			"another mode": func(c *storagev1.StorageClass) {
				c.VolumeBindingMode = ptr.To(storagev1.VolumeBindingWaitForFirstConsumer)
			},
			"no mount option": func(c *storagev1.StorageClass) { c.MountOptions = nil },
			"expansion":       func(c *storagev1.StorageClass) { c.AllowVolumeExpansion = ptr.To(true) },
			"a topology": func(c *storagev1.StorageClass) {
				c.AllowedTopologies = []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{
					{Key: "topology.kubernetes.io/zone", Values: []string{"a"}},
				}}}
			},
		})
}

// pushed tries a row with an object of its kind and changes of it.
func pushed[T kinds.Object](t *testing.T, row kinds.Pushed[T], sample T, changes map[string]func(T)) {
	tr := harness.Translator(t)
	namespace := harness.HostNamespace
	if row.ClusterWide {
		namespace = ""
	}
	toHost := func(t *testing.T, virtual T) T {
		t.Helper()
		host, err := row.ToHost(tr, virtual, rewrite.Inputs{})
		if err != nil {
			t.Fatal(err)
		}
		return host
	}
	first := toHost(t, sample)
	expect := func(t *testing.T, k *copies.Kind[T], want T, effects ...copies.Effect) {
		t.Helper()
		for _, effect := range effects {
			// The fake keeps the object that it is given.
			if got, err := k.Write(t.Context(), want.DeepCopyObject().(T)); err != nil || got != effect {
				t.Errorf("effect %v, %v; want %v", got, err, effect)
			}
		}
		host, err := k.Client.Get(t.Context(), want.GetName(), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(content(t, want), content(t, host)); diff != "" {
			t.Errorf("the host has other content (-want +host):\n%s", diff)
		}
	}

	t.Run(row.Kind+", seen", func(t *testing.T) {
		host := fake.NewClientset()
		view := hostview.NewFactory(host, namespace, labels.Everything())
		k := row.Copies(tr, host, view)
		expect(t, &k, first, copies.Created, copies.None)
		view.Start(t.Context().Done())
		view.WaitForCacheSync(t.Context().Done())
		host.ClearActions()
		if effect, err := k.Write(t.Context(), toHost(t, sample)); err != nil || effect != copies.None {
			t.Errorf("effect %v, %v", effect, err)
		}
		for _, a := range host.Actions() {
			if a.GetVerb() != "watch" {
				t.Errorf("the host is asked to %s for a copy that the view has", a.GetVerb())
			}
		}
		if removed, err := k.RemoveSeen(t.Context(), first.GetName()); err != nil || !removed {
			t.Errorf("removed %v, %v", removed, err)
		}
	})
	for name, change := range changes {
		t.Run(row.Kind+", "+name, func(t *testing.T) {
			host := fake.NewClientset()
			k := row.Copies(tr, host, informers.NewSharedInformerFactory(host, 0))
			expect(t, &k, first, copies.Created)
			next := sample.DeepCopyObject().(T)
			change(next)
			want := toHost(t, next)
			effect := copies.Changed
			if row.Rules.Fixed != nil && row.Rules.Fixed(want, first) {
				effect = copies.Replaced
			}
			expect(t, &k, want, effect, copies.None)
		})
	}
	t.Run(row.Kind+", not ours", func(t *testing.T) {
		bare := toHost(t, sample)
		bare.SetLabels(nil)
		bare.SetAnnotations(nil)
		renamed := toHost(t, sample)
		renamed.SetName("another")
		elsewhere := harness.Translator(t, func(c *rewrite.Cluster) { c.Name = "neighbour" })
		for reason, ours := range map[string]bool{
			"without labels": is(row, tr, bare), "under another name": is(row, tr, renamed), "to a neighbour": is(row, elsewhere, first),
		} {
			if ours {
				t.Errorf("a host object is ours %s", reason)
			}
		}
		if namespace, name, ours := row.ToVirtual(tr, first); !ours || namespace != sample.GetNamespace() || name != sample.GetName() {
			t.Errorf("the copy leads back to %s/%s, ours %v", namespace, name, ours)
		}
		host := fake.NewClientset(bare)
		k := row.Copies(tr, host, informers.NewSharedInformerFactory(host, 0))
		if _, err := k.Write(t.Context(), toHost(t, sample)); !errors.Is(err, copies.ErrForeign) {
			t.Errorf("Write: %v, want %v", err, copies.ErrForeign)
		}
	})
}

func is[T metav1.Object](row kinds.Pushed[T], tr *rewrite.Translator, host T) bool {
	_, _, ours := row.ToVirtual(tr, host)
	return ours
}

// TestIngressKeepsLabelsOfTheHost: a label that the host puts on the copy of an
// Ingress stays, also one whose key is that of an annotation that passes. The
// annotation of that key is the tenant's.
func TestIngressKeepsLabelsOfTheHost(t *testing.T) {
	const key = "example.com/a"
	tr, host := harness.Translator(t), fake.NewClientset()
	row := kinds.PushedIngresses(&rewrite.IngressPolicy{Classes: []string{"web"}, Hosts: []string{"*"}, Annotations: []string{key}})
	k := row.Copies(tr, host, informers.NewSharedInformerFactory(host, 0))
	want, err := row.ToHost(tr, &networkingv1.Ingress{ObjectMeta: meta}, rewrite.Inputs{})
	if err != nil {
		t.Fatal(err)
	}
	there := want.DeepCopy()
	there.Labels[key], there.Labels["example.com/b"] = "theirs", "theirs"
	labelled := there.DeepCopy()
	there.Annotations[key] = "of before"
	if _, err := k.Client.Create(t.Context(), there, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, effect := range []copies.Effect{copies.Changed, copies.None} {
		if got, err := k.Write(t.Context(), want.DeepCopy()); err != nil || got != effect {
			t.Errorf("effect %v, %v; want %v", got, err, effect)
		}
	}
	got, err := k.Client.Get(t.Context(), want.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(labelled.Labels, got.Labels); diff != "" {
		t.Errorf("labels (-want +host):\n%s", diff)
	}
	if diff := cmp.Diff(labelled.Annotations, got.Annotations); diff != "" {
		t.Errorf("annotations (-want +host):\n%s", diff)
	}
}

func TestPulled(t *testing.T) {
	pulled(t, kinds.PulledPriorityClasses,
		&schedulingv1.PriorityClass{Value: 10, Description: "d", PreemptionPolicy: ptr.To(corev1.PreemptNever), GlobalDefault: true},
		[]string{"globalDefault"},
		map[string]func(*schedulingv1.PriorityClass){
			"value":  func(c *schedulingv1.PriorityClass) { c.Value = 20 },
			"policy": func(c *schedulingv1.PriorityClass) { c.PreemptionPolicy = nil },
		},
		map[string]func(*schedulingv1.PriorityClass){
			"description": func(c *schedulingv1.PriorityClass) { c.Description = "e" },
		})
	pulled(t, kinds.PulledRuntimeClasses,
		&nodev1.RuntimeClass{
			Handler: "runc", Overhead: &nodev1.Overhead{PodFixed: corev1.ResourceList{"cpu": resource.MustParse("1")}},
			Scheduling: &nodev1.Scheduling{NodeSelector: map[string]string{"a": "b"}},
		},
		nil,
		map[string]func(*nodev1.RuntimeClass){"handler": func(c *nodev1.RuntimeClass) { c.Handler = "other" }},
		map[string]func(*nodev1.RuntimeClass){
			"overhead":   func(c *nodev1.RuntimeClass) { c.Overhead = nil },
			"scheduling": func(c *nodev1.RuntimeClass) { c.Scheduling = nil },
		})
	pulled(t, kinds.PulledStorageClasses,
		&storagev1.StorageClass{
			Provisioner: "example.com/p", Parameters: map[string]string{"csi.storage.k8s.io/provisioner-secret-name": "hosts"},
			ReclaimPolicy: ptr.To(corev1.PersistentVolumeReclaimRetain), MountOptions: []string{"ro"}, AllowVolumeExpansion: ptr.To(true),
			VolumeBindingMode: ptr.To(storagev1.VolumeBindingImmediate),
			AllowedTopologies: []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: "zone", Values: []string{"a"}}}}},
		},
		[]string{"parameters"},
		map[string]func(*storagev1.StorageClass){
			"provisioner": func(c *storagev1.StorageClass) { c.Provisioner = "example.com/q" },
			"policy":      func(c *storagev1.StorageClass) { c.ReclaimPolicy = nil },
			"binding":     func(c *storagev1.StorageClass) { c.VolumeBindingMode = nil },
		},
		map[string]func(*storagev1.StorageClass){
			"expansion":  func(c *storagev1.StorageClass) { c.AllowVolumeExpansion = nil },
			"parameters": func(c *storagev1.StorageClass) { c.Parameters = nil },
		})
	pulled(t, kinds.PulledIngressClasses,
		&networkingv1.IngressClass{Spec: networkingv1.IngressClassSpec{Controller: "example.com/c"}},
		nil,
		map[string]func(*networkingv1.IngressClass){"controller": func(c *networkingv1.IngressClass) { c.Spec.Controller = "example.com/d" }},
		nil)
	pulled(t, kinds.PulledDeviceClasses,
		&resourcev1.DeviceClass{Spec: resourcev1.DeviceClassSpec{Selectors: []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: "true"}}}}},
		nil, nil,
		map[string]func(*resourcev1.DeviceClass){"selectors": func(c *resourcev1.DeviceClass) { c.Spec.Selectors = nil }})
}

// TestPulledAnnotations: the mark as default is the host's, for storage classes
// only.
func TestPulledAnnotations(t *testing.T) {
	if got := kinds.PulledStorageClasses.Annotations; !slices.Contains(got, "storageclass.kubernetes.io/is-default-class") {
		t.Errorf("annotations that are shown: %q", got)
	}
}

// pulled tries a row with an object that has every field, those of its fields
// that are not shown, and changes that the API refuses and allows.
func pulled[T kinds.Object](t *testing.T, row kinds.Pulled[T], host T, hidden []string, refused, allowed map[string]func(T)) {
	t.Run(row.Noun, func(t *testing.T) {
		host.SetName("sample")
		shown := row.Blank(metav1.ObjectMeta{Name: "sample"})
		row.Fill(shown, host)
		want := content(t, host)
		for _, field := range hidden {
			delete(want, field)
		}
		if diff := cmp.Diff(want, content(t, shown)); diff != "" {
			t.Errorf("shown otherwise (-host +shown):\n%s", diff)
		}
		for may, changes := range map[bool]map[string]func(T){false: refused, true: allowed} {
			for name, change := range changes {
				next := host.DeepCopyObject().(T)
				change(next)
				if row.Frozen(host, next) != may {
					t.Errorf("%s: a change is possible without another object: %v, want %v", name, !may, may)
				}
			}
		}
	})
}

// content is an object without its metadata and type.
func content(t *testing.T, obj runtime.Object) map[string]any {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"metadata", "kind", "apiVersion"} {
		delete(fields, field)
	}
	if data, ok := fields["data"].(map[string]any); ok {
		for key, value := range data {
			if value == nil {
				data[key] = "" // as an API server has it
			}
		}
	}
	return fields
}
