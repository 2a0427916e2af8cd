// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"portico.dev/portico/test/embedded"
)

// sidecar is added to every pod by a webhook of the host: a container with a
// Secret of the operator's.
const sidecar = `[
	{"op":"add","path":"/spec/volumes/-","value":{"name":"mesh-identity","secret":{"secretName":"operators-mesh"}}},
	{"op":"add","path":"/spec/containers/-","value":{"name":"mesh","image":"mesh:1","volumeMounts":[{"name":"mesh-identity","mountPath":"/identity"}]}}
]`

// injectSidecars makes the host add a sidecar to the pods of a host namespace.
func injectSidecars(t *testing.T, c *embedded.Cluster) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
			http.Error(w, "no review", http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true, Patch: []byte(sidecar), PatchType: ptr.To(admissionv1.PatchTypeJSONPatch)}
		review.Request = nil
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(&review)
	}))
	t.Cleanup(server.Close)
	name := "sidecars-" + c.Namespace
	_, err := c.Host.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(), &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "sidecars.example.com", SideEffects: ptr.To(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL: &server.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: c.Namespace}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Host.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// The host gives every pod a sidecar with a Secret of the operator's. A tenant
// adds an ephemeral container that mounts the Secret's volume, or that shares the
// sidecar's processes and with them its files. Each is refused (422); one with
// the pod's own container is not.
func TestAttackEphemeralContainerGetsAtASidecar(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	injectSidecars(t, c)
	var pod *corev1.Pod
	embedded.Eventually(t, "a pod with a sidecar", func(ctx context.Context) (bool, string) {
		// The host's admission gets to know of a webhook in its own time.
		zero := int64(0)
		if err := c.Virtual.CoreV1().Pods("a").Delete(ctx, "p", metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil && !apierrors.IsNotFound(err) {
			return false, err.Error()
		}
		var err error
		pod, err = c.Virtual.CoreV1().Pods("a").Create(ctx, embedded.Pod("p", nil), metav1.CreateOptions{})
		return err == nil && len(pod.Spec.Containers) == 2, fmt.Sprint(err)
	})
	c.Settled("a", "p")
	attach := func(e corev1.EphemeralContainer) error {
		pod, err := c.Virtual.CoreV1().Pods("a").Get(t.Context(), "p", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		e.Name, e.Image = "debug", "busybox"
		pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, e)
		_, err = c.Virtual.CoreV1().Pods("a").UpdateEphemeralContainers(t.Context(), "p", pod, metav1.UpdateOptions{})
		return err
	}
	mount := corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{VolumeMounts: []corev1.VolumeMount{{Name: "mesh-identity", MountPath: "/stolen"}}}}
	if got := refusedFields(attach(mount)); got != "spec.ephemeralContainers[0].volumeMounts[0].name" {
		t.Errorf("mount: %s is refused", got)
	}
	if got := refusedFields(attach(corev1.EphemeralContainer{TargetContainerName: "mesh"})); got != "spec.ephemeralContainers[0].targetContainerName" {
		t.Errorf("processes: %s is refused", got)
	}
	if h := c.HostPod("a", "p"); len(h.Spec.EphemeralContainers) > 0 {
		t.Errorf("the host pod has %+v", h.Spec.EphemeralContainers)
	}
	if err := attach(corev1.EphemeralContainer{TargetContainerName: "main"}); err != nil {
		t.Errorf("a container next to the pod's own: %v", err)
	}
}
