// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/test/embedded"
)

// A tenant deletes kube-system/kube-dns, whose address all pods have, to make
// that address free for another tenant of the host: by a deletion, a cascade, a
// collection, an owner that does not exist, and the deletion of the namespace.
// The Service stays the same object at the same address.
func TestAttackTenantFreesTheAddressOfTheDNS(t *testing.T) {
	c := embedded.NewCluster(t)
	services := c.Virtual.CoreV1().Services("kube-system")
	hosts := c.Host.CoreV1().Services(c.Namespace)
	before, err := hosts.Get(t.Context(), c.HostName("kube-system", "kube-dns"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	zero := int64(0)
	for name, attempt := range map[string]func() error{
		"delete": func() error { return services.Delete(t.Context(), "kube-dns", metav1.DeleteOptions{}) },
		"delete now": func() error {
			return services.Delete(t.Context(), "kube-dns", metav1.DeleteOptions{GracePeriodSeconds: &zero})
		},
		"cascade": func() error {
			foreground := metav1.DeletePropagationForeground
			return services.Delete(t.Context(), "kube-dns", metav1.DeleteOptions{PropagationPolicy: &foreground})
		},
		"orphans": func() error {
			orphan := metav1.DeletePropagationOrphan
			return services.Delete(t.Context(), "kube-dns", metav1.DeleteOptions{PropagationPolicy: &orphan})
		},
		"collection": func() error {
			return c.Virtual.CoreV1().RESTClient().Delete().Namespace("kube-system").Resource("services").Do(t.Context()).Error()
		},
		"namespace": func() error {
			return c.Virtual.CoreV1().Namespaces().Delete(t.Context(), "kube-system", metav1.DeleteOptions{})
		},
	} {
		if err := attempt(); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want 403", name, err)
		}
	}

	// The garbage collector does with the tenant's word what the tenant may not
	// do. It is seen to have been there when it has removed another object whose
	// owner does not exist.
	owner := `[{"apiVersion":"v1","kind":"ConfigMap","name":"nobody","uid":"00000000-0000-0000-0000-000000000001"}]`
	if _, err := services.Patch(t.Context(), "kube-dns", types.MergePatchType, []byte(`{"metadata":{"ownerReferences":`+owner+`}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.CreateService("kube-system", "orphan", corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}})
	if _, err := services.Patch(t.Context(), "orphan", types.MergePatchType, []byte(`{"metadata":{"ownerReferences":`+owner+`}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "the orphan is gone", func(ctx context.Context) (bool, string) {
		_, err := services.Get(ctx, "orphan", metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
	after, err := hosts.Get(t.Context(), before.Name, metav1.GetOptions{})
	if err != nil || after.UID != before.UID || after.DeletionTimestamp != nil || after.Spec.ClusterIP != before.Spec.ClusterIP {
		t.Errorf("the Service of the DNS is %+v (%v), want it as it was", after, err)
	}
}
