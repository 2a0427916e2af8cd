// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"portico.dev/portico/test/embedded"
)

var dryRunAll = []string{metav1.DryRunAll}

// TestServerDryRun: a dry run of a translated kind is the host's, with its
// defaults and refusals, and leaves nothing there.
func TestServerDryRun(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	t.Run("a node port that is taken", c.dryRunOfATakenPort)
	t.Run("defaults of the host", c.dryRunWithDefaults)
	t.Run("updates and deletions", c.dryRunOfChanges)
}

// dryRunOfATakenPort compares the answers about a port that a Service of the
// host has.
func (c *cluster) dryRunOfATakenPort(t *testing.T) {
	ctx := t.Context()
	service := func(name string, port int32) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80), NodePort: port}},
		}}
	}
	hold, err := c.Host.CoreV1().Services(c.Namespace).Create(ctx, service("hold", 0), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	taken := hold.Spec.Ports[0].NodePort
	dry := metav1.CreateOptions{DryRun: dryRunAll}
	_, onHost := c.Host.CoreV1().Services(c.Namespace).Create(ctx, service("np", taken), dry)
	_, inside := c.Virtual.CoreV1().Services("a").Create(ctx, service("np", taken), dry)
	if !apierrors.IsInvalid(onHost) || !apierrors.IsInvalid(inside) || !strings.Contains(inside.Error(), "provided port is already allocated") {
		t.Errorf("on the host: %v; inside: %v", onHost, inside)
	}
	tried, err := c.Virtual.CoreV1().Services("a").Create(ctx, service("free", 0), dry)
	if err != nil || tried.Name != "free" || tried.Spec.ClusterIP == "" {
		t.Errorf("a port of the host's choice: %+v, %v", tried, err)
	}
	all, err := c.Host.CoreV1().Services(c.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all.Items {
		if strings.HasPrefix(s.Name, "free") || strings.HasPrefix(s.Name, "np") {
			t.Errorf("host has Service %s after a dry run", s.Name)
		}
	}
}

// dryRunWithDefaults: a LimitRange of the host namespace gives pods a limit.
// The pod names a Secret, which a dry run does not bring along.
func (c *cluster) dryRunWithDefaults(t *testing.T) {
	ctx := t.Context()
	if _, err := c.Host.CoreV1().LimitRanges(c.Namespace).Create(ctx, &corev1.LimitRange{
		ObjectMeta: metav1.ObjectMeta{Name: "limits"},
		Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
			Type: corev1.LimitTypeContainer, Default: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")},
		}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Virtual.CoreV1().Secrets("a").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "creds"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	before := c.hostObjects(t)
	pod := embedded.Pod("tried", nil)
	pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "creds"}}}}
	embedded.Eventually(t, "default of the host", func(ctx context.Context) (bool, string) { // its informer may be behind
		tried, err := c.Virtual.CoreV1().Pods("a").Create(ctx, pod, metav1.CreateOptions{DryRun: dryRunAll})
		if err != nil {
			t.Fatal(err)
		}
		return tried.Name == "tried" && tried.Spec.Containers[0].Resources.Limits.Memory().String() == "64Mi", fmt.Sprint(tried.Spec.Containers[0].Resources)
	})
	if diff := cmp.Diff(before, c.hostObjects(t)); diff != "" {
		t.Errorf("host objects (-before +after):\n%s", diff)
	}
	if _, err := c.Virtual.CoreV1().Pods("a").Get(ctx, "tried", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("pod after a dry run: %v", err)
	}
}

// hostObjects lists all that a pod could bring onto the host.
func (c *cluster) hostObjects(t *testing.T) []string {
	t.Helper()
	var names []string
	pods, err := c.Host.CoreV1().Pods(c.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := c.Host.CoreV1().Secrets(c.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	maps, err := c.Host.CoreV1().ConfigMaps(c.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range pods.Items {
		names = append(names, "pod "+o.Name)
	}
	for _, o := range secrets.Items {
		names = append(names, "secret "+o.Name)
	}
	for _, o := range maps.Items {
		names = append(names, "configmap "+o.Name)
	}
	return names
}

// dryRunOfChanges: neither the virtual nor the host object changes, and a
// change that the host does not allow is refused.
func (c *cluster) dryRunOfChanges(t *testing.T) {
	ctx := t.Context()
	pods := c.Virtual.CoreV1().Pods("a")
	c.CreatePod("a", embedded.Pod("there", map[string]string{"app": "there"}))
	c.Settled("a", "there")
	was := c.HostPod("a", "there")
	tried, err := pods.Patch(ctx, "there", types.MergePatchType, []byte(`{"metadata":{"labels":{"app":"other"}}}`), metav1.PatchOptions{DryRun: dryRunAll})
	if err != nil || tried.Labels["app"] != "other" {
		t.Errorf("patch: %v, %v", tried.Labels, err)
	}
	larger := []byte(`{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"10m"}}}]}}`)
	if tried, err = pods.Patch(ctx, "there", types.StrategicMergePatchType, larger, metav1.PatchOptions{DryRun: dryRunAll}, "resize"); err == nil {
		if got := tried.Spec.Containers[0].Resources.Requests.Cpu().String(); got != "10m" {
			t.Errorf("resize: %s", got)
		}
	}
	if err := pods.Delete(ctx, "there", metav1.DeleteOptions{DryRun: dryRunAll}); err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := pods.DeleteCollection(ctx, metav1.DeleteOptions{DryRun: dryRunAll}, metav1.ListOptions{}); err != nil {
		t.Errorf("delete a collection: %v", err)
	}
	now, err := pods.Get(ctx, "there", metav1.GetOptions{})
	if err != nil || now.Labels["app"] != "there" || now.DeletionTimestamp != nil {
		t.Errorf("pod after dry runs: %+v, %v", now.ObjectMeta, err)
	}
	if host := c.HostPod("a", "there"); host.ResourceVersion != was.ResourceVersion {
		t.Errorf("host pod changed: %s before, %s after", was.ResourceVersion, host.ResourceVersion)
	}
	claim := claimOf("tried", nil)
	if got, err := c.Virtual.CoreV1().PersistentVolumeClaims("a").Create(ctx, claim, metav1.CreateOptions{DryRun: dryRunAll}); err != nil || got.Name != "tried" {
		t.Errorf("claim: %v, %v", got, err)
	}
	if _, err := c.Virtual.CoreV1().PersistentVolumeClaims("a").Get(ctx, "tried", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("claim after a dry run: %v", err)
	}
}
