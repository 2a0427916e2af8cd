// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"portico.dev/portico/test/embedded"
)

var update = flag.Bool("update", false, "save the cluster of TestClusterOfBefore again: do so only if clusters of before need not work any more")

// formerNamespace is the host namespace of the saved cluster.
const formerNamespace = "vc-before"

// before is a cluster that an earlier version has left: snapshots of its store
// and of its host's, and the objects that were in it.
type before struct {
	// Virtual are the tenant's objects as KIND NAMESPACE/NAME, with their UIDs.
	Virtual map[string]types.UID `json:"virtual"`
	// Pods are the pods on the host, with their UIDs.
	Pods map[string]types.UID `json:"pods"`
	// Addresses are the ClusterIPs of the tenant's Services.
	Addresses map[string]string `json:"addresses"`
}

// A cluster that an earlier version made goes on with this one: the tenant's
// objects are there as the same objects, no pod was made again, and each is still
// the pod of its host pod, which changes and deletions reach. The files in
// testdata/before are a whole cluster and its host, saved in November 2026.
func TestClusterOfBefore(t *testing.T) {
	if *update {
		saveCluster(t)
	}
	var want before
	read(t, "objects.json", &want)
	h := embedded.PrivateHostIn(t, restored(t, "host.snapshot.gz"))
	was := podsOf(t, h)
	c := &cluster{embedded.NewClusterIn(t, h, formerNamespace, restored(t, "virtual.snapshot.gz"), "")}
	if d := cmp.Diff(want, contentOf(t, c)); d != "" {
		t.Errorf("the cluster has changed (-saved +now):\n%s", d)
	}
	t.Run("reaches its host's objects", func(t *testing.T) { reachesHost(t, c) })

	// All parts have worked by now. A pod that one of them had made again would
	// have another UID, and one that was changed is restarted by its kubelet.
	now := podsOf(t, h)
	for name, pod := range was {
		if name == c.HostName("a", "gone") {
			continue // reachesHost deleted it.
		}
		if d := cmp.Diff(pod.Spec, now[name].Spec); now[name].UID != pod.UID || d != "" {
			t.Errorf("the host pod %s is not what it was, uid %s, before %s (-before +now):\n%s", name, now[name].UID, pod.UID, d)
		}
	}
}

// reachesHost changes objects of the saved cluster, and waits until the host has
// the changes under the names that it had for them before.
func reachesHost(t *testing.T, c *cluster) {
	ctx := t.Context()
	if _, err := c.Virtual.AppsV1().Deployments("a").Patch(ctx, "web", types.MergePatchType, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "a third replica", func(ctx context.Context) (bool, string) {
		d, err := c.Virtual.AppsV1().Deployments("a").Get(ctx, "web", metav1.GetOptions{})
		return err == nil && d.Status.AvailableReplicas == 3, fmt.Sprintf("%v %+v", err, d.Status)
	})
	host := c.Host.CoreV1()
	if _, err := c.Virtual.CoreV1().Secrets("a").Patch(ctx, longName, types.MergePatchType, []byte(`{"stringData":{"value":"two"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	// The pod says which Secret it reads, under that Secret's host name.
	embedded.Eventually(t, "the pod's Secret has the new value", func(ctx context.Context) (bool, string) {
		pod := c.hostPodOf(t, longName)
		s, err := host.Secrets(c.Namespace).Get(ctx, pod.Spec.Containers[0].EnvFrom[0].SecretRef.Name, metav1.GetOptions{})
		return err == nil && string(s.Data["value"]) == "two", fmt.Sprint(err)
	})
	if err := c.Virtual.CoreV1().Pods("a").Delete(ctx, "gone", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "the host's pod is gone", func(ctx context.Context) (bool, string) {
		_, err := host.Pods(c.Namespace).Get(ctx, c.HostName("a", "gone"), metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
}

// hostPodOf is the host pod of a virtual pod in a, under any name.
func (c *cluster) hostPodOf(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	virtual, err := c.Virtual.CoreV1().Pods("a").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pods, err := c.Host.CoreV1().Pods(c.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range pods.Items {
		if pods.Items[i].UID == virtual.UID {
			return &pods.Items[i]
		}
	}
	t.Fatalf("no host pod has the UID %s of %s", virtual.UID, name)
	return nil
}

// contentOf is the part of a cluster that must outlive an upgrade.
func contentOf(t *testing.T, c *cluster) before {
	t.Helper()
	b := before{Virtual: map[string]types.UID{}, Pods: map[string]types.UID{}, Addresses: map[string]string{}}
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []schema.GroupVersionResource{
		corev1.SchemeGroupVersion.WithResource("namespaces"), corev1.SchemeGroupVersion.WithResource("pods"),
		corev1.SchemeGroupVersion.WithResource("services"), corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims"),
		corev1.SchemeGroupVersion.WithResource("secrets"), corev1.SchemeGroupVersion.WithResource("configmaps"),
		corev1.SchemeGroupVersion.WithResource("serviceaccounts"), appsv1.SchemeGroupVersion.WithResource("deployments"),
		appsv1.SchemeGroupVersion.WithResource("replicasets"), widgets,
	} {
		embedded.Eventually(t, kind.Resource+" are listed", func(ctx context.Context) (bool, string) {
			objects, err := client.Resource(kind).List(ctx, metav1.ListOptions{})
			if err != nil {
				return false, err.Error() // A CustomResourceDefinition is served a moment later.
			}
			for _, o := range objects.Items {
				// Those in kube-system are the version's own.
				if o.GetNamespace() != "kube-system" {
					b.Virtual[kind.Resource+" "+o.GetNamespace()+"/"+o.GetName()] = o.GetUID()
				}
			}
			return true, ""
		})
	}
	services, err := c.Virtual.CoreV1().Services("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range services.Items {
		b.Addresses[s.Namespace+"/"+s.Name] = s.Spec.ClusterIP
	}
	pods, err := c.Host.CoreV1().Pods(c.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		b.Pods[p.Name] = p.UID
	}
	return b
}

// podsOf are the pods of the saved cluster on its host, by name.
func podsOf(t *testing.T, h *embedded.Host) map[string]corev1.Pod {
	t.Helper()
	list, err := h.Client.CoreV1().Pods(formerNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pods := map[string]corev1.Pod{}
	for _, p := range list.Items {
		pods[p.Name] = p
	}
	if len(pods) == 0 {
		t.Fatal("the saved host has no pods")
	}
	return pods
}

// saveCluster makes the files in testdata/before.
func saveCluster(t *testing.T) {
	h := embedded.PrivateHost(t)
	if _, err := h.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: formerNamespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c := &cluster{embedded.NewClusterIn(t, h, formerNamespace, t.TempDir(), "")}
	useAll(t, c)
	ctx, core := t.Context(), c.Virtual.CoreV1()
	m := metav1.ObjectMeta{Name: longName}
	if _, err := core.Secrets("a").Create(ctx, &corev1.Secret{ObjectMeta: m, StringData: map[string]string{"value": "one"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := core.PersistentVolumeClaims("a").Create(ctx, newClaim(longName), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.CreateService("a", longName, corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}})
	p := embedded.Pod(longName, nil)
	p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: longName}}}}
	c.CreatePod("a", p)
	c.CreatePod("a", embedded.Pod("gone", nil))
	c.Settled("a", longName)
	c.Settled("a", "gone")
	content, err := json.MarshalIndent(contentOf(t, c), "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata", "before", "objects.json"), append(content, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	// The cluster ends first: nothing changes on the host any more.
	if err := c.Process.End(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.Process = nil
	for name, dir := range map[string]string{"virtual.snapshot.gz": c.Dir, "host.snapshot.gz": h.Dir()} {
		save(t, dir, name)
	}
}

// save writes a snapshot without keys: those would be for everybody to read.
func save(t *testing.T, dir, name string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "snapshot")
	if _, errOut, code := porticod(t, "snapshot", "save", "--pki=false", dir, file); code != 0 {
		t.Fatalf("save: %s", errOut)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata", "before", name), packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// restored makes a data directory of a snapshot in testdata/before.
func restored(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "before", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	file, dir := filepath.Join(t.TempDir(), "snapshot"), t.TempDir()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errOut, code := porticod(t, "snapshot", "restore", file, dir); code != 0 {
		t.Fatalf("restore %s: %s", name, errOut)
	}
	return dir
}

func read(t *testing.T, name string, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "before", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}
