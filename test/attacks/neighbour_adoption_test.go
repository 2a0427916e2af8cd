// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"encoding/json"
	"fmt"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/test/embedded"
)

// A tenant gives a pod the labels that a ReplicaSet of the host's operator in
// the same host namespace selects. The ReplicaSet does not adopt the pod, and
// goes on to have one of its own.
func TestAttackReplicaSetOfTheHostAdoptsATenantsPod(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	p := embedded.Pod("p", map[string]string{"app": "billing"})
	c.CreatePod("a", p)
	sets := c.Host.AppsV1().ReplicaSets(c.Namespace)
	set, err := sets.Create(t.Context(), &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: "billing"},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: new(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "billing"}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "billing"}}, Spec: p.Spec},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "a pod of the operator's own", func(ctx context.Context) (bool, string) {
		s, err := sets.Get(ctx, "billing", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		pods, err := c.Host.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=billing"})
		if err != nil {
			return false, err.Error()
		}
		own := 0
		for i := range pods.Items {
			if metav1.IsControlledBy(&pods.Items[i], set) {
				own++
			}
		}
		return s.Status.ObservedGeneration > 0 && s.Status.Replicas == 1 && own == 1 && len(pods.Items) == 2,
			fmt.Sprintf("%d replicas, %d of %d pods its own", s.Status.Replicas, own, len(pods.Items))
	})
	h, err := c.Host.CoreV1().Pods(c.Namespace).Get(t.Context(), c.HostName("a", "p"), metav1.GetOptions{})
	if err != nil || h.DeletionTimestamp != nil || metav1.IsControlledBy(h, set) {
		t.Errorf("the tenant's pod on the host: %v (%v)", h.OwnerReferences, err)
	}
}

// withClaim creates a pod and a claim, and returns their uids.
func withClaim(t *testing.T, c *embedded.Cluster) (pod, claim types.UID) {
	t.Helper()
	c.CreateNamespace("a")
	pvc, err := c.Virtual.CoreV1().PersistentVolumeClaims("a").Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c.CreatePod("a", embedded.Pod("p", nil)).UID, pvc.UID
}

// unharmed deletes the cluster's own Service on the host and waits until it is
// there again, with its address. The pod and the claim must outlive that.
func unharmed(t *testing.T, c *embedded.Cluster, pod, claim types.UID, propagation metav1.DeletionPropagation) {
	t.Helper()
	services := c.Host.CoreV1().Services(c.Namespace)
	was, err := services.Get(t.Context(), c.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := services.Delete(t.Context(), c.Name, metav1.DeleteOptions{PropagationPolicy: &propagation}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "the Service again", func(ctx context.Context) (bool, string) {
		is, err := services.Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return is.UID != was.UID && is.Spec.ClusterIP == was.Spec.ClusterIP, is.Spec.ClusterIP
	})
	embedded.Eventually(t, "the account of the pods", func(ctx context.Context) (bool, string) {
		a, err := c.Host.CoreV1().ServiceAccounts(c.Namespace).Get(ctx, c.Name+"-workload", metav1.GetOptions{})
		return err == nil && a.DeletionTimestamp == nil, fmt.Sprint(err)
	})
	sweep(t, c)
	p, err := c.Virtual.CoreV1().Pods("a").Get(t.Context(), "p", metav1.GetOptions{})
	if err != nil || p.UID != pod || p.DeletionTimestamp != nil {
		t.Errorf("the pod after that: uid %s, deleted %v (%v)", p.UID, p.DeletionTimestamp, err)
	}
	v, err := c.Virtual.CoreV1().PersistentVolumeClaims("a").Get(t.Context(), "data", metav1.GetOptions{})
	if err != nil || v.UID != claim || v.DeletionTimestamp != nil {
		t.Errorf("the claim after that: uid %s, deleted %v (%v)", v.UID, v.DeletionTimestamp, err)
	}
}

// sweep waits until the host's garbage collector has collected an object made
// now for it to collect, and so all earlier ones.
func sweep(t *testing.T, c *embedded.Cluster) {
	t.Helper()
	maps := c.Host.CoreV1().ConfigMaps(c.Namespace)
	owner, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "owner-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owned, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "owned-", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID},
	}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := maps.Delete(t.Context(), owner.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "the garbage collector", func(ctx context.Context) (bool, string) {
		_, err := maps.Get(ctx, owned.Name, metav1.GetOptions{})
		return err != nil, "not collected"
	})
}

// A user of the host deletes the Service of a virtual cluster, as one of many.
// No pod, no claim and no data goes with it, and the Service comes back with the
// address that pods know.
func TestAttackServiceOfTheClusterIsDeletedOnTheHost(t *testing.T) {
	for _, propagation := range []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationOrphan, metav1.DeletePropagationForeground} {
		t.Run(string(propagation), func(t *testing.T) {
			c := embedded.NewCluster(t)
			pod, claim := withClaim(t, c)
			unharmed(t, c, pod, claim, propagation)
		})
	}
}

// A user of the host deletes the Service of a virtual cluster that was made when
// that Service owned everything. After a restart of porticod the anchor owns
// everything, and nothing goes with the Service.
func TestAttackServiceThatOwnedEverythingIsDeleted(t *testing.T) {
	c := embedded.NewCluster(t)
	pod, claim := withClaim(t, c)
	if err := c.Process.End(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.Process = nil
	core := c.Host.CoreV1()
	svc, err := core.Services(c.Namespace).Get(t.Context(), c.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	body := func(owners ...metav1.OwnerReference) []byte {
		b, err := json.Marshal(map[string]any{"metadata": map[string]any{"ownerReferences": owners}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	former := body(metav1.OwnerReference{APIVersion: "v1", Kind: "Service", Name: svc.Name, UID: svc.UID})
	if _, err := core.Pods(c.Namespace).Patch(t.Context(), c.HostName("a", "p"), types.MergePatchType, former, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := core.PersistentVolumeClaims(c.Namespace).Patch(t.Context(), c.HostName("a", "data"), types.MergePatchType, former, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := core.Services(c.Namespace).Patch(t.Context(), c.Name, types.MergePatchType, body(), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := core.ConfigMaps(c.Namespace).Delete(t.Context(), c.Name+".anchor", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	sweep(t, c)
	c.Start()
	embedded.Eventually(t, "the anchor to own the pod and the claim", func(ctx context.Context) (bool, string) {
		p, err := core.Pods(c.Namespace).Get(ctx, c.HostName("a", "p"), metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		v, err := core.PersistentVolumeClaims(c.Namespace).Get(ctx, c.HostName("a", "data"), metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		for _, o := range [][]metav1.OwnerReference{p.OwnerReferences, v.OwnerReferences} {
			if len(o) != 1 || o[0].Name != c.Name+".anchor" || o[0].Controller == nil || !*o[0].Controller {
				return false, fmt.Sprintf("%+v", o)
			}
		}
		return true, ""
	})
	unharmed(t, c, pod, claim, metav1.DeletePropagationBackground)
}

// A user of the host lists the objects that they may adopt, drain or delete.
// Every object of the cluster has a controller, and none blocks the deletion of
// another.
func TestAttackObjectsWithoutController(t *testing.T) {
	c := embedded.NewCluster(t)
	withClaim(t, c)
	c.CreateService("a", "s", corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}})
	ours := metav1.ListOptions{LabelSelector: "portico.dev/cluster=" + c.Name}
	core := c.Host.CoreV1()
	embedded.Eventually(t, "the Secrets with the pod's token, the credentials and the kubeconfig", func(ctx context.Context) (bool, string) {
		l, err := core.Secrets(c.Namespace).List(ctx, ours)
		return err == nil && len(l.Items) > 2, fmt.Sprint(err)
	})
	found := 0
	check := func(kind string, m metav1.Object) {
		found++
		if kind == "ConfigMap" && m.GetName() == c.Name+".anchor" {
			return
		}
		if metav1.GetControllerOf(m) == nil {
			t.Errorf("%s %s has no controller: %+v", kind, m.GetName(), m.GetOwnerReferences())
		}
		for _, o := range m.GetOwnerReferences() {
			if o.BlockOwnerDeletion != nil {
				t.Errorf("%s %s blocks the deletion of %s", kind, m.GetName(), o.Name)
			}
		}
	}
	pods, err := core.Pods(c.Namespace).List(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	for i := range pods.Items {
		check("Pod", &pods.Items[i])
	}
	services, err := core.Services(c.Namespace).List(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	for i := range services.Items {
		check("Service", &services.Items[i])
	}
	claims, err := core.PersistentVolumeClaims(c.Namespace).List(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	for i := range claims.Items {
		check("PersistentVolumeClaim", &claims.Items[i])
	}
	secrets, err := core.Secrets(c.Namespace).List(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	for i := range secrets.Items {
		check("Secret", &secrets.Items[i])
	}
	configMaps, err := core.ConfigMaps(c.Namespace).List(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	for i := range configMaps.Items {
		check("ConfigMap", &configMaps.Items[i])
	}
	if found < 9 {
		t.Errorf("only %d objects on the host", found)
	}
}
