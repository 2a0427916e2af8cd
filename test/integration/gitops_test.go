// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/engine"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/charts"
	"portico.dev/portico/sync/pause"
	"portico.dev/portico/test/embedded"
)

// applier applies renderings of the chart to the embedded host.
type applier struct {
	t         *testing.T
	namespace string
	client    dynamic.Interface
	mapper    meta.RESTMapper
}

func newApplier(t *testing.T) *applier {
	t.Helper()
	h := embedded.SharedHost(t)
	ns, err := h.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "gitops-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(h.Config)
	if err != nil {
		t.Fatal(err)
	}
	return &applier{t, ns.Name, client, restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(h.Client.Discovery()))}
}

// render returns the objects of helm template --no-hooks.
func (a *applier) render(values string) []*unstructured.Unstructured {
	a.t.Helper()
	chart, err := charts.Load()
	if err != nil {
		a.t.Fatal(err)
	}
	set := map[string]any{}
	if err := yaml.Unmarshal([]byte(values), &set); err != nil {
		a.t.Fatal(err)
	}
	all, err := util.ToRenderValues(chart, set, common.ReleaseOptions{Name: "demo", Namespace: a.namespace, IsInstall: true, Revision: 1}, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		a.t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for name, text := range files {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for _, document := range strings.Split("\n"+text, "\n---") {
			u := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(document), &u.Object); err != nil {
				a.t.Fatalf("%v in\n%s", err, document)
			}
			if _, hook := u.GetAnnotations()["helm.sh/hook"]; len(u.Object) > 0 && !hook {
				objects = append(objects, u)
			}
		}
	}
	if len(objects) < 6 {
		a.t.Fatalf("%d objects are no chart", len(objects))
	}
	return objects
}

func (a *applier) of(o *unstructured.Unstructured) dynamic.ResourceInterface {
	a.t.Helper()
	gvk := o.GroupVersionKind()
	mapping, err := a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		a.t.Fatal(err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return a.client.Resource(mapping.Resource)
	}
	return a.client.Resource(mapping.Resource).Namespace(a.namespace)
}

// clientSide applies an object as kubectl apply does, and returns it as it is then.
func (a *applier) clientSide(o *unstructured.Unstructured) map[string]any {
	a.t.Helper()
	original, err := json.Marshal(o.Object)
	if err != nil {
		a.t.Fatal(err)
	}
	noted := o.DeepCopy()
	annotations := noted.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[corev1.LastAppliedConfigAnnotation] = string(original)
	noted.SetAnnotations(annotations)
	current, err := a.of(o).Get(a.t.Context(), o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		made, err := a.of(o).Create(a.t.Context(), noted, metav1.CreateOptions{})
		if err != nil {
			a.t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
		return chosen(made)
	}
	if err != nil {
		a.t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
	typed, err := scheme.Scheme.New(o.GroupVersionKind())
	if err != nil {
		a.t.Fatal(err)
	}
	shape, err := strategicpatch.NewPatchMetaFromStruct(typed)
	if err != nil {
		a.t.Fatal(err)
	}
	modified, err := json.Marshal(noted.Object)
	if err != nil {
		a.t.Fatal(err)
	}
	there, err := json.Marshal(current.Object)
	if err != nil {
		a.t.Fatal(err)
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch([]byte(current.GetAnnotations()[corev1.LastAppliedConfigAnnotation]), modified, there, shape, true)
	if err != nil {
		a.t.Fatal(err)
	}
	// Of lists that are replaced as a whole, it has the part that is written, and
	// the host adds its defaults again.
	after, err := a.of(o).Patch(a.t.Context(), o.GetName(), types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		a.t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
	return chosen(after)
}

// chosen is an object without the parts that the host's controllers write. The
// generation is among what is left: it counts each change of a spec.
func chosen(o *unstructured.Unstructured) map[string]any {
	for _, field := range [][]string{
		{"metadata", "managedFields"}, {"metadata", "resourceVersion"}, {"status"},
		{"metadata", "annotations", "deployment.kubernetes.io/revision"},
	} {
		unstructured.RemoveNestedField(o.Object, field...)
	}
	if len(o.GetAnnotations()) == 0 {
		o.SetAnnotations(nil)
	}
	return o.Object
}

// serverSide applies an object as a tool of its own name, and returns it as it is
// then.
func (a *applier) serverSide(o *unstructured.Unstructured) map[string]any {
	a.t.Helper()
	applied, err := a.of(o).Apply(a.t.Context(), o.GetName(), o, metav1.ApplyOptions{FieldManager: "argocd-controller", Force: true})
	if err != nil {
		a.t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
	return chosen(applied)
}

// TestChartAppliedAgainChangesNothing: tools that apply the chart again and again
// find nothing to do the second time, with any store, and leave a paused cluster
// paused.
func TestChartAppliedAgainChangesNothing(t *testing.T) {
	for name, values := range map[string]string{
		"one replica":        "",
		"three over an etcd": "controlPlane: {replicas: 3, etcd: {enabled: true}}",
		"paused by value":    "controlPlane: {replicas: 3, etcd: {enabled: true}, paused: true}",
	} {
		for tool, apply := range map[string]func(*applier, *unstructured.Unstructured) map[string]any{
			"kubectl apply": (*applier).clientSide, "server-side apply": (*applier).serverSide,
		} {
			t.Run(name+", "+tool, func(t *testing.T) {
				a := newApplier(t)
				first := map[string]map[string]any{}
				for _, o := range a.render(values) {
					first[o.GetKind()+o.GetName()] = apply(a, o)
				}
				for _, o := range a.render(values) {
					if d := cmp.Diff(first[o.GetKind()+o.GetName()], apply(a, o)); d != "" {
						t.Errorf("%s %s changes (-first +second):\n%s", o.GetKind(), o.GetName(), d)
					}
				}
			})
		}
	}
	t.Run("paused by portico", func(t *testing.T) {
		a := newApplier(t)
		for _, o := range a.render("") {
			a.clientSide(o)
		}
		client := embedded.SharedHost(t).Client
		if err := (pause.Cluster{Host: client, Namespace: a.namespace, Name: "demo"}).Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, o := range a.render("") {
			a.clientSide(o)
		}
		set, err := client.AppsV1().StatefulSets(a.namespace).Get(t.Context(), "demo", metav1.GetOptions{})
		if err != nil || *set.Spec.Replicas != 0 || set.Annotations[pause.AnnotationPaused] != "true" {
			t.Errorf("the cluster was woken: %v, %v, %v", set.Spec.Replicas, set.Annotations, err)
		}
	})
}
