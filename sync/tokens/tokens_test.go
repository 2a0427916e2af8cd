// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package tokens_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/tokens"
)

// fixture is a controller between a fake virtual cluster that mints tokens and a
// fake host.
type fixture struct {
	*harness.Harness
	log *lockedBuffer

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

func start(t *testing.T, virtual, host []runtime.Object) *fixture {
	t.Helper()
	h := &fixture{Harness: harness.New(t, virtual, host), log: &lockedBuffer{}}
	h.Virtual.PrependReactor("create", "serviceaccounts", h.mint)
	c, err := tokens.New(tokens.Config{Translator: h.Translator, Virtual: h.Virtual, Informers: h.Informers, Host: h.Host, Clock: h.Clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the loop has ended
		if strings.Contains(h.log.String(), "token-value") {
			t.Errorf("a token is in the log:\n%s", h.log.String())
		}
	})
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(h.log), textlogger.Verbosity(10)))
	h.RunWith(klog.NewContext(t.Context(), logger), c.Run)
	return h
}

// mint answers a TokenRequest with a token that has the request in it.
func (h *fixture) mint(a clienttesting.Action) (bool, runtime.Object, error) {
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
		ExpirationTimestamp: metav1.NewTime(h.Clock.Now().Add(life)),
	}
	return true, request, nil
}

func (h *fixture) setRefusal(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = err
}

func (h *fixture) minted() []authenticationv1.TokenRequestSpec {
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

func (h *fixture) createPod(p *corev1.Pod) {
	h.T.Helper()
	if _, err := h.Virtual.CoreV1().Pods(p.Namespace).Create(h.T.Context(), p, metav1.CreateOptions{}); err != nil {
		h.T.Fatal(err)
	}
}

// secret waits until the token Secret of a pod satisfies want, letting step
// pass at each look.
func (h *fixture) secret(name, what string, step time.Duration, want func(*corev1.Secret) bool) *corev1.Secret {
	h.T.Helper()
	return h.wait(fmt.Sprintf("token secret of pod %q: %s", name, what), h.Translator.TokenSecretName("default", name), step, want)
}

// named is secret for one host name.
func (h *fixture) named(hostName string, step time.Duration, want func(*corev1.Secret) bool) *corev1.Secret {
	h.T.Helper()
	return h.wait("host secret "+hostName, hostName, step, want)
}

func (h *fixture) wait(what, hostName string, step time.Duration, want func(*corev1.Secret) bool) *corev1.Secret {
	h.T.Helper()
	var last *corev1.Secret
	h.Eventually(what, func(ctx context.Context) (bool, any) {
		h.Clock.Step(step)
		s, err := h.Host.CoreV1().Secrets(harness.HostNamespace).Get(ctx, hostName, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		last = s
		return want(s), s
	})
	return last
}

// logged waits until the log says so.
func (h *fixture) logged(text string) {
	h.T.Helper()
	h.Eventually("a line in the log with "+text, func(context.Context) (bool, any) {
		log := h.log.String()
		return strings.Contains(log, text), log
	})
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
	h := start(t, nil, nil)
	p := pod("web", "uid-1")
	h.createPod(p)
	s := h.secret("web", "a secret", 0, anySecret)

	got := values(p, s)
	if !strings.HasPrefix(got["token"], "token-value-") || !strings.HasSuffix(got["vault"], "-vault") {
		t.Errorf("tokens: %v", got)
	}
	if len(s.OwnerReferences) != 1 || s.OwnerReferences[0].UID != "uid-1" || s.OwnerReferences[0].Name != h.Translator.Name("default", "web") {
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

// The node in a token must be the right one when the kubelet mounts it.
func TestTokensWaitForTheNode(t *testing.T) {
	h := start(t, nil, nil)
	p := pod("web", "uid-1")
	p.Spec.NodeName = ""
	h.createPod(p)
	h.createPod(pod("later", "uid-2"))
	h.secret("later", "a secret of a pod created after it", 0, anySecret)
	p.Spec.NodeName = "node-1"
	if _, err := h.Virtual.CoreV1().Pods("default").Update(t.Context(), p, metav1.UpdateOptions{}); err != nil {
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
	h := start(t, []runtime.Object{plain, pod("web", "uid-1")}, nil)
	h.secret("web", "a secret", 0, anySecret)
	list, err := h.Host.CoreV1().Secrets(harness.HostNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("%d secrets on the host, want 1 (%v)", len(list.Items), err)
	}
}

// The token that lives ten minutes decides: it is renewed after eight.
func TestRenewalAtFourFifthsOfLife(t *testing.T) {
	p := pod("web", "uid-1")
	h := start(t, []runtime.Object{p}, nil)
	first := h.secret("web", "a secret", 0, anySecret)
	start := h.Clock.Now()
	second := h.secret("web", "a renewed token", 10*time.Second, func(s *corev1.Secret) bool {
		return values(p, s)["vault"] != values(p, first)["vault"]
	})
	if passed := h.Clock.Now().Sub(start); passed < 8*time.Minute {
		t.Errorf("renewed after %v", passed)
	}
	if values(p, second)["token"] == values(p, first)["token"] {
		t.Error("the pod's tokens are renewed together")
	}
}

// A restart must not mint new tokens for every pod, which would be a burst on
// both API servers.
func TestRestartKeepsTokens(t *testing.T) {
	p := pod("web", "uid-1")
	h := start(t, []runtime.Object{p}, nil)
	s := h.secret("web", "a secret", 0, anySecret)

	again := start(t, []runtime.Object{p, pod("marker", "uid-2")}, []runtime.Object{s})
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

// A StatefulSet's next pod has the name of the last one, and its Secret may
// still be there.
func TestSecretOfAnEarlierPodIsReplaced(t *testing.T) {
	p := pod("web-0", "uid-1")
	h := start(t, []runtime.Object{p}, nil)
	old := h.secret("web-0", "a secret", 0, anySecret)
	if err := h.Virtual.CoreV1().Pods("default").Delete(t.Context(), "web-0", metav1.DeleteOptions{}); err != nil {
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
	for _, a := range h.Host.Actions() {
		deleted = deleted || a.Matches("delete", "secrets")
	}
	if !deleted {
		t.Error("the old secret was changed rather than replaced: the garbage collector may still delete it")
	}
}

func TestDeletedSecretComesBack(t *testing.T) {
	h := start(t, []runtime.Object{pod("web", "uid-1")}, nil)
	h.secret("web", "a secret", 0, anySecret)
	if err := h.Host.CoreV1().Secrets(harness.HostNamespace).Delete(t.Context(), h.Translator.TokenSecretName("default", "web"), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.secret("web", "a secret again", 0, anySecret)
}

func TestFinishedPodsAreLeftAlone(t *testing.T) {
	done, going := pod("done", "uid-1"), pod("going", "uid-2")
	done.Status.Phase = corev1.PodSucceeded
	now := metav1.Now()
	going.DeletionTimestamp, going.Finalizers = &now, []string{"example.com/f"}
	h := start(t, []runtime.Object{done, going}, nil)
	h.createPod(pod("web", "uid-3")) // the last key: the others were taken before it
	h.secret("web", "a secret", 0, anySecret)
	h.Stop()
	for _, r := range h.minted() {
		if r.BoundObjectRef.Name != "web" {
			t.Errorf("a token was minted for pod %q", r.BoundObjectRef.Name)
		}
	}
}

func TestRefusedTokenIsTriedAgain(t *testing.T) {
	h := start(t, nil, nil)
	h.setRefusal(errors.New("no service account yet"))
	h.createPod(pod("web", "uid-1"))
	h.logged("no service account yet")
	h.setRefusal(nil)
	h.secret("web", "a secret", time.Second, anySecret)
}

// hostPod is the host pod of an earlier version: its tokens are where they were
// then.
func hostPod(t *testing.T, tr *rewrite.Translator, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	host, err := tr.PodToHost(p, rewrite.Inputs{})
	if err != nil {
		t.Fatal(err)
	}
	host.UID = p.UID
	if name, ok := tr.FormerName(p.Namespace, p.Name); ok {
		host.Name = name
	}
	for i := range host.Spec.Volumes[0].Projected.Sources {
		host.Spec.Volumes[0].Projected.Sources[i].Secret.Name = tr.FormerTokenSecretName(p.Namespace, p.Name)
	}
	return host
}

// formerSecret is the Secret that an earlier version wrote for a pod.
func formerSecret(t *testing.T, p *corev1.Pod) *corev1.Secret {
	t.Helper()
	h := start(t, []runtime.Object{p}, nil)
	s := h.secret(p.Name, "a secret", 0, anySecret)
	h.Stop()
	s.Name = h.Translator.FormerTokenSecretName(p.Namespace, p.Name)
	if name, ok := h.Translator.FormerName(p.Namespace, p.Name); ok {
		s.OwnerReferences[0].Name = name
	}
	return s
}

const longName = "a-name-that-needs-the-hash-rule-on-the-host-because-it-is-so-long"

// A pod of before goes on: its mounted tokens are renewed where they are, and
// its owner is looked for by the name that it has.
func TestFormerSecretIsRenewedInPlace(t *testing.T) {
	for _, name := range []string{"web", longName} {
		t.Run(name, func(t *testing.T) {
			p := pod(name, "uid-1")
			former := formerSecret(t, p)
			h := start(t, []runtime.Object{p}, []runtime.Object{former})
			s := h.named(former.Name, 10*time.Second, func(s *corev1.Secret) bool { return values(p, s)["vault"] != values(p, former)["vault"] })
			if d := cmp.Diff(former.OwnerReferences, s.OwnerReferences); d != "" {
				t.Errorf("the garbage collector looks for another owner (-want +got):\n%s", d)
			}
			h.OnlyWrites("secrets", former.Name)
		})
	}
}

// A pod of before that had no tokens yet, or lost them, gets them where it
// looks for them. A pod of today that has its name later does not.
func TestFormerPodGetsItsFirstTokens(t *testing.T) {
	for _, name := range []string{"web", longName} {
		t.Run(name, func(t *testing.T) {
			tr, p := harness.Translator(t), pod(name, "uid-1")
			host := hostPod(t, tr, p)
			h := start(t, []runtime.Object{p}, []runtime.Object{host})
			s := h.named(tr.FormerTokenSecretName("default", name), 0, anySecret)
			if len(s.OwnerReferences) != 1 || s.OwnerReferences[0].Name != host.Name || s.OwnerReferences[0].UID != "uid-1" {
				t.Errorf("owners %+v, want the pod %s", s.OwnerReferences, host.Name)
			}
			if err := h.Host.CoreV1().Secrets(harness.HostNamespace).Delete(t.Context(), s.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			h.named(s.Name, 0, anySecret)
			if err := h.Virtual.CoreV1().Pods("default").Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			next := pod(name, "uid-2")
			next.CreationTimestamp = metav1.NewTime(h.Clock.Now().Add(time.Minute))
			h.createPod(next)
			h.secret(name, "the Secret of the next pod", 0, anySecret)
		})
	}
}

// --- attacks ---

// TestAttackFormerTokenSecretOfAnotherPod: a tenant who searches finds a pod
// whose token Secret had the name of another pod's, or of a Secret of the
// operator. It is neither changed nor taken for the pod's own.
func TestAttackFormerTokenSecretOfAnotherPod(t *testing.T) {
	tr := harness.Translator(t)
	p := pod("web", "uid-1")
	name := tr.FormerTokenSecretName("default", "web")
	another := formerSecret(t, pod("another", "uid-9"))
	another.Name = name
	for reason, there := range map[string]*corev1.Secret{
		"another pod's":  another,
		"the operator's": {ObjectMeta: metav1.ObjectMeta{Namespace: harness.HostNamespace, Name: name}, Data: map[string][]byte{"value": []byte("secret")}},
	} {
		t.Run(reason, func(t *testing.T) {
			h := start(t, []runtime.Object{p}, []runtime.Object{there})
			h.secret("web", "a Secret of its own", 0, anySecret)
			h.OnlyWrites("secrets", tr.TokenSecretName("default", "web"))
		})
		t.Run(reason+", and the pod mounts it", func(t *testing.T) {
			h := start(t, []runtime.Object{p}, []runtime.Object{there, hostPod(t, tr, p)})
			h.logged("not ours")
			h.Stop()
			if got := harness.Writes(&h.Host.Fake, "secrets"); !slices.Equal(got, []string{"create " + name}) {
				t.Errorf("the host got %v, want a try to create it", got)
			}
		})
	}
}

func TestForeignSecretUnderTheNameIsNotTouched(t *testing.T) {
	tr := harness.Translator(t)
	foreign := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: harness.HostNamespace, Name: tr.TokenSecretName("default", "web")},
		Data:       map[string][]byte{"value": []byte("the host's")},
	}
	h := start(t, []runtime.Object{pod("web", "uid-1"), pod("other", "uid-2")}, []runtime.Object{foreign})
	h.secret("other", "a secret", 0, anySecret)
	h.logged("not ours")
	h.Stop()
	for _, w := range harness.Writes(&h.Host.Fake, "secrets") {
		if w == "patch "+foreign.Name || w == "delete "+foreign.Name {
			t.Errorf("the host got %s", w)
		}
	}
	s := h.secret("web", "the foreign secret", 0, anySecret)
	if string(s.Data["value"]) != "the host's" || len(s.Data) != 1 {
		t.Errorf("the foreign secret was changed: %v", s.Data)
	}
}

// A tenant's Secret whose host name could be that of a token Secret would let
// the tenant hand tokens to its pods.
func TestNoTenantSecretHasTheNameOfATokenSecret(t *testing.T) {
	tr := harness.Translator(t)
	token := tr.TokenSecretName("default", "web")
	for _, name := range []string{"web", "web-token", strings.TrimSuffix(token, "-x-default-x-vc"), token} {
		if got := tr.Name("default", name); got == token {
			t.Errorf("the tenant's secret %q is called %q on the host", name, got)
		}
	}
}
