// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package tokens_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/tokens"
)

const hostNamespace = "team-a"

// harness is a manager between a fake virtual cluster that mints tokens and a fake host.
type harness struct {
	t             *testing.T
	virtual, host *fake.Clientset
	clock         *testingclock.FakeClock
	translator    *rewrite.Translator
	log           *lockedBuffer

	mu       sync.Mutex
	requests []authenticationv1.TokenRequestSpec
	refuse   error
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newTranslator(t *testing.T) *rewrite.Translator {
	t.Helper()
	tr, err := rewrite.New(rewrite.Cluster{Name: "vc", HostNamespace: hostNamespace})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func newHarness(t *testing.T, virtual, host []runtime.Object) *harness {
	t.Helper()
	h := &harness{
		t: t, virtual: fake.NewClientset(virtual...), host: fake.NewClientset(host...), log: &lockedBuffer{},
		clock: testingclock.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), translator: newTranslator(t),
	}
	h.virtual.PrependReactor("create", "serviceaccounts", h.mint)
	factory := informers.NewSharedInformerFactory(h.virtual, 0)
	m, err := tokens.New(tokens.Config{Translator: h.translator, Virtual: h.virtual, Informers: factory, Host: h.host, Clock: h.clock})
	if err != nil {
		t.Fatal(err)
	}
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(h.log), textlogger.Verbosity(10)))
	ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logger))
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		factory.Shutdown()
		if strings.Contains(h.log.String(), "token-value") {
			t.Errorf("a token is in the log:\n%s", h.log.String())
		}
	})
	return h
}

// mint answers a TokenRequest with a token that tells what it was asked for.
func (h *harness) mint(a clienttesting.Action) (bool, runtime.Object, error) {
	create, ok := a.(clienttesting.CreateAction)
	if !ok || a.GetSubresource() != "token" {
		return false, nil, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		return true, nil, h.refuse
	}
	request := create.GetObject().(*authenticationv1.TokenRequest).DeepCopy()
	h.requests = append(h.requests, request.Spec)
	life := time.Hour
	if request.Spec.ExpirationSeconds != nil {
		life = time.Duration(*request.Spec.ExpirationSeconds) * time.Second
	}
	request.Status = authenticationv1.TokenRequestStatus{
		Token:               fmt.Sprintf("token-value-%d-%s", len(h.requests), strings.Join(request.Spec.Audiences, ",")),
		ExpirationTimestamp: metav1.NewTime(h.clock.Now().Add(life)),
	}
	return true, request, nil
}

func (h *harness) setRefusal(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = err
}

func (h *harness) minted() []authenticationv1.TokenRequestSpec {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]authenticationv1.TokenRequestSpec(nil), h.requests...)
}

func pod(name string, uid types.UID) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: uid},
		Spec: corev1.PodSpec{
			NodeName:           "node-1",
			ServiceAccountName: "builder",
			Volumes: []corev1.Volume{{Name: "kube-api-access", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				Sources: []corev1.VolumeProjection{
					{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: ptr.To[int64](3607)}},
					{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "vault", Audience: "vault", ExpirationSeconds: ptr.To[int64](600)}},
				},
			}}}},
		},
	}
}

func (h *harness) createPod(p *corev1.Pod) {
	h.t.Helper()
	if _, err := h.virtual.CoreV1().Pods(p.Namespace).Create(h.t.Context(), p, metav1.CreateOptions{}); err != nil {
		h.t.Fatal(err)
	}
}

// secret waits until the token Secret of a pod satisfies want, letting step pass at each look.
func (h *harness) secret(name, what string, step time.Duration, want func(*corev1.Secret) bool) *corev1.Secret {
	h.t.Helper()
	var last *corev1.Secret
	err := wait.PollUntilContextTimeout(h.t.Context(), 5*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		h.clock.Step(step)
		s, err := h.host.CoreV1().Secrets(hostNamespace).Get(ctx, h.translator.TokenSecretName("default", name), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		last = s
		return err == nil && want(s), err
	})
	if err != nil {
		h.t.Fatalf("token secret of pod %q: waiting for %s: %v; last: %+v\n%s", name, what, err, last, h.log.String())
	}
	return last
}

func anySecret(*corev1.Secret) bool { return true }

// values are the tokens in a Secret by the path that the pod wants them at.
func values(p *corev1.Pod, s *corev1.Secret) map[string]string {
	out := map[string]string{}
	for _, projection := range rewrite.TokenProjections(p) {
		out[projection.Path] = string(s.Data[projection.Key])
	}
	return out
}

func TestTokensOfANewPod(t *testing.T) {
	h := newHarness(t, nil, nil)
	p := pod("web", "uid-1")
	h.createPod(p)
	s := h.secret("web", "a secret", 0, anySecret)

	got := values(p, s)
	if !strings.HasPrefix(got["token"], "token-value-") || !strings.HasSuffix(got["vault"], "-vault") {
		t.Errorf("tokens: %v", got)
	}
	if len(s.OwnerReferences) != 1 || s.OwnerReferences[0].UID != "uid-1" || s.OwnerReferences[0].Name != h.translator.Name("default", "web") {
		t.Errorf("the secret does not go with its pod: %+v", s.OwnerReferences)
	}
	if s.Labels[rewrite.LabelCluster] != "vc" || s.Labels[rewrite.LabelNamespace] != "default" {
		t.Errorf("the secret is not marked as ours: %v", s.Labels)
	}
	for key, value := range s.Annotations {
		if strings.Contains(value, "token-value") {
			t.Errorf("annotation %s holds a token", key)
		}
	}
	for _, r := range h.minted() {
		if r.BoundObjectRef == nil || r.BoundObjectRef.UID != "uid-1" || r.BoundObjectRef.Kind != "Pod" {
			t.Errorf("a token is not bound to its pod: %+v", r.BoundObjectRef)
		}
		if r.ExpirationSeconds == nil || *r.ExpirationSeconds <= 0 {
			t.Error("a token without expiry was asked for")
		}
	}
}

// What a token says about the node must be true when the kubelet mounts it.
func TestTokensWaitForTheNode(t *testing.T) {
	h := newHarness(t, nil, nil)
	p := pod("web", "uid-1")
	p.Spec.NodeName = ""
	h.createPod(p)
	h.createPod(pod("later", "uid-2"))
	h.secret("later", "a secret of a pod created after it", 0, anySecret)
	p.Spec.NodeName = "node-1"
	if _, err := h.virtual.CoreV1().Pods("default").Update(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.secret("web", "a secret", 0, anySecret)
	requests := h.minted()
	if first := requests[0].BoundObjectRef; first.Name != "later" {
		t.Errorf("the first token was asked for pod %s, want the one that was on a node first", first.Name)
	}
}

func TestPodWithoutTokensGetsNoSecret(t *testing.T) {
	plain := pod("plain", "uid-0")
	plain.Spec.Volumes = nil
	h := newHarness(t, []runtime.Object{plain, pod("web", "uid-1")}, nil)
	h.secret("web", "a secret", 0, anySecret)
	list, err := h.host.CoreV1().Secrets(hostNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("%d secrets on the host, want 1 (%v)", len(list.Items), err)
	}
}

// The token that lives ten minutes decides: it is renewed after eight.
func TestRenewalAtFourFifthsOfLife(t *testing.T) {
	p := pod("web", "uid-1")
	h := newHarness(t, []runtime.Object{p}, nil)
	first := h.secret("web", "a secret", 0, anySecret)
	start := h.clock.Now()
	second := h.secret("web", "a renewed token", 10*time.Second, func(s *corev1.Secret) bool {
		return values(p, s)["vault"] != values(p, first)["vault"]
	})
	if passed := h.clock.Now().Sub(start); passed < 8*time.Minute {
		t.Errorf("renewed after %v", passed)
	}
	if values(p, second)["token"] == values(p, first)["token"] {
		t.Error("the pod's tokens are renewed together")
	}
}

// A restart must not mint new tokens for every pod, which would be a burst on both API servers.
func TestRestartKeepsTokens(t *testing.T) {
	p := pod("web", "uid-1")
	h := newHarness(t, []runtime.Object{p}, nil)
	s := h.secret("web", "a secret", 0, anySecret)

	again := newHarness(t, []runtime.Object{p, pod("marker", "uid-2")}, []runtime.Object{s})
	again.secret("marker", "a secret", 0, anySecret)
	for _, r := range again.minted() {
		if r.BoundObjectRef.Name == "web" {
			t.Error("the restart minted new tokens")
		}
	}
	// And it still knows when they are due.
	again.secret("web", "a renewed token", 10*time.Second, func(n *corev1.Secret) bool {
		return n.Annotations["portico.dev/renew-at"] != s.Annotations["portico.dev/renew-at"]
	})
}

// A StatefulSet's next pod has the name of the last one, and its Secret may still be there.
func TestSecretOfAnEarlierPodIsReplaced(t *testing.T) {
	p := pod("web-0", "uid-1")
	h := newHarness(t, []runtime.Object{p}, nil)
	old := h.secret("web-0", "a secret", 0, anySecret)
	if err := h.virtual.CoreV1().Pods("default").Delete(t.Context(), "web-0", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.createPod(pod("web-0", "uid-2"))
	s := h.secret("web-0", "the new pod's secret", 0, func(s *corev1.Secret) bool {
		return len(s.OwnerReferences) == 1 && s.OwnerReferences[0].UID == "uid-2"
	})
	if values(p, s)["token"] == values(p, old)["token"] {
		t.Error("the new pod has the old pod's token")
	}
	deleted := false
	for _, a := range h.host.Actions() {
		deleted = deleted || a.Matches("delete", "secrets")
	}
	if !deleted {
		t.Error("the old secret was changed rather than replaced: the garbage collector may still delete it")
	}
}

func TestDeletedSecretComesBack(t *testing.T) {
	h := newHarness(t, []runtime.Object{pod("web", "uid-1")}, nil)
	h.secret("web", "a secret", 0, anySecret)
	if err := h.host.CoreV1().Secrets(hostNamespace).Delete(t.Context(), h.translator.TokenSecretName("default", "web"), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.secret("web", "a secret again", 0, anySecret)
}

func TestFinishedPodsAreLeftAlone(t *testing.T) {
	done, going := pod("done", "uid-1"), pod("going", "uid-2")
	done.Status.Phase = corev1.PodSucceeded
	now := metav1.Now()
	going.DeletionTimestamp, going.Finalizers = &now, []string{"example.com/f"}
	h := newHarness(t, []runtime.Object{done, going, pod("web", "uid-3")}, nil)
	h.secret("web", "a secret", 0, anySecret)
	for _, r := range h.minted() {
		if r.BoundObjectRef.Name != "web" {
			t.Errorf("a token was minted for pod %q", r.BoundObjectRef.Name)
		}
	}
}

func TestRefusedTokenIsTriedAgain(t *testing.T) {
	h := newHarness(t, nil, nil)
	h.setRefusal(errors.New("no service account yet"))
	h.createPod(pod("web", "uid-1"))
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		return strings.Contains(h.log.String(), "no service account yet"), nil
	})
	if err != nil {
		t.Fatal("the refusal was not reported")
	}
	h.setRefusal(nil)
	h.secret("web", "a secret", time.Second, anySecret)
}

// --- attacks ---

func TestForeignSecretUnderTheNameIsNotTouched(t *testing.T) {
	tr := newTranslator(t)
	foreign := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: tr.TokenSecretName("default", "web")},
		Data:       map[string][]byte{"value": []byte("the host's")},
	}
	h := newHarness(t, []runtime.Object{pod("web", "uid-1"), pod("other", "uid-2")}, []runtime.Object{foreign})
	h.secret("other", "a secret", 0, anySecret)
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		return strings.Contains(h.log.String(), "not ours"), nil
	})
	if err != nil {
		t.Fatal("the clash was not reported")
	}
	s := h.secret("web", "the foreign secret", 0, anySecret)
	if string(s.Data["value"]) != "the host's" || len(s.Data) != 1 {
		t.Errorf("the foreign secret was changed: %v", s.Data)
	}
}

// A tenant's Secret whose host name could be that of a token Secret would let the tenant hand tokens to its pods.
func TestNoTenantSecretHasTheNameOfATokenSecret(t *testing.T) {
	tr := newTranslator(t)
	token := tr.TokenSecretName("default", "web")
	for _, name := range []string{"web", "web-token", strings.TrimSuffix(token, "-x-default-x-vc"), token} {
		if got := tr.Name("default", name); got == token {
			t.Errorf("the tenant's secret %q is called %q on the host", name, got)
		}
	}
}
