// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package hooks_test

import (
	"context"
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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"portico.dev/portico/proxy/hooks"
	"portico.dev/portico/rewrite"
)

// server is a hook. answer gets the request, and fills the response.
type server struct {
	*httptest.Server
	ca     string
	calls  atomic.Int64
	answer atomic.Pointer[func(*admissionv1.AdmissionRequest, *admissionv1.AdmissionResponse)]
}

func newServer(t *testing.T, answer func(*admissionv1.AdmissionRequest, *admissionv1.AdmissionResponse)) *server {
	t.Helper()
	s := &server{}
	s.answer.Store(&answer)
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		review := &admissionv1.AdmissionReview{}
		if err := json.NewDecoder(r.Body).Decode(review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		(*s.answer.Load())(review.Request, review.Response)
		review.Request = nil
		_ = json.NewEncoder(w).Encode(review) // the client's error says the same
	}))
	t.Cleanup(s.Close)
	s.ca = filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func patch(p string) func(*admissionv1.AdmissionRequest, *admissionv1.AdmissionResponse) {
	return func(_ *admissionv1.AdmissionRequest, r *admissionv1.AdmissionResponse) {
		r.Patch, r.PatchType = []byte(p), ptr.To(admissionv1.PatchTypeJSONPatch)
	}
}

func newLaws(t *testing.T) *rewrite.Translator {
	t.Helper()
	tr, err := rewrite.New(rewrite.Cluster{Name: "vc", HostNamespace: "team-a"})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func hostPod(t *testing.T) *corev1.Pod {
	t.Helper()
	h, err := newLaws(t).PodToHost(&corev1.Pod{
		// A time of this process has fractions of a second, and none in JSON.
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "web", CreationTimestamp: metav1.NewTime(time.Unix(7, 5))},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "nginx"}}},
	}, rewrite.Inputs{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func object() hooks.Object {
	gv := corev1.SchemeGroupVersion
	return hooks.Object{
		Kind: gv.WithKind("Pod"), Resource: gv.WithResource("pods"), Operation: admissionv1.Create,
		Virtual: types.NamespacedName{Namespace: "demo", Name: "web"}, User: "alice",
	}
}

func newHooks(t *testing.T, s *server, clock *testclock.FakePassiveClock, change func(*hooks.Config)) *hooks.Hooks {
	t.Helper()
	c := hooks.Config{
		Name: "images", URL: s.URL + "/pods", CAFile: s.ca, Timeout: 5 * time.Second,
		Resources: []string{"pods"}, Operations: []admissionv1.Operation{admissionv1.Create},
	}
	if change != nil {
		change(&c)
	}
	if clock == nil {
		clock = testclock.NewFakePassiveClock(time.Unix(1, 0))
	}
	h, err := hooks.New(newLaws(t), []hooks.Config{c}, nil, clock)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHookChangesAndRefuses(t *testing.T) {
	const image = `[{"op":"replace","path":"/spec/containers/0/image","value":"mirror/nginx"}]`
	broken := func(_ *admissionv1.AdmissionRequest, r *admissionv1.AdmissionResponse) { r.UID = "another" }
	for _, tc := range []struct {
		reason string
		answer func(*admissionv1.AdmissionRequest, *admissionv1.AdmissionResponse)
		change func(*hooks.Config)
		image  string // of the object afterwards; empty: it is refused
		says   string
		code   int32
	}{
		{reason: "a change is used", answer: patch(image), image: "mirror/nginx"},
		{reason: "no change is none", answer: func(*admissionv1.AdmissionRequest, *admissionv1.AdmissionResponse) {}, image: "nginx"},
		{reason: "another operation is not shown", answer: patch(image), image: "nginx", change: func(c *hooks.Config) { c.Operations = []admissionv1.Operation{admissionv1.Update} }},
		{reason: "another kind is not shown", answer: patch(image), image: "nginx", change: func(c *hooks.Config) { c.Resources = []string{"services"} }},
		{reason: "a refusal is the tenant's answer", code: 403, says: `admission webhook "images" denied the request: no`, answer: func(_ *admissionv1.AdmissionRequest, r *admissionv1.AdmissionResponse) {
			r.Allowed, r.Result = false, &metav1.Status{Message: "no", Code: 403}
		}},
		{reason: "a refusal is no failure", code: 403, says: "denied", change: func(c *hooks.Config) { c.Ignore = true }, answer: func(_ *admissionv1.AdmissionRequest, r *admissionv1.AdmissionResponse) {
			r.Allowed, r.Result = false, &metav1.Status{Code: 403}
		}},
		{reason: "an answer to another question", answer: broken, code: 500, says: `the hook "images" of this cluster's operator cannot be asked`},
		{reason: "an answer to another question, ignored", answer: broken, change: func(c *hooks.Config) { c.Ignore = true }, image: "nginx"},
		{reason: "a patch that does not apply", answer: patch(`[{"op":"remove","path":"/spec/nothing"}]`), code: 500, says: "cannot be asked"},
		{reason: "a field that nobody knows", answer: patch(`[{"op":"add","path":"/spec/imaginary","value":1}]`), code: 500, says: "cannot be asked"},
		{reason: "the service account", answer: patch(`[{"op":"replace","path":"/spec/serviceAccountName","value":"admin"}]`), code: 500, says: "spec.serviceAccountName"},
		{reason: "an unlawful change is not ignored", answer: patch(`[{"op":"remove","path":"/metadata/labels/portico.dev~1cluster"}]`), change: func(c *hooks.Config) { c.Ignore = true }, code: 500, says: "metadata.labels[portico.dev/cluster]"},
		{reason: "another server", answer: patch(image), change: func(c *hooks.Config) { c.CAFile = "" }, code: 500, says: "cannot be asked"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			h := newHooks(t, newServer(t, tc.answer), nil, tc.change)
			before := hostPod(t)
			got, err := h.ToHost(t.Context(), object(), before)
			if tc.image != "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				if image := got.(*corev1.Pod).Spec.Containers[0].Image; image != tc.image {
					t.Errorf("the image is %s, want %s", image, tc.image)
				}
				if before.Spec.Containers[0].Image != "nginx" {
					t.Error("the shown object itself has changed")
				}
				return
			}
			var status apierrors.APIStatus
			if status, _ = err.(apierrors.APIStatus); status == nil {
				t.Fatalf("got %v, %v, want a Status", got, err)
			}
			if s := status.Status(); s.Code != tc.code || !strings.Contains(s.Message, tc.says) {
				t.Errorf("got %d %q, want %d with %q", s.Code, s.Message, tc.code, tc.says)
			}
		})
	}
}

func TestReviewSaysWhoAndWhat(t *testing.T) {
	seen := make(chan *admissionv1.AdmissionRequest, 1)
	s := newServer(t, func(r *admissionv1.AdmissionRequest, _ *admissionv1.AdmissionResponse) { seen <- r })
	h := newHooks(t, s, nil, func(c *hooks.Config) { c.Operations = []admissionv1.Operation{admissionv1.Update} })
	o := object()
	o.Operation, o.DryRun, o.Old = admissionv1.Update, true, hostPod(t)
	if _, err := h.ToHost(t.Context(), o, hostPod(t)); err != nil {
		t.Fatal(err)
	}
	r := <-seen
	if r.Kind.Kind != "Pod" || r.Namespace != "team-a" || r.Name != hostPod(t).Name || r.Operation != admissionv1.Update ||
		!*r.DryRun || r.UserInfo.Username != "alice" {
		t.Errorf("the review is %+v", r)
	}
	var pod corev1.Pod
	for _, raw := range [][]byte{r.Object.Raw, r.OldObject.Raw} {
		if err := json.Unmarshal(raw, &pod); err != nil || pod.Kind != "Pod" || pod.Annotations[rewrite.AnnotationName] != "web" {
			t.Errorf("an object of the review is %s (%v)", raw, err)
		}
	}
}

// Attack: a hook, or a server that has its address, leads porticod elsewhere.
func TestAttackHookRedirects(t *testing.T) {
	var elsewhere atomic.Int64
	other := newServer(t, func(*admissionv1.AdmissionRequest, *admissionv1.AdmissionResponse) { elsewhere.Add(1) })
	s := newServer(t, func(*admissionv1.AdmissionRequest, *admissionv1.AdmissionResponse) {})
	s.Config.Handler = http.RedirectHandler(other.URL, http.StatusTemporaryRedirect)
	h := newHooks(t, s, nil, nil)
	_, err := h.ToHost(t.Context(), object(), hostPod(t))
	if !apierrors.IsInternalError(err) || strings.Contains(err.Error(), other.URL) || strings.Contains(err.Error(), s.URL) {
		t.Errorf("got %v, want a failure without an address", err)
	}
	if elsewhere.Load() != 0 {
		t.Error("the redirect was followed")
	}
}

func TestCopyIsAskedForOnce(t *testing.T) {
	s := newServer(t, patch(`[{"op":"replace","path":"/spec/containers/0/image","value":"mirror/nginx"}]`))
	h := newHooks(t, s, nil, nil)
	for range 3 {
		got, err := h.Copy(t.Context(), object(), hostPod(t))
		if err != nil || got.(*corev1.Pod).Spec.Containers[0].Image != "mirror/nginx" {
			t.Fatalf("got %v, %v", got, err)
		}
	}
	if n := s.calls.Load(); n != 1 {
		t.Errorf("the hook was asked %d times about one copy", n)
	}
	other := hostPod(t)
	other.Spec.Containers[0].Image = "httpd"
	if _, err := h.Copy(t.Context(), object(), other); err != nil || s.calls.Load() != 2 {
		t.Errorf("a copy that has changed: %v, %d calls", err, s.calls.Load())
	}
}

func TestWayBackAlwaysShows(t *testing.T) {
	shown := func(uid, rv string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "web", UID: types.UID(uid), ResourceVersion: rv},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "mirror/nginx"}}},
		}
	}
	image := patch(`[{"op":"replace","path":"/spec/containers/0/image","value":"nginx"}]`)
	s := newServer(t, image)
	clock := testclock.NewFakePassiveClock(time.Unix(1, 0))
	h := newHooks(t, s, clock, func(c *hooks.Config) { c.Back = true })
	if !h.Shows("pods") || h.Shows("services") {
		t.Error("the hook is not for the kinds that it is for")
	}
	look := func(p *corev1.Pod) string {
		return h.ToVirtual(t.Context(), object(), p).(*corev1.Pod).Spec.Containers[0].Image
	}
	if got := look(shown("a", "1")); got != "nginx" {
		t.Errorf("shown as %s", got)
	}
	if look(shown("a", "1")); s.calls.Load() != 1 {
		t.Errorf("the hook was asked %d times about one revision", s.calls.Load())
	}
	// A hook that refuses hides nothing, and is left alone for a while.
	refuse := func(_ *admissionv1.AdmissionRequest, r *admissionv1.AdmissionResponse) { r.Allowed = false }
	s.answer.Store(&refuse)
	if got := look(shown("a", "2")); got != "mirror/nginx" {
		t.Errorf("shown as %s", got)
	}
	s.answer.Store(&image)
	if got := look(shown("a", "3")); got != "mirror/nginx" || s.calls.Load() != 2 {
		t.Errorf("shown as %s after %d calls", got, s.calls.Load())
	}
	clock.SetTime(clock.Now().Add(time.Minute))
	if got := look(shown("a", "4")); got != "nginx" {
		t.Errorf("shown as %s, after the rest", got)
	}
	// Attack: the address decides whom the door dials.
	address := patch(`[{"op":"add","path":"/status/podIP","value":"169.254.169.254"}]`)
	s.answer.Store(&address)
	if got := h.ToVirtual(context.WithoutCancel(t.Context()), object(), shown("b", "1")).(*corev1.Pod); got.Status.PodIP != "" {
		t.Errorf("the door would dial %s", got.Status.PodIP)
	}
}
