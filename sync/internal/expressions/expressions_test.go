// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package expressions_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"portico.dev/portico/sync/internal/expressions"
)

var cluster = expressions.Cluster{
	Name: "vc", HostNamespace: "team-a",
	HostName: func(namespace, name string) string { return name + "-x-" + namespace + "-x-vc" },
}

func object(spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"name": "w", "namespace": "shop"}, "spec": spec,
	}}
}

func TestRewrite(t *testing.T) {
	for name, tc := range map[string]struct {
		expressions []string
		want        map[string]any
	}{
		"an object is merged":    {[]string{`Object{spec: Object.spec{pool: "gold", nested: Object.spec.nested{b: "2"}}}`}, map[string]any{"size": int64(3), "pool": "gold", "list": []any{"x"}, "nested": map[string]any{"a": "1", "b": "2"}}},
		"a list is replaced":     {[]string{`Object{spec: Object.spec{list: ["y"]}}`}, map[string]any{"size": int64(3), "list": []any{"y"}, "nested": map[string]any{"a": "1"}}},
		"a patch":                {[]string{`[JSONPatch{op: "add", path: "/spec/list/-", value: "y"}, JSONPatch{op: "remove", path: "/spec/nested"}]`}, map[string]any{"size": int64(3), "list": []any{"x", "y"}}},
		"a number stays one":     {[]string{`[JSONPatch{op: "replace", path: "/spec/size", value: object.spec.size + 1}]`}, map[string]any{"size": int64(4), "list": []any{"x"}, "nested": map[string]any{"a": "1"}}},
		"a test that fails":      {[]string{`[JSONPatch{op: "test", path: "/spec/size", value: 9}, JSONPatch{op: "remove", path: "/spec/nested"}]`}, map[string]any{"size": int64(3), "list": []any{"x"}, "nested": map[string]any{"a": "1"}}},
		"one after the other":    {[]string{`Object{spec: Object.spec{pool: "gold"}}`, `Object{spec: Object.spec{tier: object.spec.pool + "-1"}}`}, map[string]any{"size": int64(3), "pool": "gold", "tier": "gold-1", "list": []any{"x"}, "nested": map[string]any{"a": "1"}}},
		"the cluster and a name": {[]string{`Object{spec: Object.spec{pool: cluster.name + "/" + cluster.hostNamespace + "/" + hostName(original.metadata.namespace, "n")}}`}, map[string]any{"size": int64(3), "pool": "vc/team-a/n-x-shop-x-vc", "list": []any{"x"}, "nested": map[string]any{"a": "1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := expressions.Compile(tc.expressions, cluster)
			if err != nil {
				t.Fatal(err)
			}
			given := object(map[string]any{"size": int64(3), "list": []any{"x"}, "nested": map[string]any{"a": "1"}})
			before := given.DeepCopy()
			got, err := p.Rewrite(t.Context(), object(nil), given)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(any(tc.want), got.Object["spec"]); d != "" {
				t.Errorf("spec (-want +got):\n%s", d)
			}
			if d := cmp.Diff(before, given); d != "" {
				t.Errorf("the given object was changed:\n%s", d)
			}
		})
	}
}

func TestMistakesHaveTheirPlace(t *testing.T) {
	_, err := expressions.Compile([]string{
		`Object{}`, "Object{\n  spec: Object.spec{pool: nobody}\n}", `"text"`, `hostName("a")`,
	}, cluster)
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 3 {
		t.Fatalf("mistakes %v", err)
	}
	var first *expressions.Error
	if !errors.As(joined.Unwrap()[0], &first) || first.Index != 1 || first.Line != 2 || first.Column != 27 || !strings.Contains(first.Message, "nobody") {
		t.Errorf("the first is %+v", first)
	}
}

// TestAttackExpressionWithoutEnd: a tenant's object makes an operator's expression
// expensive, and it ends.
func TestAttackExpressionWithoutEnd(t *testing.T) {
	p, err := expressions.Compile([]string{
		`object.spec.list.all(a, object.spec.list.all(b, object.spec.list.all(c, a + b + c != "x"))) ? Object{} : Object{}`,
	}, cluster)
	if err != nil {
		t.Fatal(err)
	}
	long := make([]any, 2000)
	for i := range long {
		long[i] = "a"
	}
	if _, err := p.Rewrite(t.Context(), object(nil), object(map[string]any{"list": long})); err == nil || !strings.Contains(err.Error(), "cost") {
		t.Errorf("%v, want an error about cost", err)
	}
}
