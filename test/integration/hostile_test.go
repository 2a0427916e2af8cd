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
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/test/embedded"
)

func TestHostQuotaRefusalReachesTheTenantInVirtualNames(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	_, err := c.Host.CoreV1().ResourceQuotas(c.Namespace).Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "limit"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"pods": resource.MustParse("0")}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "quota observed", func(ctx context.Context) (bool, string) {
		q, err := c.Host.CoreV1().ResourceQuotas(c.Namespace).Get(ctx, "limit", metav1.GetOptions{})
		return err == nil && len(q.Status.Hard) > 0, fmt.Sprint(q, err)
	})
	_, err = c.Virtual.CoreV1().Pods("a").Create(t.Context(), embedded.Pod("p", nil), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota") {
		t.Fatalf("create: %v, want the host's quota refusal", err)
	}
	if strings.Contains(err.Error(), "-x-") {
		t.Errorf("host name in %q", err)
	}
	if l, err := c.Host.CoreV1().Pods(c.Namespace).List(t.Context(), metav1.ListOptions{}); err != nil || len(l.Items) != 0 {
		t.Errorf("host pods after a refusal: %d, %v", len(l.Items), err)
	}
}

// TestEachHostQuotaRefusesAsOne: whichever object of a request the host's quota
// has no room for, the answer is 403 in virtual names.
func TestEachHostQuotaRefusesAsOne(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	core, ctx := c.Virtual.CoreV1(), t.Context()
	if _, err := core.Secrets("a").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	quotas := c.Host.CoreV1().ResourceQuotas(c.Namespace)
	for what, tc := range map[string]struct {
		hard   corev1.ResourceName
		create func() error
	}{
		"a node port": {"services.nodeports", func() error {
			_, err := core.Services("a").Create(ctx, &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: "np"},
				Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80}}},
			}, metav1.CreateOptions{})
			return err
		}},
		"a claim": {"count/persistentvolumeclaims", func() error {
			_, err := core.PersistentVolumeClaims("a").Create(ctx, &corev1.PersistentVolumeClaim{
				ObjectMeta: metav1.ObjectMeta{Name: "c"},
				Spec: corev1.PersistentVolumeClaimSpec{
					AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
					Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
				},
			}, metav1.CreateOptions{})
			return err
		}},
		"the copy of a Secret": {"count/secrets", func() error {
			p := embedded.Pod("p", nil)
			p.Spec.Volumes = []corev1.Volume{{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}}}
			_, err := core.Pods("a").Create(ctx, p, metav1.CreateOptions{})
			return err
		}},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := quotas.Create(ctx, &corev1.ResourceQuota{
				ObjectMeta: metav1.ObjectMeta{Name: "isolation"},
				Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{tc.hard: resource.MustParse("0")}},
			}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			embedded.Eventually(t, "quota observed", func(ctx context.Context) (bool, string) {
				q, err := quotas.Get(ctx, "isolation", metav1.GetOptions{})
				return err == nil && len(q.Status.Hard) > 0, fmt.Sprint(q, err)
			})
			err = tc.create()
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota: isolation") {
				t.Errorf("%v, want the host's quota refusal", err)
			}
			if err != nil && (strings.Contains(err.Error(), "-x-") || strings.Contains(err.Error(), c.Namespace)) {
				t.Errorf("a name of the host in %q", err)
			}
			if err := quotas.Delete(ctx, "isolation", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestHostPodSecurityRefusalReachesTheTenantInVirtualNames(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	enforce := []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`)
	if _, err := c.Host.CoreV1().Namespaces().Patch(t.Context(), c.Namespace, types.MergePatchType, enforce, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	p := embedded.Pod("p", nil)
	p.Spec.HostNetwork = true
	embedded.Eventually(t, "refusal", func(ctx context.Context) (bool, string) {
		// The host's admission sees the new label through an informer.
		_, err := c.Virtual.CoreV1().Pods("a").Create(ctx, p, metav1.CreateOptions{})
		if err == nil {
			return false, "created"
		}
		if strings.Contains(err.Error(), "-x-") {
			t.Errorf("host name in %q", err)
		}
		return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "violates PodSecurity"), err.Error()
	})
}

// The namespace in the body and the one in the URL must agree, or a tenant's
// tool would write where its user did not look.
func TestManifestForAnotherNamespaceIsRefused(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	c.CreateNamespace("b")
	p := embedded.Pod("p", nil)
	p.Namespace = "b"
	result := c.Virtual.CoreV1().RESTClient().Post().Namespace("a").Resource("pods").Body(p).Do(t.Context())
	if err := result.Error(); !apierrors.IsBadRequest(err) {
		t.Errorf("got %v, want 400", err)
	}
	p.Namespace = "missing"
	if _, err := c.Virtual.CoreV1().Pods("missing").Create(t.Context(), p, metav1.CreateOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("pod in a namespace that does not exist: %v, want 404", err)
	}
	if l, err := c.Host.CoreV1().Pods(c.Namespace).List(t.Context(), metav1.ListOptions{}); err != nil || len(l.Items) != 0 {
		t.Errorf("host pods after refusals: %v, %v; want none", l.Items, err)
	}
}

func TestLongNamesFitTheHost(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	long := strings.Repeat("n", 63)
	c.CreatePod("a", embedded.Pod(long, nil))
	other := strings.Repeat("n", 62) + "m"
	c.CreatePod("a", embedded.Pod(other, nil))
	l, err := c.Virtual.CoreV1().Pods("a").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(l.Items) != 2 {
		t.Fatalf("got %v, %v; want both pods", l, err)
	}
}

func TestHostDeletesAnObjectBehindTheDoor(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	c.CreatePod("a", embedded.Pod("p", nil))
	zero := int64(0)
	if err := c.Host.CoreV1().Pods(c.Namespace).Delete(t.Context(), c.HostName("a", "p"), metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "pod gone for the tenant", func(ctx context.Context) (bool, string) {
		_, err := c.Virtual.CoreV1().Pods("a").Get(ctx, "p", metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
}

func TestCorruptOverlayIsListedReportedAndRepaired(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	c.CreatePod("a", embedded.Pod("p", map[string]string{"k": "v"}))
	c.Settled("a", "p")
	broken := []byte(`{"metadata":{"annotations":{"portico.dev/overlay":"not an overlay"}}}`)
	if _, err := c.Host.CoreV1().Pods(c.Namespace).Patch(t.Context(), c.HostName("a", "p"), types.MergePatchType, broken, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	l, err := c.Virtual.CoreV1().Pods("a").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(l.Items) != 1 || l.Items[0].Name != "p" {
		t.Fatalf("list with a corrupt overlay: %v, %v", l, err)
	}
	embedded.Eventually(t, "event about the overlay", func(ctx context.Context) (bool, string) {
		l, err := c.Virtual.CoreV1().Events("a").List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		for _, e := range l.Items {
			if e.InvolvedObject.Name == "p" && strings.Contains(e.Reason, "Overlay") {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%d events", len(l.Items))
	})
	if _, err := c.Virtual.CoreV1().Pods("a").Patch(t.Context(), "p", types.MergePatchType, []byte(`{"metadata":{"labels":{"again":"1"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatalf("write after corruption: %v", err)
	}
	h, err := c.Host.CoreV1().Pods(c.Namespace).Get(t.Context(), c.HostName("a", "p"), metav1.GetOptions{})
	if err != nil || h.Annotations["portico.dev/overlay"] == "not an overlay" {
		t.Errorf("overlay after the next write: %q, %v; want it repaired", h.Annotations["portico.dev/overlay"], err)
	}
}

func TestTwoClustersSeeNothingOfEachOther(t *testing.T) {
	one, two := newCluster(t), newCluster(t)
	for _, c := range []*cluster{one, two} {
		c.CreateNamespace("a")
		c.CreatePod("a", embedded.Pod("p-"+c.Namespace, nil))
	}
	for _, c := range []*cluster{one, two} {
		l, err := c.Virtual.CoreV1().Pods(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(l.Items) != 1 || l.Items[0].Name != "p-"+c.Namespace {
			t.Errorf("pods of %s: %v, %v", c.Namespace, l, err)
		}
	}
}
