// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"portico.dev/portico/rewrite"
)

func customPath(t *testing.T, text string) rewrite.CustomPath {
	t.Helper()
	path, err := rewrite.ParseCustomPath(text)
	if err != nil || path.String() != text {
		t.Fatalf("path %q: %v, %v", text, path, err)
	}
	return path
}

func customKind(t *testing.T) *rewrite.CustomKind {
	at := func(text string) rewrite.CustomPath { return customPath(t, text) }
	return &rewrite.CustomKind{
		Kind: "Widget", Group: "example.com", Labels: []string{"release"}, Verbatim: []rewrite.CustomPath{at("spec.poolRef")},
		References: []rewrite.CustomReference{
			{Path: at("spec.secretName"), Type: rewrite.CustomName, Kind: "Secret", Returned: true},
			{Path: at("spec.inputs[].secretRef.name"), Type: rewrite.CustomName, Kind: "Secret", NamespaceField: "namespace"},
			{Path: at("spec.issuerRef.name"), Type: rewrite.CustomName, Kind: "Issuer", KindField: "kind", OtherKinds: []string{"ClusterIssuer"}},
			{Path: at("spec.extraSecrets[]"), Type: rewrite.CustomName, Kind: "Secret"},
			{Path: at("spec.selector"), Type: rewrite.CustomSelector},
			{Path: at("spec.namespaceSelector.matchNames[]"), Type: rewrite.CustomNamespace},
			{Path: at("spec.namespaceSelector.any"), Type: rewrite.CustomDrop},
		},
	}
}

func widget(spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Widget",
		"metadata": map[string]any{
			"name": "w", "namespace": "shop", "generation": int64(3), "finalizers": []any{"example.com/f"},
			"labels": map[string]any{"release": "x", "other": "y"}, "annotations": map[string]any{"note": "z"},
		},
		"spec": spec, "status": map[string]any{"phase": "tenant's"},
	}}
}

func customTranslator(t *testing.T) *rewrite.Translator {
	t.Helper()
	tr, err := rewrite.New(rewrite.Cluster{Name: "vc", HostNamespace: "team-a"})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func customToHost(t *testing.T, tr *rewrite.Translator, k *rewrite.CustomKind, spec map[string]any, change ...func(*unstructured.Unstructured)) (*unstructured.Unstructured, error) {
	t.Helper()
	copied, err := tr.BeginCustom(k, widget(spec))
	if err != nil {
		return nil, err
	}
	for _, f := range change {
		f(copied.Object)
	}
	return copied.Seal()
}

func TestCustomToHost(t *testing.T) {
	tr, k := customTranslator(t), customKind(t)
	h, err := customToHost(t, tr, k, map[string]any{
		"secretName": "cert", "issuerRef": map[string]any{"name": "ca", "kind": "Issuer"}, "poolRef": "gold", "size": int64(3),
		"inputs":            []any{map[string]any{"secretRef": map[string]any{"name": "in", "namespace": "shop", "key": "k"}}},
		"selector":          map[string]any{"matchLabels": map[string]any{"app": "web"}},
		"namespaceSelector": map[string]any{"any": true, "matchNames": []any{"shop"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"secretName": tr.ReturnedName("shop", "cert"), "issuerRef": map[string]any{"name": tr.Name("shop", "ca"), "kind": "Issuer"}, "poolRef": "gold", "size": int64(3),
		"inputs": []any{map[string]any{"secretRef": map[string]any{"name": tr.Name("shop", "in"), "namespace": "team-a", "key": "k"}}},
		"selector": map[string]any{"matchLabels": map[string]any{"app": "web"}, "matchExpressions": []any{
			map[string]any{"key": rewrite.LabelNamespace, "operator": "In", "values": []any{"shop"}},
			map[string]any{"key": rewrite.LabelCluster, "operator": "In", "values": []any{"vc"}},
		}},
		"namespaceSelector": map[string]any{"matchNames": []any{"team-a"}},
	}
	if d := cmp.Diff(want, h.Object["spec"]); d != "" {
		t.Errorf("spec (-want +got):\n%s", d)
	}
	if h.Object["status"] != nil || len(h.GetFinalizers()) != 0 || h.GetNamespace() != "team-a" || h.GetName() != tr.Name("shop", "w") {
		t.Errorf("host object %v", h.Object)
	}
	wantLabels := map[string]string{"release": "x", rewrite.LabelCluster: "vc", rewrite.LabelNamespace: "shop"}
	if !maps.Equal(h.GetLabels(), wantLabels) || h.GetAnnotations()["note"] != "" {
		t.Errorf("labels %v, annotations %v", h.GetLabels(), h.GetAnnotations())
	}
	if namespace, name, err := tr.Identify(k.Noun(), h); err != nil || namespace != "shop" || name != "w" {
		t.Errorf("the copy is %s/%s, %v", namespace, name, err)
	}
	v := widget(map[string]any{"secretName": "cert", "inputs": []any{map[string]any{"secretRef": map[string]any{"name": "in"}}}})
	if refs := rewrite.CustomReferences(k, v); len(refs) != 1 || refs[0].Name != "in" {
		t.Errorf("references %v", refs)
	}
	if names := rewrite.CustomReturned(k, v); !slices.Equal(names, []string{"cert"}) {
		t.Errorf("returned %v", names)
	}
}

// TestAttackCustomObjectReachesOthers: fields that lead to another namespace, or
// that nobody has declared, keep the object off the host.
func TestAttackCustomObjectReachesOthers(t *testing.T) {
	tr, k := customTranslator(t), customKind(t)
	for name, spec := range map[string]map[string]any{
		"a namespace of others":         {"inputs": []any{map[string]any{"secretRef": map[string]any{"name": "in", "namespace": "kube-system"}}}},
		"another namespace of its own":  {"inputs": []any{map[string]any{"secretRef": map[string]any{"name": "in", "namespace": "billing"}}}},
		"the host namespace":            {"namespaceSelector": map[string]any{"matchNames": []any{"team-a"}}},
		"a kind that is not declared":   {"issuerRef": map[string]any{"name": "ca", "kind": "AWSIssuer"}},
		"an undeclared name":            {"tls": map[string]any{"caSecret": "vc.pki"}},
		"an undeclared namespace":       {"target": map[string]any{"namespace": "team-b"}},
		"undeclared, in a list":         {"others": []any{map[string]any{"selector": map[string]any{"app": "x"}}}},
		"undeclared, next to declared":  {"inputs": []any{map[string]any{"secretRef": map[string]any{"name": "in", "secretNamespace": "team-b"}}}},
		"a switch":                      {"allNamespaces": true},
		"a selector that is none":       {"selector": map[string]any{"matchEverything": true}},
		"a name that is no text":        {"secretName": map[string]any{"x": "y"}},
		"a selector that is not proper": {"selector": "a in (b"},
		"a text for an object":          {"issuerRef": "ca"},
		"texts for objects in a list":   {"inputs": []any{map[string]any{"secretRef": []any{"vc.pki"}}}},
		"an object for a name":          {"extraSecrets": []any{map[string]any{"name": "vc.pki"}}},
		"a list for a name":             {"extraSecrets": []any{[]any{"vc.pki"}}},
		"a text for a list":             {"extraSecrets": "vc.pki"},
		"an object for a namespace":     {"namespaceSelector": map[string]any{"matchNames": []any{map[string]any{"name": "team-b"}}}},
	} {
		if h, err := customToHost(t, tr, k, spec); err == nil {
			t.Errorf("%s: the host has %v", name, h.Object["spec"])
		}
	}
}

// TestAttackCustomSelectorAsText: it is narrowed like any other, and not copied.
func TestAttackCustomSelectorAsText(t *testing.T) {
	tr, k := customTranslator(t), customKind(t)
	for _, text := range []string{"app=web", "app", "!app", ""} {
		h, err := customToHost(t, tr, k, map[string]any{"selector": text})
		if err != nil {
			t.Fatal(err)
		}
		got, _, _ := unstructured.NestedString(h.Object, "spec", "selector")
		if !strings.Contains(got, rewrite.LabelCluster+" in (vc)") || !strings.Contains(got, rewrite.LabelNamespace+" in (shop)") {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// TestAttackRewriteRemovesIsolation: a rewrite of the operator's, led by a tenant's
// values, cannot take away what keeps objects apart.
func TestAttackRewriteRemovesIsolation(t *testing.T) {
	tr, k := customTranslator(t), customKind(t)
	h, err := customToHost(t, tr, k, map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"app": "web"}}}, func(u *unstructured.Unstructured) {
		u.Object = map[string]any{
			"apiVersion": "v1", "kind": "Secret",
			"metadata": map[string]any{
				"name": "other", "namespace": "kube-system", "labels": map[string]any{rewrite.LabelCluster: "neighbour", "team": "a"},
				"annotations": map[string]any{rewrite.AnnotationName: "other"}, "finalizers": []any{"a/b"},
				"ownerReferences": []any{map[string]any{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "y"}},
			},
			"spec": map[string]any{"selector": map[string]any{}},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if h.GetKind() != "Widget" || h.GetNamespace() != "team-a" || h.GetName() != tr.Name("shop", "w") || len(h.GetFinalizers())+len(h.GetOwnerReferences()) != 0 {
		t.Errorf("the copy is %v", h.Object)
	}
	if h.GetLabels()[rewrite.LabelCluster] != "vc" || h.GetLabels()["team"] != "a" || h.GetAnnotations()[rewrite.AnnotationName] != "w" {
		t.Errorf("labels %v, annotations %v", h.GetLabels(), h.GetAnnotations())
	}
	if requirements, _, _ := unstructured.NestedSlice(h.Object, "spec", "selector", "matchExpressions"); len(requirements) != 2 {
		t.Errorf("selector %v", h.Object["spec"])
	}
	if _, err := customToHost(t, tr, k, map[string]any{"inputs": []any{map[string]any{"secretRef": map[string]any{"name": "in"}}}}, func(u *unstructured.Unstructured) {
		_ = unstructured.SetNestedSlice(u.Object, []any{map[string]any{"secretRef": map[string]any{"name": "in", "namespace": "kube-system"}}}, "spec", "inputs")
	}); err == nil {
		t.Error("a rewrite leads to another namespace")
	}
}

func TestCustomStatus(t *testing.T) {
	tr, k := customTranslator(t), customKind(t)
	h, err := customToHost(t, tr, k, map[string]any{"secretName": "cert", "issuerRef": map[string]any{"name": "ca"}})
	if err != nil {
		t.Fatal(err)
	}
	h.SetGeneration(7)
	h.Object["status"] = map[string]any{
		"observedGeneration": int64(7), "namespace": "team-a",
		"conditions": []any{map[string]any{
			"message":            "Secret " + tr.ReturnedName("shop", "cert") + " of " + tr.Name("shop", "w") + " by " + tr.Name("shop", "ca"),
			"observedGeneration": int64(6),
		}},
	}
	got, err := tr.CustomStatus(k, h, widget(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"observedGeneration": int64(3), "namespace": "shop",
		"conditions": []any{map[string]any{"message": "Secret cert of w by ca", "observedGeneration": int64(2)}},
	}
	if d := cmp.Diff(any(want), got); d != "" {
		t.Errorf("status (-want +got):\n%s", d)
	}
}

func TestParseCustomPathRefuses(t *testing.T) {
	for _, text := range []string{"", "metadata.labels", "status", "[]", "spec..a", `spec["a`, "spec.a[][]", "kind"} {
		if path, err := rewrite.ParseCustomPath(text); err == nil {
			t.Errorf("%q is %v", text, path)
		}
	}
	customPath(t, `spec["a.b/c"].d[].e`)
}
