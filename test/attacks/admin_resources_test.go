// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"portico.dev/portico/test/embedded"
)

// onHost returns the names of the host's Secrets and ConfigMaps that begin so.
func onHost(t *testing.T, c *embedded.Cluster, prefix string) (names []string) {
	t.Helper()
	secrets, err := c.Host.CoreV1().Secrets(c.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	configMaps, err := c.Host.CoreV1().ConfigMaps(c.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range secrets.Items {
		names = append(names, secrets.Items[i].Name)
	}
	for i := range configMaps.Items {
		names = append(names, configMaps.Items[i].Name)
	}
	kept := names[:0]
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			kept = append(kept, name)
		}
	}
	return kept
}

// privileged returns a pod that Pod Security's baseline refuses, with a Secret
// and a ConfigMap.
func privileged(name, secret, configMap string) *corev1.Pod {
	p := embedded.Pod(name, nil)
	p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: ptr.To(true)}
	p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{
		{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}},
		{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: configMap}}},
	}
	return p
}

// enforceBaseline has the host refuse privileged pods.
func enforceBaseline(t *testing.T, c *embedded.Cluster) {
	t.Helper()
	label := []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"baseline"}}}`)
	if _, err := c.Host.CoreV1().Namespaces().Patch(t.Context(), c.Namespace, types.MergePatchType, label, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// createBoth makes a Secret and a ConfigMap of one name.
func createBoth(t *testing.T, c *embedded.Cluster, namespace, name string) {
	t.Helper()
	value := strings.Repeat("v", 10<<10)
	if _, err := c.Virtual.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{"k": value},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Virtual.CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"k": value},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A tenant posts pods that the host refuses, each with a Secret and a ConfigMap
// of its own, to fill the host namespace with copies. None is left after a
// refusal.
func TestAttackRefusedPodsLeaveCopies(t *testing.T) {
	c := embedded.NewCluster(t)
	enforceBaseline(t, c)
	c.CreateNamespace("a")
	for i := range 15 {
		name := fmt.Sprintf("bulk-%d", i)
		createBoth(t, c, "a", name)
		if _, err := c.Virtual.CoreV1().Pods("a").Create(t.Context(), privileged(name, name, name), metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
			t.Fatalf("privileged pod: %v, want 403", err)
		}
		if left := onHost(t, c, "bulk-"); len(left) > 0 {
			t.Fatalf("on the host after the refusal: %v", left)
		}
	}
}

// A tenant names the Secret of a running pod in a pod that the host refuses, so
// that the running pod loses its copy. The copy stays.
func TestAttackRefusedPodTakesACopyAway(t *testing.T) {
	c := embedded.NewCluster(t)
	enforceBaseline(t, c)
	c.CreateNamespace("a")
	createBoth(t, c, "a", "used")
	running := privileged("running", "used", "used")
	running.Spec.Containers[0].SecurityContext = nil
	c.CreatePod("a", running)
	for range 5 {
		if _, err := c.Virtual.CoreV1().Pods("a").Create(t.Context(), privileged("refused", "used", "used"), metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
			t.Fatalf("privileged pod: %v, want 403", err)
		}
	}
	if there := onHost(t, c, "used-"); len(there) != 2 {
		t.Errorf("copies of the running pod: %v, want the Secret and the ConfigMap", there)
	}
}

// measuredAt is the listener of the operator's measurements.
func measuredAt(at string) string { return "metrics:\n  listen: " + at + "\n" }

// smallStore is the least store that can be configured.
const smallStore = "store:\n  maxSize: 16Mi\n"

// fill makes big ConfigMaps until one is refused, and returns why.
func fill(t *testing.T, c *embedded.Cluster, namespace string) error {
	t.Helper()
	for i := range 64 {
		_, err := c.Virtual.CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("big-%d", i)}, Data: map[string]string{"k": strings.Repeat("v", 900<<10)},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
	}
	return nil
}

// A tenant fills the store of the cluster. Further objects are refused (403) with
// the numbers, deletions work, finalizers can be removed, the controllers go on,
// and after a deletion there is room again.
func TestAttackTenantFillsTheStore(t *testing.T) {
	at := embedded.FreePort(t)
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), smallStore+measuredAt(at))
	c.CreateNamespace("bulk")
	c.CreateNamespace("a")
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](1), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}, Spec: embedded.Pod("", nil).Spec},
		},
	}
	if _, err := c.Virtual.AppsV1().Deployments("a").Create(t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	held := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/held"}}}
	configMaps := c.Virtual.CoreV1().ConfigMaps("a")
	if _, err := configMaps.Create(t.Context(), held, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	err := fill(t, c, "bulk")
	if !apierrors.IsForbidden(err) || !strings.Contains(fmt.Sprint(err), "the store of this virtual cluster is full: ") || !strings.Contains(fmt.Sprint(err), "of 16Mi are used") {
		t.Fatalf("filling: %v, want 403 with the numbers", err)
	}
	if used := metric(t, c, at, "portico_store_used_bytes"); used > 16<<20 || used < 14<<20 {
		t.Errorf("%v bytes are used, want nearly 16 MiB", used)
	}

	// The controllers.
	if _, err := c.Virtual.AppsV1().Deployments("a").Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{}); err != nil {
		t.Fatalf("scale in a full store: %v", err)
	}
	embedded.Eventually(t, "three pods in a full store", func(ctx context.Context) (bool, string) {
		d, err := c.Virtual.AppsV1().Deployments("a").Get(ctx, "web", metav1.GetOptions{})
		return err == nil && d.Status.ReadyReplicas == 3, fmt.Sprint(d.Status, err)
	})
	// Deletion by way of a finalizer.
	if err := configMaps.Delete(t.Context(), "held", metav1.DeleteOptions{}); err != nil {
		t.Fatalf("delete in a full store: %v", err)
	}
	if _, err := configMaps.Patch(t.Context(), "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatalf("remove a finalizer in a full store: %v", err)
	}
	if _, err := configMaps.Get(t.Context(), "held", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the deleted ConfigMap: %v, want that it is gone", err)
	}
	// Deletion of a whole namespace, which writes to its status.
	if err := c.Virtual.CoreV1().Namespaces().Delete(t.Context(), "bulk", metav1.DeleteOptions{}); err != nil {
		t.Fatalf("delete a namespace in a full store: %v", err)
	}
	embedded.Eventually(t, "room again", func(ctx context.Context) (bool, string) {
		_, err := configMaps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "new-"}, Data: map[string]string{"k": strings.Repeat("v", 900<<10)}}, metav1.CreateOptions{})
		return err == nil, fmt.Sprint(err)
	})
}

// metric returns the value of a metric of the door, or -1 if it is not there.
func metric(t *testing.T, c *embedded.Cluster, at, name string) float64 {
	t.Helper()
	for line := range strings.Lines(string(c.Measurements(at))) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return -1
}

// A tenant overwrites a big object again and again, to fill the disk and the
// memory of the process with versions of it. History is given up, and neither
// grows far above the limit of the store.
func TestAttackTenantFillsTheHistory(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), smallStore)
	configMaps := c.Virtual.CoreV1().ConfigMaps("default")
	big := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "big"}, Data: map[string]string{}}
	if _, err := configMaps.Create(t.Context(), big, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		big.Data["k"] = strconv.Itoa(i) + strings.Repeat("v", 900<<10)
		if _, err := configMaps.Update(t.Context(), big, metav1.UpdateOptions{}); err != nil {
			t.Fatalf("update %d: %v", i, err)
		}
	}
	embedded.Eventually(t, "less than 48 MiB on disk of 88 MiB that were written", func(context.Context) (bool, string) {
		size := int64(0)
		err := filepath.WalkDir(filepath.Join(c.Dir, "store"), func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err == nil {
				size += info.Size()
			}
			return err
		})
		return err == nil && size < 48<<20, fmt.Sprintf("%d bytes (%v)", size, err)
	})
}

// as returns a client of another user, who has all rights by RBAC.
func as(t *testing.T, c *embedded.Cluster, name string) kubernetes.Interface {
	t.Helper()
	if _, err := c.Virtual.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: "User", Name: name}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(c.Config)
	config.Impersonate.UserName = name
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "the rights of "+name, func(ctx context.Context) (bool, string) {
		_, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		return err == nil, fmt.Sprint(err)
	})
	return client
}

// One user floods the door with pods, so that no other user of the cluster gets
// to the host, and the host gets all of it. The flood is held to the rate, and
// another user's pods are made while it goes on.
func TestAttackUserFloodsTheHost(t *testing.T) {
	const qps = 20
	t.Setenv("PORTICO_HOST_QPS", strconv.Itoa(qps))
	at := embedded.FreePort(t)
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), measuredAt(at))
	c.CreateNamespace("a")
	mallory := as(t, c, "mallory")
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var passed atomic.Int64
	for i := range 100 {
		running.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if _, err := mallory.CoreV1().Pods("a").Create(ctx, embedded.Pod(fmt.Sprintf("m-%d-%d", i, n), nil), metav1.CreateOptions{}); err == nil {
					passed.Add(1)
				}
			}
		})
	}
	defer running.Wait()
	defer stop()
	embedded.Eventually(t, "the flood is held", func(context.Context) (bool, string) {
		n := metric(t, c, at, `portico_host_delayed_requests_total{class="tenant"}`)
		return n > 2*qps, fmt.Sprint(n)
	})
	// How many of the flood go first is for package fairshare to test, on a clock
	// of its own. Here, on a busy machine, a door that never serves the other user
	// would fail.
	before := passed.Load()
	for i := range 5 {
		c.CreatePod("a", embedded.Pod(fmt.Sprintf("alice-%d", i), nil))
	}
	embedded.Eventually(t, "the flood goes on", func(context.Context) (bool, string) {
		n := passed.Load()
		return n > before, fmt.Sprint(n)
	})
	if err := c.Virtual.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(t.Context()).Error(); err != nil {
		t.Errorf("the door is not ready: %v", err)
	}
}

// A tenant makes the door sign thousands of tokens for one pod. The pod is
// refused (422) and nothing of it is on the host.
func TestAttackPodWithThousandsOfTokens(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	p := embedded.Pod("p", nil)
	sources := make([]corev1.VolumeProjection, 5000)
	for i := range sources {
		sources[i].ServiceAccountToken = &corev1.ServiceAccountTokenProjection{Path: strconv.Itoa(i), ExpirationSeconds: ptr.To[int64](600)}
	}
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}}}}
	if _, err := c.Virtual.CoreV1().Pods("a").Create(t.Context(), p, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("create: %v, want 422", err)
	}
	if _, err := c.Host.CoreV1().Pods(c.Namespace).Get(t.Context(), c.HostName("a", "p"), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("on the host: %v, want nothing", err)
	}
}

// A tenant sends requests with bodies of many megabytes, to fill the memory of
// the process. They are refused (413) before they are read to the end.
func TestAttackHugeRequests(t *testing.T) {
	c := embedded.NewCluster(t)
	body := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"k":"` + strings.Repeat("v", 8<<20) + `"}}`
	for _, path := range []string{"/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/pods"} {
		var code int
		err := c.Virtual.CoreV1().RESTClient().Post().AbsPath(path).SetHeader("Content-Type", "application/json").Body([]byte(body)).Do(t.Context()).StatusCode(&code).Error()
		if code != http.StatusRequestEntityTooLarge {
			t.Errorf("POST %s: %d %v, want 413", path, code, err)
		}
	}
}
