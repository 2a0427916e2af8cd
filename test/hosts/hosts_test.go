// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build hosts

package hosts

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"portico.dev/portico/test/embedded"
)

// TestTranslatedKinds: every verb of the kinds that the host has, and the objects
// that a pod brings along.
func TestTranslatedKinds(t *testing.T) {
	h := start(t)
	c := embedded.NewClusterOn(t, h)
	ctx := t.Context()
	c.CreateNamespace("a")
	core := c.Virtual.CoreV1()
	meta := metav1.ObjectMeta{Name: "o"}
	if _, err := core.Secrets("a").Create(ctx, &corev1.Secret{ObjectMeta: meta}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := embedded.Pod("o", nil)
	pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("5m")}
	pod.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "o"}}}}
	if _, err := core.Pods("a").Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Errorf("dry run: %v", err)
	}
	w, err := core.Pods("a").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	made := c.CreatePod("a", pod)
	if e := <-w.ResultChan(); e.Object.(*corev1.Pod).UID != made.UID {
		t.Errorf("the watch has %+v", e)
	}
	if _, err := c.Host.CoreV1().Secrets(c.Namespace).Get(ctx, c.HostName("a", "o"), metav1.GetOptions{}); err != nil {
		t.Errorf("the pod's Secret on the host: %v", err)
	}
	svc := c.CreateService("a", "o", corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal, Ports: []corev1.ServicePort{{Port: 80}}})
	if svc.Spec.ClusterIP == "" || svc.Spec.HealthCheckNodePort == 0 {
		t.Errorf("the Service has %+v", svc.Spec)
	}
	var claim corev1.PersistentVolumeClaim
	if err := json.Unmarshal([]byte(`{"metadata":{"name":"o"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}`), &claim); err != nil {
		t.Fatal(err)
	}
	if _, err := core.PersistentVolumeClaims("a").Create(ctx, &claim, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	label := []byte(`{"metadata":{"labels":{"x":"y"}}}`)
	for kind, err := range map[string]error{
		"patch a pod":     second(core.Pods("a").Patch(ctx, "o", types.StrategicMergePatchType, label, metav1.PatchOptions{})),
		"patch a service": second(core.Services("a").Patch(ctx, "o", types.MergePatchType, label, metav1.PatchOptions{})),
		"patch a claim":   second(core.PersistentVolumeClaims("a").Patch(ctx, "o", types.MergePatchType, label, metav1.PatchOptions{})),
		"resize a pod": second(core.Pods("a").Patch(ctx, "o", types.StrategicMergePatchType,
			[]byte(`{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"10m"}}}]}}`), metav1.PatchOptions{}, "resize")),
		"add a container": second(core.Pods("a").Patch(ctx, "o", types.StrategicMergePatchType,
			[]byte(`{"spec":{"ephemeralContainers":[{"name":"debug","image":"busybox"}]}}`), metav1.PatchOptions{}, "ephemeralcontainers")),
	} {
		if err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	found, err := core.Pods("a").List(ctx, metav1.ListOptions{LabelSelector: "x=y"})
	if err != nil || len(found.Items) != 1 || found.Items[0].UID != made.UID {
		t.Errorf("list: %v, %v", found.Items, err)
	}
	for kind, err := range map[string]error{
		"pod": core.Pods("a").Delete(ctx, "o", metav1.DeleteOptions{}), "service": core.Services("a").Delete(ctx, "o", metav1.DeleteOptions{}),
	} {
		if err != nil {
			t.Errorf("delete a %s: %v", kind, err)
		}
	}
	embedded.Eventually(t, "pod gone", func(ctx context.Context) (bool, string) {
		_, err := core.Pods("a").Get(ctx, "o", metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
	for text, want := range map[string]bool{"Host found": true, "the host lacks a part of the API": false} {
		if c.Process.Said(text) != want {
			t.Errorf("the log says %q: want %t\n%s", text, want, c.Process.Tail())
		}
	}
}

// warned collects the warnings of answers.
type warned struct{ texts []string }

func (w *warned) HandleWarningHeader(_ int, _, text string) { w.texts = append(w.texts, text) }

// TestFieldThatTheHostDoesNotTake: a feature is off on the host, as it is on hosts of
// before the feature, and on inside. The tenant is told of the field by name, as a
// warning or as a refusal.
func TestFieldThatTheHostDoesNotTake(t *testing.T) {
	h := start(t, "--feature-gates=HostnameOverride=false,ContainerRestartRules=false,NodeDeclaredFeatures=false")
	c := embedded.NewClusterOn(t, h)
	c.CreateNamespace("a")
	var w warned
	config := rest.CopyConfig(c.Config)
	config.WarningHandler = &w
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*corev1.PodSpec){
		"spec.hostnameOverride": func(s *corev1.PodSpec) { s.HostnameOverride = ptr.To("other") },
		"restartPolicyRules": func(s *corev1.PodSpec) {
			s.RestartPolicy = corev1.RestartPolicyNever
			s.Containers[0].RestartPolicy = ptr.To(corev1.ContainerRestartPolicyNever)
			s.Containers[0].RestartPolicyRules = []corev1.ContainerRestartRule{{
				Action: corev1.ContainerRestartRuleActionRestart, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{42}},
			}}
		},
	} {
		w.texts = nil
		pod := embedded.Pod("p", nil)
		change(&pod.Spec)
		_, err := client.CoreV1().Pods("a").Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		told := strings.Join(w.texts, "\n")
		if err != nil {
			told += err.Error()
		}
		if !strings.Contains(told, field) {
			t.Errorf("a pod with %s is answered with %v and warnings %q", field, err, w.texts)
		}
	}
}

// TestDevicesAreOfferedWhereTheHostHasThem, and otherwise the start names the version
// that has.
func TestDevicesAreOfferedWhereTheHostHasThem(t *testing.T) {
	const devices = "sync:\n  fromHost:\n    deviceClasses:\n      enabled: true\n  toHost:\n    resourceClaims:\n      enabled: true\n"
	h := start(t)
	_, err := h.Client.Discovery().ServerResourcesForGroupVersion("resource.k8s.io/v1")
	if apierrors.IsNotFound(err) {
		dir := t.TempDir()
		config := fmt.Sprintf("name: c1\nhost:\n  kubeconfig: %s\n  namespace: default\ndataDir: %s\nlisten: 127.0.0.1:0\n%s", h.KubeconfigPath(), dir, devices)
		if err := os.WriteFile(filepath.Join(dir, "portico.yaml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := embedded.Start(dir, "serve", nil, "serve", "--config", filepath.Join(dir, "portico.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		<-p.Done
		if !p.Said("resource.k8s.io/v1") {
			t.Errorf("the start says\n%s", p.Tail())
		}
		return
	}
	c := embedded.NewClusterWith(t, h, devices)
	if _, err := c.Virtual.ResourceV1().ResourceClaims("default").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("claims: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }
