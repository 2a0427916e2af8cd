// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"portico.dev/portico/rewrite"
)

// levels are three clusters, each of which is the host of the one before it.
func levels(t testing.TB) []*rewrite.Translator {
	t.Helper()
	var out []*rewrite.Translator
	for _, name := range []string{"deep", "middle"} {
		c := testCluster()
		c.Name, c.HostNamespace, c.EtcHostsImage = name, "portico-"+name, ""
		c.Owner = metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: name + ".anchor", UID: "owner-uid"}
		out = append(out, mustNew(t, c))
	}
	return append(out, mustNew(t, testCluster()))
}

// down translates through all levels, and returns the object of each host.
func down(t testing.TB, of []*rewrite.Translator, v runtime.Object, in rewrite.Inputs) []runtime.Object {
	t.Helper()
	var hosts []runtime.Object
	for _, tr := range of {
		v = toHost(t, tr, v, in)
		hosts = append(hosts, v)
	}
	return hosts
}

// TestNestedClustersKeepTheLaws: an object of the innermost of three clusters
// is the same after the way down and up again, and the host's changes show
// there.
func TestNestedClustersKeepTheLaws(t *testing.T) {
	of := levels(t)
	for seed := range uint64(seeds) {
		for _, v := range randomObjects(t, seed) {
			for name, change := range map[string]func(runtime.Object){"nothing": hostChanges["nothing"], "labels and annotations": hostChanges["labels and annotations"]} {
				hosts := down(t, of, v, testInputs())
				got := hosts[len(hosts)-1]
				change(got)
				for i := len(of) - 1; i >= 0; i-- {
					got = toVirtual(t, of[i], got)
				}
				want := v.DeepCopyObject()
				change(want)
				if d := diff(want, got); d != "" {
					t.Fatalf("seed %d, %s: %T is not as expected inside (-want +got):\n%s", seed, name, v, d)
				}
			}
		}
	}
}

// TestNestedUpdatesAreSmall: an update of one label inside is one on the host.
func TestNestedUpdatesAreSmall(t *testing.T) {
	of := levels(t)
	v := pod("demo", "web-0", map[string]string{"app": "web"})
	v.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{TopologyKey: "zone", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}}
	before := down(t, of, v, testInputs())
	v.Labels["app"] = "api"
	var next runtime.Object = v
	for i, tr := range of {
		in := testInputs()
		in.Host = before[i]
		next = toHost(t, tr, next, in)
		if d := diff(before[i].(*corev1.Pod).Spec, next.(*corev1.Pod).Spec); d != "" {
			t.Errorf("level %d: the spec changes:\n%s", i, d)
		}
		if got := next.(*corev1.Pod).Labels["app"]; got != "api" {
			t.Errorf("level %d: the label is %q", i, got)
		}
	}
}

// TestNestedKeysStayInside: the keys by which an inner cluster knows its objects
// are not those by which the host's tools know the outer one's.
func TestNestedKeysStayInside(t *testing.T) {
	of := levels(t)
	all := translated(nil, nil)
	for kind, v := range all {
		hosts := down(t, of, v, testInputs())
		m, err := meta.Accessor(hosts[2])
		if err != nil {
			t.Fatal(err)
		}
		direct, err := meta.Accessor(hosts[1])
		if err != nil {
			t.Fatal(err)
		}
		if m.GetLabels()[rewrite.LabelCluster] != "my-vcluster" || m.GetLabels()[rewrite.LabelNamespace] != "portico-middle" ||
			m.GetAnnotations()[rewrite.AnnotationName] != direct.GetName() || m.GetAnnotations()[rewrite.AnnotationKind] != kind {
			t.Errorf("%s: the host object has the labels %v and is %s", kind, m.GetLabels(), m.GetAnnotations()[rewrite.AnnotationName])
		}
		for k, value := range m.GetAnnotations() {
			if k != rewrite.AnnotationOverlay && value == direct.GetAnnotations()[rewrite.AnnotationOverlay] {
				t.Errorf("%s: the inner overlay is the host's annotation %s", kind, k)
			}
		}
	}
}

// TestNestedSelectorsSelectTheSamePods: the pods that a Service of the innermost
// cluster selects inside are those that its host Service selects, on each level.
func TestNestedSelectorsSelectTheSamePods(t *testing.T) {
	of := levels(t)
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "web"}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "web", "argocd.argoproj.io/instance": "x"},
	}}
	services := down(t, of, service, rewrite.Inputs{})
	mine := map[string]string{"app": "web", "argocd.argoproj.io/instance": "x"}
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"its own":           {pod("demo", "a", mine), true},
		"another label":     {pod("demo", "b", map[string]string{"app": "web", "argocd.argoproj.io/instance": "y"}), false},
		"another namespace": {pod("prod", "c", mine), false},
	} {
		for i, p := range down(t, of, c.pod, rewrite.Inputs{}) {
			s := labels.SelectorFromSet(services[i].(*corev1.Service).Spec.Selector)
			if got := s.Matches(labels.Set(p.(*corev1.Pod).Labels)); got != c.want {
				t.Errorf("level %d, %s: selected %v, want %v", i, name, got, c.want)
			}
		}
	}
}

// TestNestedDownwardAPIReadsTheInnermostPod, for values that an inner cluster has
// in annotations of its own.
func TestNestedDownwardAPIReadsTheInnermostPod(t *testing.T) {
	of := levels(t)
	for path, want := range map[string]string{
		"metadata.name": "web-0", "metadata.namespace": "demo", "metadata.labels": "app=\"web\"", "spec.serviceAccountName": "builder",
		"metadata.labels['app']": "web", "metadata.annotations['note']": "n", "metadata.annotations['argocd.argoproj.io/x']": "y",
		"metadata.annotations['portico.dev/overlay']": "", "metadata.labels['portico.dev/cluster']": "",
	} {
		v := pod("demo", "web-0", map[string]string{"app": "web"})
		v.Annotations = map[string]string{"note": "n", "argocd.argoproj.io/x": "y"}
		v.Spec.ServiceAccountName = "builder"
		v.Spec.Containers = []corev1.Container{{Name: "c", Env: []corev1.EnvVar{{Name: "E", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}}}}
		for i, o := range down(t, of, v, rewrite.Inputs{}) {
			h := o.(*corev1.Pod)
			env := h.Spec.Containers[0].Env
			if got := kubeletReads(t, h, env[len(env)-1].ValueFrom.FieldRef.FieldPath); got != want {
				t.Errorf("level %d: %s reads %q, want %q", i, path, got, want)
			}
		}
	}
}

// TestNestedCopies: a copy of a Secret or of endpoints is found on the host by the
// keys of the outer cluster, and follows a change of the inner one.
func TestNestedCopies(t *testing.T) {
	of := levels(t)
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "s", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}}}
	var v runtime.Object = slice
	for _, tr := range of {
		h, err := tr.ToHost(v, rewrite.Inputs{})
		if err != nil {
			t.Fatal(err)
		}
		v = h
	}
	got := v.(*discoveryv1.EndpointSlice).Labels
	service := of[2].ServiceName("portico-middle", of[1].ServiceName("portico-deep", of[0].ServiceName("demo", "web")))
	if got[discoveryv1.LabelServiceName] != service || got[rewrite.LabelCluster] != "my-vcluster" || got[discoveryv1.LabelManagedBy] != rewrite.ManagedBy {
		t.Errorf("the host slice has the labels %v, want the Service %s", got, service)
	}
	if !strings.HasPrefix(service, "web") {
		t.Errorf("the host Service is %s", service)
	}
}
