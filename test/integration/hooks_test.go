// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"portico.dev/portico/test/embedded"
)

// newHook starts a hook of the operator's, and returns its address and the file
// with its authority.
func newHook(t *testing.T, answer func(*admissionv1.AdmissionRequest, *admissionv1.AdmissionResponse)) (url, ca string) {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		review := &admissionv1.AdmissionReview{}
		if err := json.NewDecoder(r.Body).Decode(review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		answer(review.Request, review.Response)
		review.Request = nil
		_ = json.NewEncoder(w).Encode(review) // the tenant's error says the same
	}))
	t.Cleanup(s.Close)
	ca = filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s.URL, ca
}

// An operator's hook changes what the host gets, and refuses, on a dry run too. An answer that would
// take an object out of its cluster writes nothing.
func TestHooks(t *testing.T) {
	url, ca := newHook(t, func(r *admissionv1.AdmissionRequest, a *admissionv1.AdmissionResponse) {
		var o metav1.PartialObjectMetadata
		if err := json.Unmarshal(r.Object.Raw, &o); err != nil {
			a.Allowed = false
			return
		}
		key := "cost"
		switch o.Annotations["portico.dev/name"] {
		case "refused":
			a.Allowed, a.Result = false, &metav1.Status{Code: http.StatusForbidden, Message: "no room for " + r.Name}
			return
		case "taken":
			key = "portico.dev~1kind"
		}
		a.Patch, a.PatchType = fmt.Appendf(nil, `[{"op":"add","path":"/metadata/annotations/%s","value":"7"}]`, key), ptr.To(admissionv1.PatchTypeJSONPatch)
	})
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), withIngresses+fmt.Sprintf(`hooks:
- {name: costs, url: %q, caFile: %q, kinds: [pods, services, persistentvolumeclaims, ingresses]}
`, url, ca))
	ctx := t.Context()
	c.CreateNamespace("a")
	c.CreatePod("a", embedded.Pod("p", nil))
	if got := c.HostPod("a", "p").Annotations["cost"]; got != "7" {
		t.Errorf("the host's pod costs %q", got)
	}
	c.CreateService("a", "s", corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}})
	s, err := c.Host.CoreV1().Services(c.Namespace).Get(ctx, c.HostName("a", "s"), metav1.GetOptions{})
	if err != nil || s.Annotations["cost"] != "7" {
		t.Errorf("the host's Service: %v, %v", s.Annotations, err)
	}
	if _, err := c.Virtual.NetworkingV1().Ingresses("a").Create(ctx, shopIngress("i", "app.team-a.example.com"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "changed Ingress on the host", func(ctx context.Context) (bool, string) {
		var i *networkingv1.Ingress
		if i, err = c.Host.NetworkingV1().Ingresses(c.Namespace).Get(ctx, c.HostName("a", "i"), metav1.GetOptions{}); err != nil {
			return false, err.Error()
		}
		return i.Annotations["cost"] == "7", fmt.Sprint(i.Annotations)
	})

	pods := c.Virtual.CoreV1().Pods("a")
	for _, dryRun := range [][]string{nil, {metav1.DryRunAll}} {
		_, err = pods.Create(ctx, embedded.Pod("refused", nil), metav1.CreateOptions{DryRun: dryRun})
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "no room for") || strings.Contains(err.Error(), c.HostName("a", "refused")) {
			t.Errorf("with dry run %v, a refusal is %v", dryRun, err)
		}
	}
	_, err = pods.Create(ctx, embedded.Pod("taken", nil), metav1.CreateOptions{})
	if !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), "metadata.annotations[portico.dev/kind]") {
		t.Errorf("an unlawful answer is %v", err)
	}
	for _, name := range []string{"refused", "taken"} {
		if _, err := c.Host.CoreV1().Pods(c.Namespace).Get(ctx, c.HostName("a", name), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("pod %s on the host: %v", name, err)
		}
	}
}
