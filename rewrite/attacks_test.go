// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"portico.dev/portico/rewrite"
)

// Each test here is something that a tenant may try. Law 5: nothing a tenant
// writes selects, names, mounts or reads an object of another virtual
// namespace, of another virtual cluster or of the host.

func pod(namespace, name string, podLabels map[string]string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: podLabels}}
}

func podToHost(t *testing.T, v *corev1.Pod, in rewrite.Inputs) *corev1.Pod {
	t.Helper()
	return toHost(t, mustNew(t, testCluster()), v, in).(*corev1.Pod)
}

// neighbours are host pods that look alike to a tenant's selector: in another
// namespace, in another cluster, and of the host.
func neighbours(t *testing.T) map[string]*corev1.Pod {
	t.Helper()
	app := map[string]string{"app": "web"}
	other := testCluster()
	other.Name = "other"
	return map[string]*corev1.Pod{
		"own":               podToHost(t, pod("demo", "p", app), rewrite.Inputs{NamespaceLabels: map[string]string{"team": "blue"}}),
		"another namespace": podToHost(t, pod("prod", "p", app), rewrite.Inputs{NamespaceLabels: map[string]string{"team": "red"}}),
		"another cluster":   toHost(t, mustNew(t, other), pod("demo", "p", app), rewrite.Inputs{NamespaceLabels: map[string]string{"team": "blue"}}).(*corev1.Pod),
		"host":              pod("team-a", "p", app),
	}
}

func selected(t *testing.T, selector labels.Selector) string {
	t.Helper()
	var names []string
	pods := neighbours(t)
	for _, name := range []string{"another cluster", "another namespace", "host", "own"} {
		if selector.Matches(labels.Set(pods[name].Labels)) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// TestAttackServiceSelectorReachesOtherNamespace: a Service's selector matches
// the labels of pods in another namespace. On the host it also asks for the
// Service's own cluster and namespace.
func TestAttackServiceSelectorReachesOtherNamespace(t *testing.T) {
	v := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "thief"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}},
	}
	h := toHost(t, mustNew(t, testCluster()), v, rewrite.Inputs{}).(*corev1.Service)
	if got := selected(t, labels.SelectorFromSet(h.Spec.Selector)); got != "own" {
		t.Errorf("the Service selects %s", got)
	}
}

// TestAttackServiceSelectorOnReservedLabels: a Service selects by Portico's own
// labels. It selects by the tenant's labels of these names, which have other keys
// on the host, and only pods of its own namespace.
func TestAttackServiceSelectorOnReservedLabels(t *testing.T) {
	tr := mustNew(t, testCluster())
	for name, stolen := range map[string]map[string]string{
		"another namespace": {rewrite.LabelNamespace: "prod"},
		"another cluster":   {rewrite.LabelCluster: "other"},
		"the control plane": {rewrite.Prefix + "door": "my-vcluster"},
	} {
		t.Run(name, func(t *testing.T) {
			v := &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "thief"},
				Spec:       corev1.ServiceSpec{Selector: with(maps.Clone(stolen), "app", "web")},
			}
			h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Service)
			selector := labels.SelectorFromSet(h.Spec.Selector)
			if got := selected(t, selector); got != "" {
				t.Errorf("the Service selects %s", got)
			}
			for k, value := range stolen {
				if h.Spec.Selector[k] == value {
					t.Errorf("the Service on the host selects by %s=%s: %v", k, value, h.Spec.Selector)
				}
			}
			own := podToHost(t, pod("demo", "p", with(maps.Clone(stolen), "app", "web")), rewrite.Inputs{})
			other := podToHost(t, pod("prod", "p", with(maps.Clone(stolen), "app", "web")), rewrite.Inputs{})
			if !selector.Matches(labels.Set(own.Labels)) || selector.Matches(labels.Set(other.Labels)) {
				t.Errorf("%v selects a pod of its namespace with these labels: %v, one of another: %v; want only the first",
					h.Spec.Selector, selector.Matches(labels.Set(own.Labels)), selector.Matches(labels.Set(other.Labels)))
			}
		})
	}
}

// TestAttackAffinityTermsReachNeighbours: affinity terms select the pods of
// other namespaces and clusters. Each term is bound to the tenant's cluster and
// the namespaces it may name.
func TestAttackAffinityTermsReachNeighbours(t *testing.T) {
	app := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	team := func(s string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"team": s}}
	}
	for name, c := range map[string]struct {
		reason string
		term   corev1.PodAffinityTerm
		want   []string // by host term
	}{
		"no namespaces":  {reason: "means the pod's own", term: corev1.PodAffinityTerm{LabelSelector: app}, want: []string{"own"}},
		"nil selector":   {reason: "selects nothing", term: corev1.PodAffinityTerm{}, want: []string{""}},
		"empty selector": {reason: "selects everything of its namespace", term: corev1.PodAffinityTerm{LabelSelector: &metav1.LabelSelector{}}, want: []string{"own"}},
		"named namespace": {
			reason: "a virtual one", term: corev1.PodAffinityTerm{LabelSelector: app, Namespaces: []string{"prod"}}, want: []string{"another namespace"},
		},
		"host namespace by name": {
			reason: "there is no virtual namespace of that name", term: corev1.PodAffinityTerm{LabelSelector: app, Namespaces: []string{"team-a"}}, want: []string{""},
		},
		"every namespace": {
			reason: "of this cluster", term: corev1.PodAffinityTerm{LabelSelector: app, NamespaceSelector: &metav1.LabelSelector{}}, want: []string{"another namespace, own"},
		},
		"namespaces by label": {
			reason: "by the namespace's labels, not the pod's", term: corev1.PodAffinityTerm{LabelSelector: app, NamespaceSelector: team("red")}, want: []string{"another namespace"},
		},
		"both": {
			reason: "is the union, in two halves", term: corev1.PodAffinityTerm{LabelSelector: app, Namespaces: []string{"demo"}, NamespaceSelector: team("red")},
			want: []string{"own", "another namespace"},
		},
		"both, overlapping": {
			reason: "no pod counts twice", term: corev1.PodAffinityTerm{LabelSelector: app, Namespaces: []string{"demo"}, NamespaceSelector: team("blue")},
			want: []string{"own", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := pod("demo", "thief", nil)
			v.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{c.term}}}
			terms := podToHost(t, v, rewrite.Inputs{}).Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
			if len(terms) != len(c.want) {
				t.Fatalf("%s: got %d terms, want %d", c.reason, len(terms), len(c.want))
			}
			for i, term := range terms {
				if len(term.Namespaces) > 0 || term.NamespaceSelector != nil {
					t.Errorf("%s: the host term names namespaces of the host: %v", c.reason, term)
				}
				s, err := metav1.LabelSelectorAsSelector(term.LabelSelector)
				if err != nil {
					t.Fatal(err)
				}
				if got := selected(t, s); got != c.want[i] {
					t.Errorf("%s: term %d selects %q, want %q", c.reason, i, got, c.want[i])
				}
			}
		})
	}
}

// TestAttackRequiredAffinityUnionAsksForNoPodInEach: a required affinity term
// over a union of namespaces, which one selector cannot express, must not
// become weaker than the tenant's.
func TestAttackRequiredAffinityUnionAsksForNoPodInEach(t *testing.T) {
	v := pod("demo", "p", nil)
	v.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
		LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Namespaces: []string{"demo"},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "red"}},
	}}}}
	h := podToHost(t, v, rewrite.Inputs{Namespaces: map[string]map[string]string{"demo": {"team": "blue"}, "prod": {"team": "red"}}})
	terms := h.Spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if len(terms) != 1 {
		t.Fatalf("got %d terms, want 1", len(terms))
	}
	s, err := metav1.LabelSelectorAsSelector(terms[0].LabelSelector)
	if err != nil {
		t.Fatal(err)
	}
	if got := selected(t, s); got != "another namespace, own" {
		t.Errorf("the term selects %s", got)
	}
}

// TestAttackTopologySpreadCountsNeighbours: topology spread constraints count
// the pods of neighbours, whose placement they would show. They count the
// namespace's own pods only.
func TestAttackTopologySpreadCountsNeighbours(t *testing.T) {
	v := pod("demo", "p", map[string]string{"app": "web"})
	v.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{
		{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}, {LabelSelector: nil},
	}
	h := podToHost(t, v, rewrite.Inputs{})
	s, err := metav1.LabelSelectorAsSelector(h.Spec.TopologySpreadConstraints[0].LabelSelector)
	if err != nil {
		t.Fatal(err)
	}
	if got := selected(t, s); got != "own" {
		t.Errorf("the constraint counts %s", got)
	}
	if h.Spec.TopologySpreadConstraints[1].LabelSelector != nil {
		t.Error("a nil selector, which counts nothing, became one that counts something")
	}
}

// TestAttackAffinitySelectsReservedLabels: an affinity term selects by Portico's
// own labels. On the host it has the keys of the tenant's labels of these names,
// and stays in its own namespace.
func TestAttackAffinitySelectsReservedLabels(t *testing.T) {
	sneaky := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: rewrite.LabelCluster, Operator: "NotIn", Values: []string{"x"}}}}
	for name, v := range map[string]*corev1.Pod{
		"affinity": {Spec: corev1.PodSpec{Affinity: &corev1.Affinity{PodAffinity: &corev1.PodAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{PodAffinityTerm: corev1.PodAffinityTerm{LabelSelector: sneaky}}}}}}},
		"spread":   {Spec: corev1.PodSpec{TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{LabelSelector: sneaky}}}},
	} {
		v.Namespace, v.Name = "demo", "thief"
		h := podToHost(t, v, rewrite.Inputs{})
		var s *metav1.LabelSelector
		if a := h.Spec.Affinity; a != nil {
			s = a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution[0].PodAffinityTerm.LabelSelector
		} else {
			s = h.Spec.TopologySpreadConstraints[0].LabelSelector
		}
		if slices.ContainsFunc(s.MatchExpressions, func(r metav1.LabelSelectorRequirement) bool {
			return r.Operator == "NotIn" && r.Key == rewrite.LabelCluster
		}) {
			t.Errorf("%s: the host pod selects by %v", name, s)
		}
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := selected(t, selector); got != "own" {
			t.Errorf("%s: selects %s, want the pods of its own namespace", name, got)
		}
	}
}

// TestAttackVolumeNamesOtherNamespaceThroughHostNaming writes the host name of
// another namespace's Secret wherever a pod can name one.
func TestAttackVolumeNamesOtherNamespaceThroughHostNaming(t *testing.T) {
	tr := mustNew(t, testCluster())
	for _, target := range []string{tr.Name("prod", "password"), tr.TokenSecretName("prod", "p"), tr.ServiceVariablesName("prod"), "host-secret"} {
		v := pod("demo", "thief", nil)
		ref := corev1.LocalObjectReference{Name: target}
		v.Spec.ImagePullSecrets = []corev1.LocalObjectReference{ref}
		v.Spec.Volumes = []corev1.Volume{
			{Name: "a", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: target}}},
			{Name: "b", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{LocalObjectReference: ref}}}}}},
			{Name: "c", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{NodePublishSecretRef: &ref, VolumeAttributes: map[string]string{"secretProviderClass": target}}}},
			{Name: "d", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: target}}},
		}
		env := []corev1.EnvVar{{Name: "E", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref}}}}
		from := []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}}}
		v.Spec.InitContainers = []corev1.Container{{Name: "i", Env: env, EnvFrom: from}}
		v.Spec.Containers = []corev1.Container{{Name: "c", Env: env, EnvFrom: from}}
		v.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Env: env, EnvFrom: from}}}
		h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
		raw, err := json.Marshal(h.Spec)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), `"`+target+`"`) {
			t.Errorf("the host pod names %s: %s", target, raw)
		}
	}
}

// TestAttackSidecarsSecretByName lets a tenant that sees a sidecar of the host
// ask for the sidecar's Secret in a container of its own.
func TestAttackSidecarsSecretByName(t *testing.T) {
	tr := mustNew(t, testCluster())
	h := toHost(t, tr, pod("demo", "p", nil), rewrite.Inputs{}).(*corev1.Pod)
	hostChanges["an injected sidecar"](h)
	v := toVirtual(t, tr, h).(*corev1.Pod)
	v.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "thief", EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "host-secret"}}}},
	}}}
	after := toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.Pod)
	if got, want := after.Spec.EphemeralContainers[0].EnvFrom[1].SecretRef.Name, tr.Name("demo", "host-secret"); got != want {
		t.Errorf("the debug container reads %s, want %s", got, want)
	}
	if got := after.Spec.Containers[0].Env[0].ValueFrom.SecretKeyRef.Name; got != "host-secret" {
		t.Errorf("the sidecar's own reference became %s", got)
	}
}

// reservedOnHost are the keys with our prefix that objects of all kinds have on
// the host, by kind, but for the overlay's content and moved labels.
func reservedOnHost(t *testing.T, labels, annotations map[string]string) map[string]map[string]string {
	t.Helper()
	out := map[string]map[string]string{}
	for kind, m := range onHost(t, mustNew(t, testCluster()), labels, annotations) {
		out[kind] = map[string]string{}
		for where, keys := range map[string]map[string]string{"label ": m.GetLabels(), "annotation ": m.GetAnnotations()} {
			for k, v := range keys {
				if rewrite.Reserved(k) && k != rewrite.AnnotationOverlay && !strings.HasPrefix(k, rewrite.Prefix+"label-") {
					out[kind][where+k] = v
				}
			}
		}
	}
	return out
}

// reservedKeys are keys by which Portico knows its objects, and two that have the
// form of moved ones.
var reservedKeys = []string{
	rewrite.LabelCluster, rewrite.LabelNamespace, rewrite.LabelComposed, rewrite.LabelHostNamespace,
	rewrite.AnnotationName, rewrite.AnnotationKind, rewrite.AnnotationOverlay, rewrite.AnnotationLabels, rewrite.AnnotationAnnotations,
	rewrite.AnnotationServiceAccount, rewrite.Prefix + "ns-label-aaaaaaaaaa", rewrite.Prefix + "label-aaaaaaaaaa",
	rewrite.Prefix + "annotation-aaaaaaaaaa", rewrite.Prefix + "door", rewrite.Prefix + "paused", rewrite.Prefix + "observed-digest",
}

// TestAttackReservedLabel: an object carries a label with Portico's own prefix.
// The host object has the same keys of ours as without.
func TestAttackReservedLabel(t *testing.T) {
	want := reservedOnHost(t, nil, nil)
	for _, key := range reservedKeys {
		if d := diff(want, reservedOnHost(t, map[string]string{key: "forged"}, nil)); d != "" {
			t.Errorf("label %s (-without +with):\n%s", key, d)
		}
		h := podToHost(t, pod("demo", "p", map[string]string{key: "forged"}), rewrite.Inputs{})
		if h.Labels[key] == "forged" {
			t.Errorf("label %s is on the host pod as the tenant wrote it", key)
		}
	}
}

// TestAttackForgedOverlay: an object carries an overlay that the tenant wrote, or
// another annotation of ours. The host object has the same keys of ours as
// without, and the tenant reads back the text, not the values in it.
func TestAttackForgedOverlay(t *testing.T) {
	forged := rewrite.PackOverlay(`{"v":1,"names":["x"],"ownerReferences":[{"kind":"Node","name":"n","uid":"u"}]}`)
	want, tr := reservedOnHost(t, nil, nil), mustNew(t, testCluster())
	for _, key := range reservedKeys {
		annotations := map[string]string{key: forged}
		if d := diff(want, reservedOnHost(t, nil, annotations)); d != "" {
			t.Errorf("annotation %s (-without +with):\n%s", key, d)
		}
		v := pod("demo", "p", nil)
		v.Annotations = annotations
		h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
		if h.Annotations[key] == forged {
			t.Errorf("annotation %s is on the host as the tenant wrote it", key)
		}
		seen := toVirtual(t, tr, h).(*corev1.Pod)
		if seen.Annotations[key] != forged || len(seen.OwnerReferences) != 0 {
			t.Errorf("annotation %s: the tenant sees %v and the owners %v", key, seen.Annotations, seen.OwnerReferences)
		}
		// Written to an object that is there already, too.
		seen.Annotations[key] = forged + "x"
		if again := toHost(t, tr, seen, rewrite.Inputs{Host: h}).(*corev1.Pod); again.Annotations[key] == forged+"x" {
			t.Errorf("annotation %s is on the host as the tenant changed it", key)
		}
	}
}

// TestAttackReservedFinalizer: an object carries Portico's own finalizer, to hold
// it on the host for ever. It is one of the tenant's like any other: the tenant
// sees it, and when they remove it, the host's goes.
func TestAttackReservedFinalizer(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := pod("demo", "p", nil)
	v.Finalizers = []string{"tenant.example/a"}
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
	seen := toVirtual(t, tr, h).(*corev1.Pod)
	seen.Finalizers = append(seen.Finalizers, rewrite.FinalizerVirtual)
	h = toHost(t, tr, seen, rewrite.Inputs{Host: h}).(*corev1.Pod)
	seen = toVirtual(t, tr, h).(*corev1.Pod)
	if d := diff([]string{"tenant.example/a", rewrite.FinalizerVirtual}, seen.Finalizers); d != "" {
		t.Errorf("the tenant's finalizers (-want +got):\n%s", d)
	}
	if d := diff([]string{rewrite.FinalizerVirtual}, h.Finalizers); d != "" {
		t.Errorf("the host's finalizers (-want +got):\n%s", d)
	}
	seen.Finalizers = nil
	h = toHost(t, tr, seen, rewrite.Inputs{Host: h}).(*corev1.Pod)
	if len(h.Finalizers) != 0 {
		t.Errorf("the host keeps %v", h.Finalizers)
	}
}

// TestAttackDownwardAPIReadsTheHost asks for everything of the host that the
// downward API could show.
func TestAttackDownwardAPIReadsTheHost(t *testing.T) {
	for _, path := range []string{
		"metadata.annotations['portico.dev/overlay']", "metadata.annotations['portico.dev/name']", "metadata.annotations",
		"metadata.labels['portico.dev/cluster']", "metadata.labels['portico.dev/namespace']", "metadata.labels",
		"metadata.name", "metadata.namespace", "spec.serviceAccountName",
	} {
		v := pod("demo", "p", map[string]string{"app": "web"})
		v.Spec.ServiceAccountName = "builder"
		v.Spec.Containers = []corev1.Container{{Name: "c", Env: []corev1.EnvVar{{Name: "E", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}}}}
		h := podToHost(t, v, rewrite.Inputs{})
		got := kubeletReads(t, h, h.Spec.Containers[0].Env[len(h.Spec.Containers[0].Env)-1].ValueFrom.FieldRef.FieldPath)
		for _, leak := range []string{"my-vcluster", "team-a", "portico"} {
			if strings.Contains(got, leak) {
				t.Errorf("%s reads %q", path, got)
			}
		}
	}
}

// TestAttackOwnerReferenceMakesHostCollect: an owner that the host does not
// know makes its garbage collector delete the object, one that it does know
// makes the object outlive or follow something of the host's.
func TestAttackOwnerReferenceMakesHostCollect(t *testing.T) {
	yes := true
	tr := mustNew(t, testCluster())
	for seed := range uint64(20) {
		for _, v := range randomObjects(t, seed) {
			m := v.(metav1.Object)
			m.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "rs", UID: "u", Controller: &yes, BlockOwnerDeletion: &yes}})
			m.SetFinalizers([]string{metav1.FinalizerDeleteDependents, metav1.FinalizerOrphanDependents, "tenant.example/x"})
			h := toHost(t, tr, v, rewrite.Inputs{}).(metav1.Object)
			owners := h.GetOwnerReferences()
			if len(owners) != 1 || owners[0].UID != "owner-uid" || !*owners[0].Controller || owners[0].BlockOwnerDeletion != nil {
				t.Errorf("%T has the owners %v on the host", v, owners)
			}
			if f := h.GetFinalizers(); len(f) != 1 || f[0] != rewrite.FinalizerVirtual {
				t.Errorf("%T has the finalizers %v on the host", v, f)
			}
		}
	}
}

// TestAttackForgedIdentity: a host object whose annotations name another
// virtual object than its own name does belongs to no virtual object.
func TestAttackForgedIdentity(t *testing.T) {
	tr := mustNew(t, testCluster())
	for name, forge := range map[string]func(*corev1.Pod){
		"another name":      func(h *corev1.Pod) { h.Annotations[rewrite.AnnotationName] = "other" },
		"another namespace": func(h *corev1.Pod) { h.Annotations[rewrite.AnnotationNamespace] = "prod" },
		"another kind":      func(h *corev1.Pod) { h.Annotations[rewrite.AnnotationKind] = "Service" },
		"another cluster":   func(h *corev1.Pod) { h.Labels[rewrite.LabelCluster] = "other" },
		"no annotations":    func(h *corev1.Pod) { h.Annotations = nil },
		"no labels":         func(h *corev1.Pod) { h.Labels = nil },
		"another host ns":   func(h *corev1.Pod) { h.Namespace = "team-b" },
	} {
		h := podToHost(t, pod("demo", "p", nil), rewrite.Inputs{})
		forge(h)
		if v, err := tr.ToVirtual(h); !errors.Is(err, rewrite.ErrForeign) || v != nil {
			t.Errorf("%s: got %v, %v, want ErrForeign", name, v, err)
		}
	}
}

// TestAttackClaimFromAnotherNamespace: a pod mounts the claim of another
// namespace by its host name. The reference leads to a claim of the pod's own
// namespace.
func TestAttackClaimFromAnotherNamespace(t *testing.T) {
	prod := "prod"
	spec := corev1.PersistentVolumeClaimSpec{DataSourceRef: &corev1.TypedObjectReference{Kind: "PersistentVolumeClaim", Name: "data", Namespace: &prod}}
	v := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "clone"}, Spec: spec}
	if _, err := mustNew(t, testCluster()).PersistentVolumeClaimToHost(v, rewrite.Inputs{}); !apierrors.IsInvalid(err) {
		t.Errorf("got %v, want Invalid", err)
	}
	p := pod("demo", "clone", nil)
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: spec}}}}}
	if _, err := mustNew(t, testCluster()).PodToHost(p, rewrite.Inputs{}); !apierrors.IsInvalid(err) {
		t.Errorf("ephemeral volume: got %v, want Invalid", err)
	}
}

// TestAttackPreemptTheHost: no class, priority or preemption policy of a
// tenant's reaches the host.
func TestAttackPreemptTheHost(t *testing.T) {
	v := pod("kube-system", "p", nil)
	priority, policy := int32(2_000_001_000), corev1.PreemptLowerPriority
	v.Spec.PriorityClassName, v.Spec.Priority, v.Spec.PreemptionPolicy = "system-node-critical", &priority, &policy
	h := podToHost(t, v, rewrite.Inputs{})
	noPriority(t, h)
}

func noPriority(t *testing.T, h *corev1.Pod) {
	t.Helper()
	if h.Spec.PriorityClassName != "" || h.Spec.Priority != nil || h.Spec.PreemptionPolicy != nil {
		t.Errorf("the host pod has class %q, priority %v, policy %v", h.Spec.PriorityClassName, h.Spec.Priority, h.Spec.PreemptionPolicy)
	}
}

// TestAttackTenantTakesASystemPriority: also when the caller says that the host
// offers them, the classes of the system are not for tenants.
func TestAttackTenantTakesASystemPriority(t *testing.T) {
	for _, class := range []string{"system-node-critical", "system-cluster-critical"} {
		v := pod("kube-system", "p", nil)
		priority := int32(2_000_000_000)
		v.Spec.PriorityClassName, v.Spec.Priority = class, &priority
		noPriority(t, podToHost(t, v, rewrite.Inputs{HostClasses: rewrite.HostClasses{Priority: class, PushedPriority: class}}))
		if h, err := mustNew(t, testCluster()).PriorityClassToHost(&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: class}}, 1); err == nil {
			t.Errorf("a class of the system is pushed as %q", h.Name)
		}
	}
}

// TestAttackClassAboveTheLimit: a copy is no higher than the operator lets it be.
func TestAttackClassAboveTheLimit(t *testing.T) {
	v := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "gold"}, Value: 1_000_000_000}
	if h, err := mustNew(t, testCluster()).PriorityClassToHost(v, 1000); err != nil || h.Value != 1000 {
		t.Errorf("pushed: %v, %v, want the value 1000", h, err)
	}
}

// TestAttackClassOfAnotherCluster: the name that a class of another cluster has
// on the host leads to a class of this cluster, and its copy is not ours.
func TestAttackClassOfAnotherCluster(t *testing.T) {
	cluster := testCluster()
	tr := mustNew(t, cluster)
	cluster.HostNamespace += "-b"
	other := mustNew(t, cluster)
	v := classed()
	v.Spec.PriorityClassName = other.ClusterName("gold")
	h := podToHost(t, v, rewrite.Inputs{HostClasses: rewrite.HostClasses{PushedPriority: v.Spec.PriorityClassName}})
	if h.Spec.PriorityClassName == other.ClusterName("gold") || h.Spec.PriorityClassName != tr.ClusterName(v.Spec.PriorityClassName) {
		t.Errorf("the host pod has class %q", h.Spec.PriorityClassName)
	}
	theirs, err := other.PriorityClassToHost(&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "gold"}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, ours := tr.PushedClass("PriorityClass", theirs); ours {
		t.Errorf("class %q of another cluster is taken for our own", theirs.Name)
	}
	theirs.Labels = tr.ClusterScope()
	if _, ours := tr.PushedClass("PriorityClass", theirs); ours {
		t.Errorf("class %q does not lead back to our name", theirs.Name)
	}
}

// TestAttackPodTakesAClassLater: an update brings no class to the host that the
// pod was not created with, also if the host offers it by then.
func TestAttackPodTakesAClassLater(t *testing.T) {
	priority, gold, gvisor := int32(1000), rewrite.HostClasses{Priority: "gold", Runtime: "gvisor"}, "gvisor"
	v := pod("demo", "p", nil)
	h := podToHost(t, v, rewrite.Inputs{})
	v.Spec.PriorityClassName, v.Spec.Priority, v.Spec.RuntimeClassName = "gold", &priority, &gvisor
	h = podToHost(t, v, rewrite.Inputs{Host: h, HostClasses: gold})
	noPriority(t, h)
	if h.Spec.RuntimeClassName != nil {
		t.Errorf("the host pod has runtime class %q", *h.Spec.RuntimeClassName)
	}
}

// TestAttackHostIdentity: a pod runs as the ServiceAccount without rights, gets
// no token and no certificate of the host.
func TestAttackHostIdentity(t *testing.T) {
	v := pod("demo", "p", nil)
	yes := true
	v.Spec.ServiceAccountName, v.Spec.DeprecatedServiceAccount, v.Spec.AutomountServiceAccountToken = "portico", "portico", &yes
	v.Spec.Volumes = []corev1.Volume{{Name: "t", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
	}}}}}
	h := podToHost(t, v, rewrite.Inputs{})
	if h.Spec.ServiceAccountName != "portico-workload" || h.Spec.DeprecatedServiceAccount != "" || *h.Spec.AutomountServiceAccountToken {
		t.Errorf("the host pod runs as %q, %q, automount %v", h.Spec.ServiceAccountName, h.Spec.DeprecatedServiceAccount, *h.Spec.AutomountServiceAccountToken)
	}
	if s := h.Spec.Volumes[0].Projected.Sources[0]; s.ServiceAccountToken != nil || s.Secret == nil {
		t.Errorf("the host pod asks the host for a token: %v", s)
	}
	v.Spec.Volumes[0].Projected.Sources[0] = corev1.VolumeProjection{PodCertificate: &corev1.PodCertificateProjection{
		SignerName: "kubernetes.io/kube-apiserver-client-pod", CredentialBundlePath: "bundle.pem",
	}}
	h = podToHost(t, v, rewrite.Inputs{})
	if s := h.Spec.Volumes[0].Projected.Sources[0]; s.PodCertificate != nil || s.Secret == nil {
		t.Errorf("the host pod asks the host's signers for a certificate: %v", s)
	}
	v.Spec.Volumes[0].Projected.Sources[0] = corev1.VolumeProjection{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Name: ptr("host-ca"), Path: "ca.pem"}}
	h = podToHost(t, v, rewrite.Inputs{})
	if s := h.Spec.Volumes[0].Projected.Sources[0]; s.ClusterTrustBundle != nil || s.ConfigMap == nil {
		t.Errorf("the host pod reads the host's trust bundles: %v", s)
	}
}

// TestAttackHostToolAdoptsTenantObject: an object carries the labels and
// annotations by which tools of the host adopt objects. They do not reach the
// host.
func TestAttackHostToolAdoptsTenantObject(t *testing.T) {
	v := pod("demo", "p", map[string]string{"argocd.argoproj.io/instance": "host-app", "kustomize.toolkit.fluxcd.io/name": "x"})
	v.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "host-app:/Pod:team-a/p", "meta.helm.sh/release-name": "x"}
	h := podToHost(t, v, rewrite.Inputs{})
	for k := range h.Labels {
		if strings.Contains(k, "argocd") || strings.Contains(k, "fluxcd") {
			t.Errorf("label %s is on the host", k)
		}
	}
	for k := range h.Annotations {
		if strings.Contains(k, "argocd") || strings.Contains(k, "helm.sh") {
			t.Errorf("annotation %s is on the host", k)
		}
	}
}

// TestAttackAnnotationsForTheNode: a pod carries annotations that change its
// network or runtime on the node. They do not reach the host where the operator
// hides them.
func TestAttackAnnotationsForTheNode(t *testing.T) {
	c := testCluster()
	c.HiddenAnnotations, c.MovedLabels = []string{"corp.example/"}, []string{"corp.example/team"}
	tr := mustNew(t, c)
	v := pod("demo", "p", map[string]string{"corp.example/team": "billing"})
	v.Annotations = map[string]string{
		"k8s.v1.cni.cncf.io/networks": "host-net", "io.kubernetes.cri-o.Devices": "/dev/kvm", "iam.amazonaws.com/role": "admin",
		"corp.example/cost": "0", "mine": "yes",
	}
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
	for k := range h.Annotations {
		if k != "mine" && !rewrite.Reserved(k) {
			t.Errorf("annotation %s is on the host", k)
		}
	}
	if _, there := h.Labels["corp.example/team"]; there {
		t.Error("the label is on the host under its own key")
	}
	if seen := toVirtual(t, tr, h).(*corev1.Pod); !maps.Equal(seen.Annotations, v.Annotations) || !maps.Equal(seen.Labels, v.Labels) {
		t.Errorf("the tenant sees %v and %v", seen.Annotations, seen.Labels)
	}
}

// TestAttackTokenSecretOnTheHost: a tenant's Secret asks the host to fill in a
// ServiceAccount token. On the host it is an opaque Secret.
func TestAttackTokenSecretOnTheHost(t *testing.T) {
	v := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "s", Annotations: map[string]string{corev1.ServiceAccountNameKey: "default"}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}
	h, err := mustNew(t, testCluster()).SecretToHost(v)
	if err != nil {
		t.Fatal(err)
	}
	if h.Type != corev1.SecretTypeOpaque || h.Annotations[corev1.ServiceAccountNameKey] != "" {
		t.Errorf("the host's token controller would fill it: type %s, annotations %v", h.Type, h.Annotations)
	}
}

// The keys of the cluster are in Secrets next to the tenants' copies, and so is
// the administrator's kubeconfig. A tenant who reads them can act as any user of
// the cluster. Names that end in the cluster's are tried with clusters whose own
// name looks like an ending. No Secret of a tenant has such a name on the host,
// and no host pod names one.
func TestAttackNameTheSecretWithTheClustersKeys(t *testing.T) {
	for _, cluster := range []string{"my-vcluster", "pki", "x", "a-x-pki", "x-x", "a-x-b-x-c"} {
		c := testCluster()
		c.Name = cluster
		tr := mustNew(t, c)
		for _, keys := range []string{tr.RootsSecretName(), tr.CredentialsSecretName(), tr.AccessSecretName()} {
			attackSecretName(t, tr, cluster, keys)
		}
	}
}

func attackSecretName(t *testing.T, tr *rewrite.Translator, cluster, keys string) {
	t.Helper()
	names := []string{keys, cluster, "pki", "x-x." + keys, strings.Repeat("n", 52) + "." + keys}
	for i := range keys {
		names = append(names, keys[i:], keys[:i])
	}
	for _, name := range names {
		for _, namespace := range []string{"default", "kube-system", "x", "pki"} {
			if got := tr.Name(namespace, name); got == keys || tr.TokenSecretName(namespace, name) == keys {
				t.Errorf("cluster %q: Secret %s/%s is %q on the host", cluster, namespace, name, got)
			}
		}
	}

	p := pod("demo", "p", nil)
	p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: keys}}
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: keys}}}}
	source := corev1.LocalObjectReference{Name: keys}
	p.Spec.Containers = []corev1.Container{{
		Name: "c", Image: "i",
		EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: source}}},
		Env:     []corev1.EnvVar{{Name: "K", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: source, Key: "ca.key"}}}},
	}}
	raw, err := json.Marshal(toHost(t, tr, p, rewrite.Inputs{}).(*corev1.Pod).Spec)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), `"`+keys+`"`) {
		t.Errorf("cluster %q: the host pod names the keys: %s", cluster, raw)
	}
}

// TestAttackWriteTheClustersOwnService: a tenant writes default/kubernetes,
// which is the cluster's own Service on the host. The write is refused.
func TestAttackWriteTheClustersOwnService(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"}}
	if _, err := tr.ServiceToHost(v, rewrite.Inputs{}); !errors.Is(err, rewrite.ErrOwnService) {
		t.Errorf("create: got %v, want ErrOwnService", err)
	}
	host := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "my-vcluster"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"door": "true"}}}
	v.Spec.Selector = map[string]string{"app": "web"}
	h, err := tr.ServiceToHost(v, rewrite.Inputs{Host: host})
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(host, h); d != "" {
		t.Errorf("the update changes the host's Service:\n%s", d)
	}
}

// TestAttackEndpointsOfTheClustersOwnService would send the door's traffic, and
// every pod's token with it, to a pod of the tenant.
func TestAttackEndpointsOfTheClustersOwnService(t *testing.T) {
	tr := mustNew(t, testCluster())
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "thief", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.66"}}},
	}
	if h, err := tr.EndpointSliceToHost(slice, rewrite.Inputs{}); !errors.Is(err, rewrite.ErrOwnService) {
		t.Errorf("slice: got %v, %v, want ErrOwnService", h, err)
	}
	slice.Labels[discoveryv1.LabelServiceName] = "my-vcluster"
	h, err := tr.EndpointSliceToHost(slice, rewrite.Inputs{})
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Labels[discoveryv1.LabelServiceName]; got == "my-vcluster" {
		t.Errorf("the slice belongs to the host Service %s", got)
	}
}

// The parts that a host pod has for its /etc/hosts have one name. A tenant's
// volume or container with that name would be taken for them: hidden from the
// tenant's own eyes, never updated, or a way to their content.
func TestAttackUseTheNameOfWhatIsAdded(t *testing.T) {
	const name = rewrite.EtcHostsName
	onResource := &corev1.ResourceFieldSelector{ContainerName: name, Resource: "limits.cpu"}
	file := corev1.DownwardAPIVolumeFile{Path: "f", ResourceFieldRef: onResource}
	volume := func(s corev1.VolumeSource) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: s}} }
	}
	variable := func(from *corev1.EnvVarSource) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", ValueFrom: from}} }
	}
	for attack, change := range map[string]func(*corev1.Pod){
		"hide an init container": func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: name}} },
		"hide a container":       func(p *corev1.Pod) { p.Spec.Containers[0].Name = name },
		"hide a debug container": func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name}}}
		},
		"hide a volume": func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: name}} },
		"mount the volume": func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: name, MountPath: "/v"}}
		},
		"mount it as a device": func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeDevices = []corev1.VolumeDevice{{Name: name, DevicePath: "/v"}}
		},
		"mount it when debugging": func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
				Name: "d", VolumeMounts: []corev1.VolumeMount{{Name: name, MountPath: "/v"}},
			}}}
		},
		"debug the container": func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{TargetContainerName: name}}
		},
		"read its resources":    variable(&corev1.EnvVarSource{ResourceFieldRef: onResource}),
		"read a file of it":     variable(&corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{VolumeName: name}}),
		"write its resources":   volume(corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{file}}}),
		"project its resources": volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{file}}}}}}),
		"say how it ended":      func(p *corev1.Pod) { p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: name}} },
		"say what is mounted": func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{VolumeMounts: []corev1.VolumeMountStatus{{Name: name}}}}
		},
		"switch it otherwise": func(p *corev1.Pod) { p.Annotations = map[string]string{rewrite.AnnotationEtcHosts: "/root"} },
	} {
		t.Run(attack, func(t *testing.T) {
			for _, configured := range []bool{true, false} {
				cluster := testCluster()
				if !configured {
					cluster.EtcHostsImage = ""
				}
				tr := mustNew(t, cluster)
				v := fullyNamed(nil)
				h, err := tr.PodToHost(v, rewrite.Inputs{})
				if err != nil {
					t.Fatal(err)
				}
				change(v)
				if _, err := tr.PodToHost(v, rewrite.Inputs{}); !apierrors.IsInvalid(err) {
					t.Errorf("a new pod: got %v, want Invalid", err)
				}
				if _, err := tr.PodToHost(v, rewrite.Inputs{Host: h}); !apierrors.IsInvalid(err) {
					t.Errorf("an existing pod: got %v, want Invalid", err)
				}
			}
		})
	}
}

// The switch is for pods: on other objects it is an annotation like any other, and
// not on the host.
func TestAttackSwitchOnAnotherKind(t *testing.T) {
	v := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: "demo", Name: "c", Annotations: map[string]string{rewrite.AnnotationEtcHosts: "kubelet"},
	}}
	h := toHost(t, mustNew(t, testCluster()), v, rewrite.Inputs{}).(*corev1.PersistentVolumeClaim)
	if value, ok := h.Annotations[rewrite.AnnotationEtcHosts]; ok {
		t.Errorf("the host claim has the switch %q", value)
	}
}

// A tenant who is the administrator of their cluster may write every status.
// The host's API server proxies to the podIP of a status, and so reaches
// addresses that no pod does, and its kube-proxy takes every packet to a load
// balancer's address.
func TestAttackAddressesInAStatus(t *testing.T) {
	tr := mustNew(t, testCluster())
	p := podToHost(t, pod("demo", "p", nil), rewrite.Inputs{})
	p.Status = corev1.PodStatus{
		PodIP: "10.0.0.1", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}, HostIP: "192.0.2.1", HostIPs: []corev1.HostIP{{IP: "192.0.2.1"}}, NominatedNodeName: "node",
	}
	v := toVirtual(t, tr, p).(*corev1.Pod)
	v.Status = corev1.PodStatus{
		PodIP: "192.0.2.66", PodIPs: []corev1.PodIP{{IP: "192.0.2.66"}}, HostIP: "192.0.2.66", HostIPs: []corev1.HostIP{{IP: "192.0.2.66"}}, NominatedNodeName: "all-mine",
		ResourceClaimStatuses:       []corev1.PodResourceClaimStatus{{Name: "gpu", ResourceClaimName: ptr("neighbours")}},
		ExtendedResourceClaimStatus: &corev1.PodExtendedResourceClaimStatus{ResourceClaimName: "neighbours"},
		Conditions:                  []corev1.PodCondition{{Type: "example.com/gate", Status: corev1.ConditionTrue}}, Message: "the tenant's",
	}
	want := p.Status.DeepCopy()
	want.Conditions = v.Status.Conditions
	if d := diff(*want, toHost(t, tr, v, rewrite.Inputs{Host: p}).(*corev1.Pod).Status); d != "" {
		t.Errorf("the host pod's status, -want +got:\n%s", d)
	}
	for name, forge := range map[string]func(*corev1.PodStatus){
		"no address yet": func(s *corev1.PodStatus) { *s = corev1.PodStatus{} },
		"address":        func(s *corev1.PodStatus) { *s = corev1.PodStatus{PodIP: "10.0.0.1"} },
	} {
		h := p.DeepCopy()
		forge(&h.Status)
		if got := toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.Pod).Status.PodIP; got != h.Status.PodIP {
			t.Errorf("%s: the host pod has the address %q", name, got)
		}
	}

	s := toHost(t, tr, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "s"}}, rewrite.Inputs{}).(*corev1.Service)
	vs := toVirtual(t, tr, s).(*corev1.Service)
	vs.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.53"}}
	vs.Status.Conditions = []metav1.Condition{{Type: "example.com/seen", Status: metav1.ConditionTrue}}
	got := toHost(t, tr, vs, rewrite.Inputs{Host: s}).(*corev1.Service).Status
	if len(got.LoadBalancer.Ingress) > 0 || len(got.Conditions) != 1 {
		t.Errorf("the host Service's status is %v, want the condition and no address", got)
	}
}

// Where a cluster is kept to some nodes, the host's selector is on every pod:
// the scheduler heeds it before all that a tenant may write, and the kubelet
// refuses a pod that named the node itself.
func TestAttackLeaveTheNodesOfTheCluster(t *testing.T) {
	cluster := testCluster()
	cluster.NodeSelector = map[string]string{"pool": "blue"}
	tr := mustNew(t, cluster)
	anywhere := []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "pool", Operator: corev1.NodeSelectorOpExists}}}}
	for name, escape := range map[string]func(*corev1.PodSpec){
		"another value":     func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"pool": "red"} },
		"the empty value":   func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"pool": ""} },
		"a node":            func(s *corev1.PodSpec) { s.NodeName = "red-1" },
		"a toleration":      func(s *corev1.PodSpec) { s.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}} },
		"another scheduler": func(s *corev1.PodSpec) { s.SchedulerName = "mine" },
		"an affinity": func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: anywhere}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := pod("demo", "p", nil)
			h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
			escape(&v.Spec)
			for when, in := range map[string]rewrite.Inputs{"create": {}, "update": {Host: h}} {
				if got := toHost(t, tr, v, in).(*corev1.Pod).Spec.NodeSelector; !maps.Equal(got, cluster.NodeSelector) {
					t.Errorf("%s: the host pod may go to %v", when, got)
				}
			}
		})
	}
}
