// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"slices"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/rewrite"
)

// TestCopiesOfASwitchedOffKindGo: those of this cluster, and no policy of a chart, of
// an operator or of a neighbour. A host that refuses the question has no copies.
func TestCopiesOfASwitchedOffKindGo(t *testing.T) {
	tr, err := rewrite.New(rewrite.Cluster{
		Name: "vc", HostNamespace: "team-a", Owner: metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "vc.anchor", UID: "u"},
	})
	if err != nil {
		t.Fatal(err)
	}
	policy := func(name string, labels, annotations map[string]string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{
			TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
			ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: name, Labels: labels, Annotations: annotations},
		}
	}
	ours := map[string]string{rewrite.LabelCluster: "vc", rewrite.LabelNamespace: "shop"}
	marks := map[string]string{rewrite.AnnotationKind: "NetworkPolicy", rewrite.AnnotationNamespace: "shop", rewrite.AnnotationName: "deny"}
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	host := metadatafake.NewSimpleMetadataClient(scheme,
		policy(tr.Name("shop", "deny"), ours, marks),
		policy("vc-isolation", map[string]string{rewrite.LabelCluster: "vc"}, nil),
		policy("deny-x-shop-x-other", map[string]string{rewrite.LabelCluster: "other", rewrite.LabelNamespace: "shop"}, marks),
	)
	off := switchedOffKinds(&config.ToHost{PodDisruptionBudgets: config.ToHostPodDisruptionBudgets{Enabled: true}})
	if len(off) != 2 {
		t.Fatalf("kinds that are switched off: %v", off)
	}
	for _, k := range off {
		if err := removeLeftovers(t.Context(), host, tr, k); err != nil {
			t.Error(err)
		}
	}
	left, err := host.Resource(networkingv1.SchemeGroupVersion.WithResource("networkpolicies")).Namespace("team-a").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range left.Items {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	if want := []string{"deny-x-shop-x-other", "vc-isolation"}; !slices.Equal(names, want) {
		t.Errorf("policies on the host: %v, want %v", names, want)
	}
	refusing := metadatafake.NewSimpleMetadataClient(scheme)
	refusing.PrependReactor("list", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(networkingv1.Resource("networkpolicies"), "", nil)
	})
	if err := removeLeftovers(t.Context(), refusing, tr, off[0]); err != nil {
		t.Errorf("a host that refuses: %v", err)
	}
}
