// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/test/embedded"
)

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// defineOnHost makes a definition of a kind with a status on the shared host, in a
// group of the test's own.
func defineOnHost(t *testing.T, host dynamic.Interface, group, kind, scope string) schema.GroupVersionResource {
	t.Helper()
	plural := strings.ToLower(kind) + "s"
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": plural + "." + group},
		"spec": map[string]any{
			"group": group, "scope": scope, "names": map[string]any{"plural": plural, "singular": strings.ToLower(kind), "kind": kind, "listKind": kind + "List"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{
					"spec":   map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
					"status": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
				}}},
			}},
		},
	}}
	if _, err := host.Resource(definitions).Create(t.Context(), crd, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Resource(definitions).Delete(context.Background(), crd.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return schema.GroupVersionResource{Group: group, Version: "v1", Resource: plural}
}

func dynamicOf(t *testing.T, c *embedded.Cluster) (virtual, host dynamic.Interface) {
	t.Helper()
	virtual, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	return virtual, hostDynamic(t)
}

func hostDynamic(t *testing.T) dynamic.Interface {
	t.Helper()
	host, err := dynamic.NewForConfig(embedded.SharedHost(t).Config)
	if err != nil {
		t.Fatal(err)
	}
	return host
}

func custom(r schema.GroupVersionResource, kind, name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": r.GroupVersion().String(), "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec,
	}}
}

// created makes an object as soon as its kind is served.
func created(t *testing.T, of dynamic.ResourceInterface, obj *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	var made *unstructured.Unstructured
	embedded.Eventually(t, "object of kind "+obj.GetKind(), func(ctx context.Context) (bool, string) {
		var err error
		made, err = of.Create(ctx, obj, metav1.CreateOptions{})
		return err == nil, fmt.Sprint(err)
	})
	return made
}

const widgetsToHost = `sync:
  custom:
  - group: widgets.test
    kind: Widget
    direction: toHost
    status: back
    references:
    - {path: spec.secretName, kind: Secret, returned: true}
    - {path: spec.inputRef.name, kind: Secret, namespaceField: namespace}
    - {path: spec.selector, type: selector}
`

// TestCustomKindReachesTheHost with the Secrets that it names, and brings back its
// status and the Secret that the host makes.
func TestCustomKindReachesTheHost(t *testing.T) {
	host := hostDynamic(t)
	r := defineOnHost(t, host, "widgets.test", "Widget", "Namespaced")
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), widgetsToHost)
	virtual, _ := dynamicOf(t, c)
	ctx := t.Context()
	c.CreateNamespace("shop")
	if _, err := c.Virtual.CoreV1().Secrets("shop").Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "in"}, Data: map[string][]byte{"a": []byte("1")},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	inside, outside := virtual.Resource(r).Namespace("shop"), host.Resource(r).Namespace(c.Namespace)
	made := created(t, inside, custom(r, "Widget", "w", map[string]any{
		"secretName": "out", "inputRef": map[string]any{"name": "in", "namespace": "shop"}, "size": int64(1),
		"selector": map[string]any{"matchLabels": map[string]any{"app": "web"}},
	}))
	var copied *unstructured.Unstructured
	embedded.Eventually(t, "copy on the host", func(ctx context.Context) (bool, string) {
		var err error
		copied, err = outside.Get(ctx, c.HostName("shop", "w"), metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	input, _, _ := unstructured.NestedString(copied.Object, "spec", "inputRef", "name")
	embedded.Eventually(t, "Secret that it names", func(ctx context.Context) (bool, string) {
		_, err := c.Host.CoreV1().Secrets(c.Namespace).Get(ctx, input, metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	output, _, _ := unstructured.NestedString(copied.Object, "spec", "secretName")
	if _, err := c.Host.CoreV1().Secrets(c.Namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: output}, Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": []byte("c"), "tls.key": []byte("k")},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	copied.Object["status"] = map[string]any{"observedGeneration": copied.GetGeneration(), "message": "made " + output + " for " + copied.GetName()}
	if _, err := outside.UpdateStatus(ctx, copied, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "status inside", func(ctx context.Context) (bool, string) {
		v, err := inside.Get(ctx, "w", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		message, _, _ := unstructured.NestedString(v.Object, "status", "message")
		observed, _, _ := unstructured.NestedInt64(v.Object, "status", "observedGeneration")
		return message == "made out for w" && observed == made.GetGeneration(), fmt.Sprint(v.Object["status"])
	})
	embedded.Eventually(t, "Secret inside", func(ctx context.Context) (bool, string) {
		s, err := c.Virtual.CoreV1().Secrets("shop").Get(ctx, "out", metav1.GetOptions{})
		return err == nil && string(s.Data["tls.key"]) == "k" && s.Type == corev1.SecretTypeTLS, fmt.Sprint(err)
	})

	// It is renewed.
	if _, err := c.Host.CoreV1().Secrets(c.Namespace).Patch(ctx, output, types.MergePatchType, []byte(`{"stringData":{"tls.key":"k2"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "renewed Secret inside", func(ctx context.Context) (bool, string) {
		s, err := c.Virtual.CoreV1().Secrets("shop").Get(ctx, "out", metav1.GetOptions{})
		return err == nil && string(s.Data["tls.key"]) == "k2", fmt.Sprint(err)
	})

	if err := inside.Delete(ctx, "w", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "copy and Secrets gone from the host", func(ctx context.Context) (bool, string) {
		_, err := outside.Get(ctx, copied.GetName(), metav1.GetOptions{})
		_, err2 := c.Host.CoreV1().Secrets(c.Namespace).Get(ctx, output, metav1.GetOptions{})
		_, err3 := c.Host.CoreV1().Secrets(c.Namespace).Get(ctx, input, metav1.GetOptions{})
		return apierrors.IsNotFound(err) && apierrors.IsNotFound(err2) && apierrors.IsNotFound(err3), fmt.Sprint(err, err2, err3)
	})
}

// TestCustomKindThatControllersInsistOn: one on each side writes a field of its
// own, and nothing is written for ever.
func TestCustomKindThatControllersInsistOn(t *testing.T) {
	host := hostDynamic(t)
	r := defineOnHost(t, host, "insisting.test", "Widget", "Namespaced")
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), strings.ReplaceAll(widgetsToHost, "widgets.test", "insisting.test"))
	virtual, _ := dynamicOf(t, c)
	ctx := t.Context()
	c.CreateNamespace("shop")
	inside, outside := virtual.Resource(r).Namespace("shop"), host.Resource(r).Namespace(c.Namespace)
	created(t, inside, custom(r, "Widget", "w", map[string]any{"size": int64(1), "color": "red"}))
	name := c.HostName("shop", "w")
	patch := func(ctx context.Context, of dynamic.ResourceInterface, name, body string, sub ...string) error {
		_, err := of.Patch(ctx, name, types.MergePatchType, []byte(body), metav1.PatchOptions{}, sub...)
		return err
	}
	// Each of them insists whenever the object is not as it wants it.
	insist := func(of dynamic.ResourceInterface, name, spec, phase string, writes *int) (bool, string) {
		got, err := of.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		size, _, _ := unstructured.NestedInt64(got.Object, "spec", "size")
		now, _, _ := unstructured.NestedString(got.Object, "status", "phase")
		if fmt.Sprint(size) != spec {
			*writes++
			if err := patch(ctx, of, name, `{"spec":{"size":`+spec+`}}`); err != nil {
				return false, err.Error()
			}
		}
		if now != phase {
			*writes++
			if err := patch(ctx, of, name, `{"status":{"phase":"`+phase+`"}}`, "status"); err != nil {
				return false, err.Error()
			}
		}
		return fmt.Sprint(size) == spec && now == phase, got.GetResourceVersion()
	}
	var writes [2]int
	calm := 0
	embedded.Eventually(t, "both have had their way", func(context.Context) (bool, string) {
		a, whyA := insist(inside, "w", "1", "inner", &writes[0])
		b, whyB := insist(outside, name, "2", "outer", &writes[1])
		if calm++; !a || !b {
			calm = 0
		}
		return calm > 20, fmt.Sprint(writes, whyA, whyB)
	})
	if writes[0] > 6 || writes[1] > 6 {
		t.Errorf("they wrote %v times", writes)
	}
	// A field that the tenant changes reaches the host, and the other stays.
	if err := patch(ctx, inside, "w", `{"spec":{"color":"blue"}}`); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "changed field on the host", func(ctx context.Context) (bool, string) {
		got, err := outside.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		color, _, _ := unstructured.NestedString(got.Object, "spec", "color")
		size, _, _ := unstructured.NestedInt64(got.Object, "spec", "size")
		return color == "blue" && size == 2, fmt.Sprint(got.Object["spec"])
	})
}

// TestAttackCustomObjectNamesOthers: it stays inside, and an Event says why.
func TestAttackCustomObjectNamesOthers(t *testing.T) {
	host := hostDynamic(t)
	r := defineOnHost(t, host, "hostile.test", "Widget", "Namespaced")
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), strings.ReplaceAll(widgetsToHost, "widgets.test", "hostile.test"))
	virtual, _ := dynamicOf(t, c)
	c.CreateNamespace("shop")
	inside := virtual.Resource(r).Namespace("shop")
	created(t, inside, custom(r, "Widget", "bad", map[string]any{"inputRef": map[string]any{"name": "in", "namespace": "kube-system"}}))
	created(t, inside, custom(r, "Widget", "worse", map[string]any{"caSecretName": c.Name + ".pki"}))
	for _, name := range []string{"bad", "worse"} {
		embedded.Eventually(t, "Event about "+name, func(ctx context.Context) (bool, string) {
			events, err := c.Virtual.CoreV1().Events("shop").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
			return err == nil && len(events.Items) > 0 && events.Items[0].Reason == "NotOnHost", fmt.Sprint(err)
		})
	}
	all, err := host.Resource(r).Namespace(c.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: rewrite.LabelCluster})
	if err != nil || len(all.Items) != 0 {
		t.Errorf("the host has %v, %v", all.Items, err)
	}
}

// TestCustomKindOfTheHostIsShown, rewritten and with its status, stays as the host
// has it, and goes with the host's.
func TestCustomKindOfTheHostIsShown(t *testing.T) {
	host := hostDynamic(t)
	plans := defineOnHost(t, host, "catalogue.test", "Plan", "Cluster")
	offers := defineOnHost(t, host, "catalogue.test", "Offer", "Namespaced")
	ctx := t.Context()
	ns, err := embedded.SharedHost(t).Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "offers-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := embedded.SharedHost(t).Client.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), `sync:
  custom:
  - {group: catalogue.test, kind: Plan, direction: fromHost, scope: Cluster, selector: {matchLabels: {tenants: "yes"}}, rewrite: ["[JSONPatch{op: 'remove', path: '/spec/cost'}]"]}
  - {group: catalogue.test, kind: Offer, direction: fromHost, namespaceMapping: {`+ns.Name+`: offers}}
`)
	virtual, _ := dynamicOf(t, c)
	inside, outside := virtual.Resource(plans), host.Resource(plans)
	plan := func(name, tenants string) *unstructured.Unstructured {
		p := custom(plans, "Plan", name, map[string]any{"size": int64(1), "cost": "secret"})
		p.SetLabels(map[string]string{"tenants": tenants})
		return p
	}
	made := created(t, outside, plan("gold", "yes"))
	created(t, outside, plan("platinum", "no"))
	created(t, host.Resource(offers).Namespace(ns.Name), custom(offers, "Offer", "o", map[string]any{"x": "y"}))
	created(t, host.Resource(offers).Namespace(c.Namespace), custom(offers, "Offer", "not-mapped", map[string]any{"x": "y"}))
	made.Object["status"] = map[string]any{"left": "3"}
	if _, err := outside.UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	asTheHost := func(ctx context.Context) (bool, string) {
		got, err := inside.Get(ctx, "gold", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		size, _, _ := unstructured.NestedInt64(got.Object, "spec", "size")
		_, cost, _ := unstructured.NestedString(got.Object, "spec", "cost")
		left, _, _ := unstructured.NestedString(got.Object, "status", "left")
		return size == 1 && !cost && left == "3", fmt.Sprint(got.Object)
	}
	embedded.Eventually(t, "plan inside", asTheHost)
	embedded.Eventually(t, "offer inside", func(ctx context.Context) (bool, string) {
		all, err := virtual.Resource(offers).List(ctx, metav1.ListOptions{})
		return err == nil && len(all.Items) == 1 && all.Items[0].GetNamespace() == "offers" && all.Items[0].GetName() == "o", fmt.Sprint(all, err)
	})
	if _, err := inside.Patch(ctx, "gold", types.MergePatchType, []byte(`{"spec":{"size":9}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "tenant's change undone", asTheHost)
	if all, err := inside.List(ctx, metav1.ListOptions{}); err != nil || len(all.Items) != 1 {
		t.Errorf("plans inside: %v, %v", all, err)
	}
	if err := outside.Delete(ctx, "gold", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "plan gone inside", func(ctx context.Context) (bool, string) {
		_, err := inside.Get(ctx, "gold", metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
}

// TestCustomKindIsRewritten: the operator's expression changes the copy, and not
// the labels that keep clusters apart.
func TestCustomKindIsRewritten(t *testing.T) {
	host := hostDynamic(t)
	r := defineOnHost(t, host, "rewritten.test", "Widget", "Namespaced")
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), strings.ReplaceAll(widgetsToHost, "widgets.test", "rewritten.test")+`    rewrite:
    - |
      Object{metadata: Object.metadata{labels: {"portico.dev/cluster": "other", "tenant": cluster.name}}, spec: Object.spec{pool: "gold"}}
`)
	virtual, _ := dynamicOf(t, c)
	c.CreateNamespace("shop")
	created(t, virtual.Resource(r).Namespace("shop"), custom(r, "Widget", "w", map[string]any{"size": int64(1)}))
	embedded.Eventually(t, "rewritten copy", func(ctx context.Context) (bool, string) {
		got, err := host.Resource(r).Namespace(c.Namespace).Get(ctx, c.HostName("shop", "w"), metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		pool, _, _ := unstructured.NestedString(got.Object, "spec", "pool")
		return pool == "gold" && got.GetLabels()["tenant"] == c.Name && got.GetLabels()[rewrite.LabelCluster] == c.Name, fmt.Sprint(got.Object)
	})
}
