// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"errors"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// namespaceInputs returns the labels that a pod in namespace shop is translated
// with. The API has the namespace unless it is nil, and the informer has it as
// well if informed is set. With refuse, the API answers with that error.
func namespaceInputs(t *testing.T, api *corev1.Namespace, informed bool, refuse error) map[string]string {
	t.Helper()
	var objects []runtime.Object
	if api != nil {
		objects = append(objects, api)
	}
	client := fake.NewClientset(objects...)
	client.PrependReactor("get", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) { return refuse != nil, nil, refuse })
	shared := informers.NewSharedInformerFactory(client, 0)
	of := newInputs(client, shared)
	store := shared.Core().V1().Namespaces().Informer().GetStore()
	known := []*corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "other", Labels: map[string]string{"tier": "other"}}}}
	if informed {
		known = append(known, api)
	}
	for _, ns := range known {
		if err := store.Add(ns); err != nil {
			t.Fatal(err)
		}
	}
	v := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	if in := of(t.Context(), v); len(in.Namespaces) > 1 {
		t.Errorf("namespaces: %v, and the pod cannot name another", in.Namespaces)
	}
	v.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{}}
	in := of(t.Context(), v)
	if got, ok := in.Namespaces["shop"]; ok != (in.NamespaceLabels != nil) || !maps.Equal(got, in.NamespaceLabels) {
		t.Errorf("two answers for one namespace: %v and %v", got, in.NamespaceLabels)
	}
	if in.Namespaces["other"]["tier"] != "other" {
		t.Errorf("namespaces: %v, want also the other", in.Namespaces)
	}
	return in.NamespaceLabels
}

// A pod can come before the informer has heard of its namespace: without the
// namespace's labels no selector of namespaces would find it.
func TestNamespaceLabelsWhileTheInformerIsBehind(t *testing.T) {
	labelled := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"tier": "live"}}}
	bare := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
	none := map[string]string{}
	for name, tc := range map[string]struct {
		api      *corev1.Namespace
		informed bool
		refuse   error
		want     map[string]string // nil: not known
	}{
		"the informer has it":               {labelled, true, errors.New("asked without need"), labelled.Labels},
		"the informer has it, and no label": {bare, true, errors.New("asked without need"), none},
		"only the API has it":               {labelled, false, nil, labelled.Labels},
		"only the API has it, and no label": {bare, false, nil, none},
		"there is none":                     {nil, false, nil, nil},
		"the API does not answer":           {labelled, false, errors.New("down"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := namespaceInputs(t, tc.api, tc.informed, tc.refuse)
			if (got == nil) != (tc.want == nil) || !maps.Equal(got, tc.want) {
				t.Errorf("labels %#v, want %#v", got, tc.want)
			}
		})
	}
}
