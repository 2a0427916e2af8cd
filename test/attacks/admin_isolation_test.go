// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"portico.dev/portico/test/embedded"
)

// heard are the warnings of all answers to a client.
type heard struct{ texts []string }

func (h *heard) HandleWarningHeader(_ int, _, text string) { h.texts = append(h.texts, text) }

// A tenant's administrator labels a namespace with pod-security.kubernetes.io/enforce=privileged,
// when it is made and later, and makes pods there that share the node's
// network, process ids and files, directly, as a debug container, and as kube-system's
// own. The operator's isolation allows baseline at most: each pod is refused
// before the host is asked, with the words of Pod Security, and a label that is
// stricter still holds.
func TestAttackLabelsBelowTheOperatorsPodSecurity(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), "isolation: {enabled: true}\n")
	warned, ctx := &heard{}, t.Context()
	config := rest.CopyConfig(c.Config)
	config.WarningHandler = warned
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	privileged := map[string]string{"pod-security.kubernetes.io/enforce": "privileged"}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "labelled", Labels: privileged}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(warned.texts) != 1 || !strings.Contains(warned.texts[0], "has no effect") {
		t.Errorf("warnings %q, want that the label has no effect", warned.texts)
	}
	c.CreateNamespace("a")
	c.CreateNamespace("strict")
	embedded.Eventually(t, "ServiceAccount of kube-system", func(ctx context.Context) (bool, string) {
		_, err := client.CoreV1().ServiceAccounts("kube-system").Get(ctx, "default", metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	for namespace, level := range map[string]string{"a": "privileged", "kube-system": "privileged", "strict": "restricted"} {
		label := fmt.Appendf(nil, `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":%q,"pod-security.kubernetes.io/enforce-version":"v1.0"}}}`, level)
		if _, err := client.CoreV1().Namespaces().Patch(ctx, namespace, types.MergePatchType, label, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}

	yes := true
	evil := map[string]func(*corev1.PodSpec){
		"host network": func(s *corev1.PodSpec) { s.HostNetwork = true },
		"host pid":     func(s *corev1.PodSpec) { s.HostPID = true },
		"privileged":   func(s *corev1.PodSpec) { s.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes} },
		"host path": func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
		},
	}
	for what, change := range evil {
		for _, namespace := range []string{"a", "kube-system"} {
			p := embedded.Pod("p", nil)
			change(&p.Spec)
			_, err := client.CoreV1().Pods(namespace).Create(ctx, p, metav1.CreateOptions{})
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `pods "p" is forbidden: violates PodSecurity "baseline:latest"`) {
				t.Errorf("%s in %s: %v, want the refusal of the operator's level", what, namespace, err)
			}
		}
	}
	if _, err := client.CoreV1().Pods("strict").Create(ctx, embedded.Pod("p", nil), metav1.CreateOptions{}); !apierrors.IsForbidden(err) ||
		!strings.Contains(err.Error(), "restricted:v1.0") {
		t.Errorf("a pod below the tenant's own level: %v", err)
	}

	c.CreatePod("a", embedded.Pod("plain", nil))
	c.Settled("a", "plain")
	debug := []byte(`{"spec":{"ephemeralContainers":[{"name":"d","image":"i","securityContext":{"privileged":true}}]}}`)
	_, err = client.CoreV1().Pods("a").Patch(ctx, "plain", types.StrategicMergePatchType, debug, metav1.PatchOptions{}, "ephemeralcontainers")
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "violates PodSecurity") {
		t.Errorf("a privileged debug container: %v", err)
	}
	hostPods, err := c.Host.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil || len(hostPods.Items) != 1 {
		t.Errorf("%d pods on the host, want the plain one (%v)", len(hostPods.Items), err)
	}
}

// The operator exempts the pods of a runtime class, whose containers are in a
// sandbox, from the Pod Security Standard. A tenant makes a class of that name,
// which has no effect on the host: the privileged pod would run there without a
// sandbox. A pod with such a class is refused (403) unless the class is the
// host's.
func TestAttackOwnClassUnderTheNameOfAnExemptOne(t *testing.T) {
	const isolation = "isolation: {enabled: true, podSecurityExemptions: {runtimeClasses: [sandboxed]}}\n"
	for reason, config := range map[string]string{
		"no classes are shown": isolation,
		"classes are shown":    isolation + "sync: {fromHost: {runtimeClasses: {enabled: true}}}\n",
	} {
		t.Run(reason, func(t *testing.T) {
			c, yes := embedded.NewClusterWith(t, embedded.SharedHost(t), config), true
			class := &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "sandboxed"}, Handler: "runc"}
			if _, err := c.Virtual.NodeV1().RuntimeClasses().Create(t.Context(), class, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			c.CreateNamespace("a")
			evil := embedded.Pod("p", nil)
			evil.Spec.RuntimeClassName = &class.Name
			evil.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
			embedded.Eventually(t, "an answer about the pod", func(ctx context.Context) (bool, string) {
				_, err := c.Virtual.CoreV1().Pods("a").Create(ctx, evil, metav1.CreateOptions{})
				switch {
				case err == nil:
					t.Error("the host has a privileged pod without a sandbox")
				case !apierrors.IsForbidden(err) || strings.Contains(err.Error(), "service account") || strings.Contains(err.Error(), "serviceaccount"):
					return false, err.Error()
				case !strings.Contains(err.Error(), "sandboxed") || !strings.Contains(err.Error(), "host"):
					t.Errorf("%v, want that the class is not the host's", err)
				}
				return true, ""
			})
		})
	}
}
