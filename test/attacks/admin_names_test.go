// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/test/embedded"
)

// hashedName needs a hash on the host. The tenant found it: an object of the
// operator has that very name there.
const hashedName = "a-name-whose-host-name-is-that-of-an-object-of-the-operator-by-its-hash"

// hostNamesOf are the host names that a/name has today, and had before if that was
// another.
func hostNamesOf(t *testing.T, c *embedded.Cluster, name string) []string {
	t.Helper()
	tr, err := rewrite.New(rewrite.Cluster{Name: c.Name, HostNamespace: c.Namespace})
	if err != nil {
		t.Fatal(err)
	}
	return tr.HostNames("Secret", "a", name)
}

// refusedInVirtualNames fails unless a pod was refused with 403, in words that
// name the virtual object and nothing of the host.
func refusedInVirtualNames(t *testing.T, c *embedded.Cluster, err error, name string, hostNames []string) {
	t.Helper()
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), name) {
		t.Errorf("the pod of %s ends with %v, want 403", name, err)
		return
	}
	for _, word := range append([]string{c.Namespace}, hostNames...) {
		if strings.Contains(err.Error(), word) {
			t.Errorf("the refusal says %s: %v", word, err)
		}
	}
}

// A tenant's pod names Secrets, ConfigMaps and claims that do not exist inside, and
// whose host names are those of objects of the operator: a plain name, and one with
// a hash, for which they searched. The pod would get them. It is refused (403) for
// each, and the operator's objects stay as they are.
func TestAttackPodMountsAnObjectOfTheOperator(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	core := c.Host.CoreV1()
	for _, name := range []string{"plain", hashedName} {
		names := hostNamesOf(t, c, name)
		m := metav1.ObjectMeta{Name: names[0]}
		if _, err := core.Secrets(c.Namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: m, StringData: map[string]string{"k": "the operator's"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := core.ConfigMaps(c.Namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: m}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		theirs := claim(names[0], func(s *corev1.PersistentVolumeClaimSpec) { s.StorageClassName = ptr.To("none") })
		if _, err := core.PersistentVolumeClaims(c.Namespace).Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		for what, volume := range map[string]corev1.VolumeSource{
			"secret":    {Secret: &corev1.SecretVolumeSource{SecretName: name}},
			"optional":  {Secret: &corev1.SecretVolumeSource{SecretName: name, Optional: ptr.To(true)}},
			"configMap": {ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}},
			"claim":     {PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}},
		} {
			t.Run(what+" "+name, func(t *testing.T) {
				p := embedded.Pod("p", nil)
				p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: volume}}
				_, err := c.Virtual.CoreV1().Pods("a").Create(t.Context(), p, metav1.CreateOptions{})
				refusedInVirtualNames(t, c, err, name, names)
			})
		}
		// Nor does a Secret of the tenant's own take the operator's place.
		if _, err := c.Virtual.CoreV1().Secrets("a").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		p := embedded.Pod("p", nil)
		p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: name}}
		_, err := c.Virtual.CoreV1().Pods("a").Create(t.Context(), p, metav1.CreateOptions{})
		refusedInVirtualNames(t, c, err, name, names)
		if s, err := core.Secrets(c.Namespace).Get(t.Context(), names[0], metav1.GetOptions{}); err != nil || string(s.Data["k"]) != "the operator's" {
			t.Errorf("the operator's Secret: %v (%v)", s, err)
		}
	}
	nothingOnTheHost(t, c)
}

// A tenant asks for an object whose host name is that of an object of the operator,
// the one of today or the one that an earlier version gave. No verb finds it, and a
// new object of the tenant's is not made in its place.
func TestAttackObjectOfTheOperatorByItsName(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	virtual, claims := c.Virtual.CoreV1().Pods("a"), c.Virtual.CoreV1().PersistentVolumeClaims("a")
	for _, name := range hostNamesOf(t, c, hashedName) {
		theirs := embedded.Pod(name, map[string]string{"app": "operator"})
		theirs, err := c.Host.CoreV1().Pods(c.Namespace).Create(t.Context(), theirs, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		_, get := virtual.Get(ctx, hashedName, metav1.GetOptions{})
		_, patch := virtual.Patch(ctx, hashedName, types.MergePatchType, []byte(`{"metadata":{"labels":{"app":"tenant"}}}`), metav1.PatchOptions{})
		_, status := virtual.Patch(ctx, hashedName, types.MergePatchType, []byte(`{"status":{"phase":"Failed"}}`), metav1.PatchOptions{}, "status")
		_, logs := virtual.GetLogs(hashedName, &corev1.PodLogOptions{}).DoRaw(ctx)
		remove := virtual.Delete(ctx, hashedName, metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)})
		for verb, err := range map[string]error{"get": get, "patch": patch, "status": status, "logs": logs, "delete": remove} {
			if !apierrors.IsNotFound(err) {
				t.Errorf("%s: %v, want not found", verb, err)
			}
		}
		after, err := c.Host.CoreV1().Pods(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil || after.UID != theirs.UID || after.Labels["app"] != "operator" || after.DeletionTimestamp != nil {
			t.Errorf("the operator's pod %s: %+v (%v)", name, after.ObjectMeta, err)
		}
	}
	if _, err := virtual.Create(t.Context(), embedded.Pod(hashedName, nil), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("create in its place: %v", err)
	}
	// Under the former name the operator's claim is in no one's way.
	former := hostNamesOf(t, c, hashedName)[1]
	mine := func(s *corev1.PersistentVolumeClaimSpec) { s.StorageClassName = ptr.To("none") }
	if _, err := c.Host.CoreV1().PersistentVolumeClaims(c.Namespace).Create(t.Context(), claim(former, mine), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := claims.Create(t.Context(), claim(hashedName, mine), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := embedded.Pod("p", nil)
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: hashedName}}}}
	c.CreatePod("a", p)
	embedded.Eventually(t, "the pod on the host", func(ctx context.Context) (bool, string) {
		h := c.HostPod("a", "p")
		return h.Spec.Volumes[0].PersistentVolumeClaim.ClaimName == hostNamesOf(t, c, hashedName)[0], h.Spec.Volumes[0].String()
	})
}
