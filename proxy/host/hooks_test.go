// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"portico.dev/portico/proxy/hooks"
	"portico.dev/portico/proxy/host"
)

// hookedFixture is a fixture with one hook, whose answer to everything is patch.
func hookedFixture(t *testing.T, patch string, back bool) (f *fixture, last *atomic.Pointer[admissionv1.AdmissionRequest]) {
	t.Helper()
	last = &atomic.Pointer[admissionv1.AdmissionRequest]{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		review := &admissionv1.AdmissionReview{}
		if err := json.NewDecoder(r.Body).Decode(review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		last.Store(review.Request)
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true, Patch: []byte(patch), PatchType: ptr.To(admissionv1.PatchTypeJSONPatch)}
		review.Request = nil
		_ = json.NewEncoder(w).Encode(review) // the caller's error says the same
	}))
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	made, err := hooks.New(newTranslator(t), []hooks.Config{{
		Name: "operators", URL: server.URL, CAFile: ca, Timeout: 5 * time.Second, Resources: []string{"pods"}, Back: back,
		Operations: []admissionv1.Operation{admissionv1.Create, admissionv1.Update},
	}}, nil, clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	return newFixture(t, "pods", func(c *host.Config) { c.Hooks = made }), last
}

func TestHookChangesTheHostObject(t *testing.T) {
	f, last := hookedFixture(t, `[{"op":"add","path":"/metadata/annotations/cost","value":"7"},{"op":"replace","path":"/spec/containers/0/image","value":"mirror/app"}]`, false)
	pod := f.create(newPod("demo", "web"))
	h := f.host.get("pods", hostWeb)
	if md(h)["annotations"].(tree)["cost"] != "7" || pod.Spec.Containers[0].Image != "mirror/app" {
		t.Errorf("the host has %v, and the tenant sees %v", h, pod.Spec.Containers)
	}
	if r := last.Load(); r.Operation != admissionv1.Create || *r.DryRun || r.Name != hostWeb {
		t.Errorf("the review of a creation is %v", r)
	}
	f.mustUpdate(as(t.Context(), ""), pod, func(p *corev1.Pod) { p.Labels["touched"] = "yes" })
	if r := last.Load(); r.Operation != admissionv1.Update || len(r.OldObject.Raw) == 0 {
		t.Errorf("the review of an update is %v", r)
	}
	other := newPod("demo", "other")
	if err := f.Create(host.WithDryRun(t.Context()), podKey(other), other, &corev1.Pod{}, 0); err != nil || !*last.Load().DryRun {
		t.Errorf("a dry run: %v, %v", err, last.Load())
	}
}

// Attack: a hook takes a pod out of its cluster. Nothing is written, and the
// answer names the field, without the host's names.
func TestAttackHookTakesAPodOutOfItsCluster(t *testing.T) {
	f, _ := hookedFixture(t, `[{"op":"replace","path":"/metadata/labels/portico.dev~1cluster","value":"theirs"}]`, false)
	pod := newPod("demo", "web")
	err := f.Create(t.Context(), podKey(pod), pod, &corev1.Pod{}, 0)
	if err == nil || !strings.Contains(err.Error(), "metadata.labels[portico.dev/cluster]") || strings.Contains(err.Error(), hostWeb) {
		t.Errorf("got %v", err)
	}
	if w := f.host.writes(); len(w) > 0 {
		t.Errorf("the host got %v", w)
	}
}

// A hook on the way back changes the look of a pod. Its changes are nobody's wish:
// an update that writes them back takes nothing of them to the host.
func TestLooksDoNotReachTheHost(t *testing.T) {
	f, _ := hookedFixture(t, `[{"op":"add","path":"/metadata/annotations","value":{"look":"nice"}},{"op":"replace","path":"/spec/containers/0/image","value":"shown"}]`, true)
	pod := f.create(newPod("demo", "web"))
	if pod.Annotations["look"] != "nice" || pod.Spec.Containers[0].Image != "shown" {
		t.Fatalf("the pod is shown as %v", pod)
	}
	f.mustUpdate(as(t.Context(), ""), pod, func(p *corev1.Pod) { p.Labels["touched"] = "yes" })
	h, err := json.Marshal(f.host.get("pods", hostWeb))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(h); strings.Contains(text, "nice") || strings.Contains(text, "shown") || !strings.Contains(text, `"touched":"yes"`) {
		t.Errorf("the host has %s", text)
	}
}

// The end of a deletion writes the pod too, where finalizers held it. The host
// keeps it here, by a finalizer of its own, and no look comes with it.
func TestLooksOfADeletedPodDoNotReachTheHost(t *testing.T) {
	f, _ := hookedFixture(t, `[{"op":"add","path":"/metadata/annotations","value":{"look":"nice"}}]`, true)
	pod := newPod("demo", "web")
	pod.Finalizers = []string{"example.com/a"}
	pod = f.mustUpdate(as(t.Context(), ""), f.create(pod), begin(0))
	f.host.edit("pods", hostWeb, func(h tree) { md(h)["finalizers"] = append(finalizers(h), "host.example.com/slow") })
	if err := f.Delete(t.Context(), podKey(pod), &corev1.Pod{}, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h := f.host.get("pods", hostWeb)
	if got := finalizers(h); len(got) != 1 || got[0] != "host.example.com/slow" {
		t.Fatalf("finalizers on the host: %v", got)
	}
	if look, there := md(h)["annotations"].(tree)["look"]; there {
		t.Errorf("the host has the look %v", look)
	}
}
