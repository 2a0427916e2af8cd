// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"portico.dev/portico/rewrite"
)

// translated are an object of each kind that lives on the host, with the same
// labels and annotations.
func translated(labels, annotations map[string]string) map[string]runtime.Object {
	m := func() metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "demo", Name: "o", Labels: maps.Clone(labels), Annotations: maps.Clone(annotations)}
	}
	return map[string]runtime.Object{
		"Pod":                   &corev1.Pod{ObjectMeta: m()},
		"Service":               &corev1.Service{ObjectMeta: m()},
		"PersistentVolumeClaim": &corev1.PersistentVolumeClaim{ObjectMeta: m()},
		"ResourceClaim":         &resourcev1.ResourceClaim{ObjectMeta: m()},
	}
}

// copied are an object of each kind of which the host has a copy.
func copied(labels, annotations map[string]string) map[string]runtime.Object {
	m := func() metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "demo", Name: "o", Labels: maps.Clone(labels), Annotations: maps.Clone(annotations)}
	}
	return map[string]runtime.Object{
		"Secret":        &corev1.Secret{ObjectMeta: m()},
		"ConfigMap":     &corev1.ConfigMap{ObjectMeta: m()},
		"EndpointSlice": &discoveryv1.EndpointSlice{ObjectMeta: m()},
	}
}

func accessor(t *testing.T, o runtime.Object) metav1.Object {
	t.Helper()
	m, err := meta.Accessor(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// unreserved are the keys that tooling of the host can know.
func unreserved(m map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		if !rewrite.Reserved(k) {
			out[k] = v
		}
	}
	return out
}

// allowing is a cluster whose operator lets the same keys of every kind pass.
func allowing(labels, annotations []string) rewrite.Cluster {
	c := testCluster()
	c.AllowedKeys = map[string]rewrite.Keys{}
	for _, kind := range []string{"Pod", "Service", "PersistentVolumeClaim", "ResourceClaim", "Secret", "ConfigMap", "EndpointSlice"} {
		c.AllowedKeys[kind] = rewrite.Keys{Labels: labels, Annotations: annotations}
	}
	return c
}

// TestEntries: each form of an entry stands for the keys that it should.
func TestEntries(t *testing.T) {
	for entry, keys := range map[string]map[string]bool{
		"example.com/a":    {"example.com/a": true, "example.com/ab": false, "a": false},
		"a":                {"a": true, "example.com/a": false},
		"example.com/":     {"example.com/a": true, "www.example.com/a": false, "example.com": false},
		"*.example.com/":   {"example.com/a": true, "x.www.example.com/a": true, "wwwexample.com/a": false, "example.com.evil/a": false},
		"*.example.com":    {"example.com": true, "www.example.com": true, "wwwexample.com": false, "www.example.com/a": false},
		"example.*":        {"example.com/a": true, "example.a": true, "examples": false},
		"*":                {"example.com/a": true, "a": true, "portico.dev/a": false, "kubernetes.io/config.mirror": false},
		"example.com/team": {"example.com/team": true, "example.com/": false},
	} {
		tr := mustNew(t, allowing(nil, []string{entry}))
		for key, want := range keys {
			v := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "s", Annotations: map[string]string{key: "x"}}}
			h, err := tr.SecretToHost(v)
			if err != nil {
				t.Fatal(err)
			}
			if _, got := h.Annotations[key]; got != want {
				t.Errorf("%q stands for %q: %v, want %v", entry, key, got, want)
			}
		}
	}
}

// TestAllowedKeysPass: keys that the operator allows reach the host, also those
// that tools are known to act on, but not those that the same operator holds
// back.
func TestAllowedKeysPass(t *testing.T) {
	labels := map[string]string{"sidecar.istio.io/inject": "true", "corp.example/team": "blue", "corp.example/held": "x"}
	annotations := map[string]string{"prometheus.io/scrape": "true", "corp.example/note": "x", "corp.example/hidden": "x"}
	c := allowing([]string{"sidecar.istio.io/inject", "corp.example/"}, []string{"*.prometheus.io/", "corp.example/"})
	c.MovedLabels, c.HiddenAnnotations = []string{"corp.example/held"}, []string{"corp.example/hidden"}
	tr := mustNew(t, c)
	all := translated(labels, annotations)
	maps.Copy(all, copied(labels, annotations))
	for kind, v := range all {
		h, err := tr.ToHost(v, rewrite.Inputs{})
		if err != nil {
			t.Fatal(err)
		}
		m := accessor(t, h)
		want := map[string]string{"sidecar.istio.io/inject": "true", "corp.example/team": "blue"}
		if kind == "EndpointSlice" {
			want[discoveryv1.LabelManagedBy] = rewrite.ManagedBy
		}
		if d := diff(want, unreserved(m.GetLabels())); d != "" {
			t.Errorf("%s labels (-want +got):\n%s", kind, d)
		}
		if d := diff(map[string]string{"prometheus.io/scrape": "true", "corp.example/note": "x"}, unreserved(m.GetAnnotations())); d != "" {
			t.Errorf("%s annotations (-want +got):\n%s", kind, d)
		}
	}
}

// TestNodeKeysPassIfTheClusterSaysSo: some operators give their tenants further
// networks.
func TestNodeKeysPassIfTheClusterSaysSo(t *testing.T) {
	c := testCluster()
	c.PassNodeKeys = true
	v := pod("demo", "p", nil)
	v.Annotations = map[string]string{"k8s.v1.cni.cncf.io/networks": "a", "backup.velero.io/backup-volumes": "b"}
	h := toHost(t, mustNew(t, c), v, rewrite.Inputs{}).(*corev1.Pod)
	if d := diff(map[string]string{"k8s.v1.cni.cncf.io/networks": "a"}, unreserved(h.Annotations)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestKeysByWhichKubernetesActsPass: a Service that is for another proxy is for
// another proxy on the host, and so on (rules.PassingKeys).
func TestKeysByWhichKubernetesActsPass(t *testing.T) {
	tr := mustNew(t, testCluster())
	labels := map[string]string{"service.kubernetes.io/service-proxy-name": "other", "service.kubernetes.io/headless": "", "app": "web"}
	annotations := map[string]string{
		"service.kubernetes.io/topology-mode": "Auto", "volume.beta.kubernetes.io/storage-class": "fast",
		"resource.kubernetes.io/pod-claim-name": "gpu", "note": "x",
	}
	all := translated(labels, annotations)
	for kind, want := range map[string]struct{ labels, annotations map[string]string }{
		"Service": {
			map[string]string{"service.kubernetes.io/service-proxy-name": "other", "service.kubernetes.io/headless": ""},
			map[string]string{"service.kubernetes.io/topology-mode": "Auto"},
		},
		"PersistentVolumeClaim": {map[string]string{}, map[string]string{"volume.beta.kubernetes.io/storage-class": "fast"}},
		"ResourceClaim":         {map[string]string{}, map[string]string{"resource.kubernetes.io/pod-claim-name": "gpu"}},
		"Pod":                   {labels, annotations},
	} {
		m := accessor(t, toHost(t, tr, all[kind], rewrite.Inputs{}))
		if d := diff(want.labels, unreserved(m.GetLabels())); d != "" {
			t.Errorf("%s labels (-want +got):\n%s", kind, d)
		}
		if d := diff(want.annotations, unreserved(m.GetAnnotations())); d != "" {
			t.Errorf("%s annotations (-want +got):\n%s", kind, d)
		}
	}
}

// TestMovedLabelsAreSelectedInside: a selector over a label that has another
// key on the host selects it there, and the tenant reads the written selector
// back.
func TestMovedLabelsAreSelectedInside(t *testing.T) {
	tr := mustNew(t, testCluster())
	const key = "kueue.x-k8s.io/queue-name"
	p := toHost(t, tr, pod("demo", "p", map[string]string{key: "mine"}), rewrite.Inputs{}).(*corev1.Pod)
	v := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "s"}, Spec: corev1.ServiceSpec{Selector: map[string]string{key: "mine"}}}
	s := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Service)
	for k, want := range s.Spec.Selector {
		if p.Labels[k] != want {
			t.Errorf("the pod's label %s is %q, selected is %q", k, p.Labels[k], want)
		}
	}
	if _, plain := s.Spec.Selector[key]; plain || len(s.Spec.Selector) != 3 {
		t.Errorf("the Service selects %v", s.Spec.Selector)
	}
	if d := diff(v.Spec.Selector, toVirtual(t, tr, s).(*corev1.Service).Spec.Selector); d != "" {
		t.Errorf("turned back (-want +got):\n%s", d)
	}
}

// TestKeysLeaveTheHostWhenTheyNoLongerPass: an object that was made when more
// keys passed loses the others with its next update, the tenant sees no
// difference, and keys that a tool of the host wrote stay.
func TestKeysLeaveTheHostWhenTheyNoLongerPass(t *testing.T) {
	labels := map[string]string{"sidecar.istio.io/inject": "false", "corp.example/team": "blue"}
	annotations := map[string]string{"external-dns.alpha.kubernetes.io/hostname": "a.example", "corp.example/note": "x"}
	everything := []string{"*"}
	was, now := mustNew(t, allowing(everything, everything)), mustNew(t, testCluster())
	for kind, v := range translated(labels, annotations) {
		t.Run(kind, func(t *testing.T) {
			h := toHost(t, was, v, rewrite.Inputs{})
			m := accessor(t, h)
			if d := diff(labels, unreserved(m.GetLabels())); d != "" {
				t.Fatalf("before (-want +got):\n%s", d)
			}
			m.GetLabels()["host.example/cost"] = "7"
			m.GetAnnotations()["host.example/scanned"] = "yes"
			seen := toVirtual(t, now, h)
			again := toHost(t, now, seen, rewrite.Inputs{Host: h})
			m = accessor(t, again)
			wantLabels, wantAnnotations := map[string]string{"host.example/cost": "7"}, map[string]string{"host.example/scanned": "yes"}
			if kind == "Pod" {
				wantLabels["corp.example/team"], wantAnnotations["corp.example/note"] = "blue", "x"
			}
			if d := diff(wantLabels, unreserved(m.GetLabels())); d != "" {
				t.Errorf("labels on the host (-want +got):\n%s", d)
			}
			if d := diff(wantAnnotations, unreserved(m.GetAnnotations())); d != "" {
				t.Errorf("annotations on the host (-want +got):\n%s", d)
			}
			if d := diff(seen, toVirtual(t, now, again)); d != "" {
				t.Errorf("as the tenant sees it (-want +got):\n%s", d)
			}
		})
	}
}

// TestKeysOfAnOverlayOfOld: an object that was made before owners were recorded
// is brought in step the same way; keys that only the host can have written
// stay.
func TestKeysOfAnOverlayOfOld(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "c"}}
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.PersistentVolumeClaim)
	h.Labels["backup"] = "never"
	h.Annotations["backup.velero.io/x"] = "y"
	h.Annotations["argocd.argoproj.io/tracking-id"] = "the host's"
	h.Annotations["pv.kubernetes.io/bind-completed"] = "yes"
	h.Annotations[rewrite.AnnotationOverlay] = rewrite.PackOverlay(`{"v":1,"annotations":{"argocd.argoproj.io/tracking-id":"the tenant's"}}`)
	seen := toVirtual(t, tr, h)
	again := toHost(t, tr, seen, rewrite.Inputs{Host: h}).(*corev1.PersistentVolumeClaim)
	if d := diff(map[string]string{}, unreserved(again.Labels)); d != "" {
		t.Errorf("labels on the host (-want +got):\n%s", d)
	}
	want := map[string]string{"pv.kubernetes.io/bind-completed": "yes", "argocd.argoproj.io/tracking-id": "the host's"}
	if d := diff(want, unreserved(again.Annotations)); d != "" {
		t.Errorf("annotations on the host (-want +got):\n%s", d)
	}
	if d := diff(seen, toVirtual(t, tr, again)); d != "" {
		t.Errorf("as the tenant sees it (-want +got):\n%s", d)
	}
}

// TestHostKeepsWhatItWrote: the tenant can neither change nor remove a key that
// was written on the host, but can have a value of their own for it.
func TestHostKeepsWhatItWrote(t *testing.T) {
	tr := mustNew(t, testCluster())
	for kind, v := range translated(map[string]string{"app": "web"}, map[string]string{"note": "mine"}) {
		t.Run(kind, func(t *testing.T) {
			h := toHost(t, tr, v, rewrite.Inputs{})
			m := accessor(t, h)
			m.GetLabels()["app"], m.GetLabels()["cost"] = "quarantine", "7"
			m.GetAnnotations()["note"], m.GetAnnotations()["scanned"] = "theirs", "yes"
			onHost := []map[string]string{unreserved(m.GetLabels()), unreserved(m.GetAnnotations())}
			check := func(when string, labels, annotations map[string]string) {
				t.Helper()
				seen := toVirtual(t, tr, h)
				accessor(t, seen).SetLabels(labels)
				accessor(t, seen).SetAnnotations(annotations)
				h = toHost(t, tr, seen, rewrite.Inputs{Host: h})
				m := accessor(t, h)
				if d := diff(onHost, []map[string]string{unreserved(m.GetLabels()), unreserved(m.GetAnnotations())}); d != "" {
					t.Errorf("%s, on the host (-want +got):\n%s", when, d)
				}
			}
			check("the tenant removes all", nil, nil)
			got := accessor(t, toVirtual(t, tr, h))
			if d := diff(onHost, []map[string]string{got.GetLabels(), got.GetAnnotations()}); d != "" {
				t.Errorf("the tenant sees (-want +got):\n%s", d)
			}
			labels, annotations := map[string]string{"app": "web", "cost": "0"}, map[string]string{"note": "mine", "scanned": "no"}
			check("the tenant writes all", labels, annotations)
			got = accessor(t, toVirtual(t, tr, h))
			if d := diff([]map[string]string{labels, annotations}, []map[string]string{got.GetLabels(), got.GetAnnotations()}); d != "" {
				t.Errorf("the tenant sees (-want +got):\n%s", d)
			}
		})
	}
}

// TestTwoControllersInsist: one on the host and one inside insist on the same
// key. After one write of the host's and two of the tenant's, the first of
// which the host wrote over, both have their value.
func TestTwoControllersInsist(t *testing.T) {
	tr := mustNew(t, testCluster())
	const key = "note"
	for host, insist := range map[string]struct {
		set  func(m metav1.Object) bool
		want bool // whether the host's object has the key in the end
	}{
		"another value": {func(m metav1.Object) bool {
			changed := m.GetAnnotations()[key] != "theirs"
			m.GetAnnotations()[key] = "theirs"
			return changed
		}, true},
		"no value": {func(m metav1.Object) bool {
			_, changed := m.GetAnnotations()[key]
			delete(m.GetAnnotations(), key)
			return changed
		}, false},
	} {
		for kind, v := range translated(nil, nil) {
			t.Run(kind+"/"+host, func(t *testing.T) {
				h := toHost(t, tr, v, rewrite.Inputs{})
				writes := map[string]int{}
				for range 10 {
					if seen := toVirtual(t, tr, h); accessor(t, seen).GetAnnotations()[key] != "mine" {
						accessor(t, seen).SetAnnotations(with(accessor(t, seen).GetAnnotations(), key, "mine"))
						h = toHost(t, tr, seen, rewrite.Inputs{Host: h})
						writes["tenant"]++
					}
					if insist.set(accessor(t, h)) {
						writes["host"]++
					}
					// Others write as well.
					seen := toVirtual(t, tr, h)
					accessor(t, seen).SetFinalizers([]string{"tenant.example/x"})
					h = toHost(t, tr, seen, rewrite.Inputs{Host: h})
				}
				if writes["host"] > 1 || writes["tenant"] > 2 {
					t.Errorf("writes: %v", writes)
				}
				if got := accessor(t, toVirtual(t, tr, h)).GetAnnotations()[key]; got != "mine" {
					t.Errorf("the tenant sees %q", got)
				}
				if got, ok := accessor(t, h).GetAnnotations()[key]; ok != insist.want || ok && got != "theirs" {
					t.Errorf("the host has %q, %v", got, ok)
				}
			})
		}
	}
}

// TestCopiesAreBroughtInStep: a copy loses the tenant's keys that no longer
// pass, keeps the keys that were written on the host, and needs no further
// change.
func TestCopiesAreBroughtInStep(t *testing.T) {
	was := mustNew(t, allowing([]string{"*"}, []string{"*"}))
	now := mustNew(t, allowing(nil, []string{"kept", "taken", "removed"}))
	annotations := map[string]string{"replicator.v1.mittwald.de/replicate-to": "*", "kept": "1", "taken": "mine", "removed": "x"}
	for kind, v := range copied(map[string]string{"openpolicyagent.org/policy": "rego"}, annotations) {
		t.Run(kind, func(t *testing.T) {
			old, err := was.ToHost(v, rewrite.Inputs{})
			if err != nil {
				t.Fatal(err)
			}
			host := accessor(t, old)
			host.GetAnnotations()["taken"], host.GetAnnotations()["theirs"] = "theirs", "1"
			delete(host.GetAnnotations(), "removed")
			m := accessor(t, v)
			m.GetAnnotations()["kept"] = "2"
			h, err := now.ToHost(v, rewrite.Inputs{})
			if err != nil {
				t.Fatal(err)
			}
			want := accessor(t, h)
			labels, annotations := rewrite.CopyChanges(want, host)
			if d := diff(map[string]any{"openpolicyagent.org/policy": nil}, labels); d != "" {
				t.Errorf("labels (-want +got):\n%s", d)
			}
			if d := diff(map[string]any{
				"replicator.v1.mittwald.de/replicate-to": nil, "kept": "2", rewrite.AnnotationOverlay: want.GetAnnotations()[rewrite.AnnotationOverlay],
			}, annotations); d != "" {
				t.Errorf("annotations (-want +got):\n%s", d)
			}
			for k, v := range annotations {
				if v == nil {
					delete(host.GetAnnotations(), k)
				} else {
					host.GetAnnotations()[k] = v.(string)
				}
			}
			delete(host.GetLabels(), "openpolicyagent.org/policy")
			if labels, annotations := rewrite.CopyChanges(want, host); len(labels)+len(annotations) > 0 {
				t.Errorf("once more: %v, %v", labels, annotations)
			}
		})
	}
}

// TestCopyOfOldIsBroughtInStep: a copy from before owners were recorded loses
// every key that is not wanted.
func TestCopyOfOldIsBroughtInStep(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "s", Labels: map[string]string{"app": "x"}}}
	want, err := tr.SecretToHost(v)
	if err != nil {
		t.Fatal(err)
	}
	host := want.DeepCopy()
	host.Labels["app"] = "x"
	host.Annotations["portico.dev/observed-digest"] = "z"
	delete(host.Annotations, rewrite.AnnotationOverlay)
	labels, annotations := rewrite.CopyChanges(want, host)
	if d := diff(map[string]any{"app": nil}, labels); d != "" {
		t.Errorf("labels (-want +got):\n%s", d)
	}
	if d := diff(map[string]any{rewrite.AnnotationOverlay: want.Annotations[rewrite.AnnotationOverlay]}, annotations); d != "" {
		t.Errorf("annotations (-want +got):\n%s", d)
	}
}
