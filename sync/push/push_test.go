// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/push"
)

const hostNamespace = "team-a"

// harness is a Controller between a fake virtual cluster and a fake host.
type harness struct {
	t             *testing.T
	virtual, host *fake.Clientset
	clock         *testingclock.FakeClock
	translator    *rewrite.Translator
	controller    *push.Controller
	deleted       map[string]time.Time // on the host, by resource and name; read it after stop
	// stop ends the loops, and returns when none of them can write any more.
	stop func()
}

func translator(t *testing.T, cluster string) *rewrite.Translator {
	t.Helper()
	tr, err := rewrite.New(rewrite.Cluster{
		Name: cluster, HostNamespace: hostNamespace,
		Owner: metav1.OwnerReference{APIVersion: "v1", Kind: "Service", Name: cluster, UID: "service-uid"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// newHarness starts a controller; prepare runs before anything else does.
func newHarness(t *testing.T, virtual, host []runtime.Object, prepare ...func(*harness)) *harness {
	t.Helper()
	h := &harness{
		t: t, virtual: fake.NewClientset(virtual...), host: fake.NewClientset(host...),
		clock: testingclock.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), translator: translator(t, "vc"),
	}
	h.host.PrependReactor("create", "*", withUID())
	h.host.PrependReactor("delete", "*", h.noteDeletion)
	for _, f := range prepare {
		f(h)
	}
	factory := informers.NewSharedInformerFactory(h.virtual, 0)
	controller, err := push.New(push.Config{
		Translator: h.translator, Virtual: h.virtual, Informers: factory, Host: h.host, Clock: h.clock,
		PinTime: 2 * time.Minute, Linger: 30 * time.Second,
		Ingresses: func(i *networkingv1.Ingress) bool { return ptr.Deref(i.Spec.IngressClassName, "") == "hosts" },
	})
	if err != nil {
		t.Fatal(err)
	}
	h.controller = controller
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	observed := make(chan error, 1)
	go func() { observed <- controller.Observe(ctx) }()
	go func() { done <- controller.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := <-observed; err != nil {
			t.Errorf("Observe: %v", err)
		}
		factory.Shutdown()
	})
	t.Cleanup(h.stop)
	return h
}

// noteDeletion keeps the time of a deletion on the host. Reactors run one at a
// time.
func (h *harness) noteDeletion(a clienttesting.Action) (bool, runtime.Object, error) {
	if h.deleted == nil {
		h.deleted = map[string]time.Time{}
	}
	h.deleted[a.GetResource().Resource+"/"+a.(clienttesting.DeleteAction).GetName()] = h.clock.Now()
	return false, nil, nil
}

// deletedWhenDue fails unless the copy of default/creds was deleted, and not
// before it was due.
func (h *harness) deletedWhenDue(since time.Time, due time.Duration) {
	h.t.Helper()
	h.stop()
	at, ok := h.deleted["secrets/"+h.translator.Name("default", "creds")]
	if !ok || at.Sub(since) < due {
		h.t.Errorf("the copy was deleted: %v, after %s; it is due after %s", ok, at.Sub(since), due)
	}
}

// withUID gives each created object a uid, as an API server does.
func withUID() clienttesting.ReactionFunc {
	var uids atomic.Int64
	return func(a clienttesting.Action) (bool, runtime.Object, error) {
		if created, ok := a.(clienttesting.CreateAction).GetObject().(metav1.Object); ok {
			created.SetUID(types.UID(fmt.Sprintf("host-uid-%d", uids.Add(1))))
		}
		return false, nil, nil
	}
}

func secret(namespace, name, value string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "virtual-uid"},
		Type:       corev1.SecretTypeOpaque, Data: map[string][]byte{"value": []byte(value)},
	}
}

func configMap(namespace, name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{"value": value}}
}

// pod names the Secret creds and the ConfigMap settings of its namespace.
func pod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", EnvFrom: []corev1.EnvFromSource{
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "creds"}}},
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}},
		}}}},
	}
}

func refs() []rewrite.Reference {
	return []rewrite.Reference{{Kind: "Secret", Name: "creds"}, {Kind: "ConfigMap", Name: "settings"}, {Kind: "PersistentVolumeClaim", Name: "data"}}
}

// value returns the content of the host copy of a Secret or ConfigMap, "" when
// there is none.
func (h *harness) value(kind, namespace, name string) string {
	h.t.Helper()
	hostName := h.translator.Name(namespace, name)
	var value string
	var err error
	switch kind {
	case "Secret":
		var s *corev1.Secret
		if s, err = h.host.CoreV1().Secrets(hostNamespace).Get(h.t.Context(), hostName, metav1.GetOptions{}); err == nil {
			value = string(s.Data["value"])
		}
	case "ConfigMap":
		var c *corev1.ConfigMap
		if c, err = h.host.CoreV1().ConfigMaps(hostNamespace).Get(h.t.Context(), hostName, metav1.GetOptions{}); err == nil {
			value = c.Data["value"]
		}
	}
	if err != nil && !apierrors.IsNotFound(err) {
		h.t.Fatal(err)
	}
	return value
}

// eventually waits until the copy holds want. Time passes by step at each look.
func (h *harness) eventually(kind, namespace, name, want string, step time.Duration) {
	h.t.Helper()
	var got string
	err := wait.PollUntilContextTimeout(h.t.Context(), 5*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		h.clock.Step(step)
		got = h.value(kind, namespace, name)
		return got == want, nil
	})
	if err != nil {
		h.t.Fatalf("host copy of %s %s/%s is %q, want %q", kind, namespace, name, got, want)
	}
}

func (h *harness) ensure(namespace string) {
	h.t.Helper()
	settle, err := h.controller.Ensure(h.t.Context(), namespace, refs())
	if err != nil {
		h.t.Fatal(err)
	}
	settle(false)
}

func (h *harness) createPod(p *corev1.Pod) {
	h.t.Helper()
	if _, err := h.virtual.CoreV1().Pods(p.Namespace).Create(h.t.Context(), p, metav1.CreateOptions{}); err != nil {
		h.t.Fatal(err)
	}
}

// settled returns after everything that was in the queue before has been begun:
// a Secret of another namespace that a pod names goes all the way. Only stop
// waits for the end of it too.
func (h *harness) settled() {
	h.t.Helper()
	if _, err := h.virtual.CoreV1().Secrets("marker").Create(h.t.Context(), secret("marker", "creds", "done"), metav1.CreateOptions{}); err != nil {
		h.t.Fatal(err)
	}
	h.createPod(pod("marker", "p"))
	h.eventually("Secret", "marker", "creds", "done", 0)
}

func TestEnsureWritesBeforeThePod(t *testing.T) {
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1"), configMap("default", "settings", "c1")}, nil)
	h.ensure("default")
	if got := h.value("Secret", "default", "creds"); got != "s1" {
		t.Errorf("secret on the host holds %q", got)
	}
	if got := h.value("ConfigMap", "default", "settings"); got != "c1" {
		t.Errorf("configmap on the host holds %q", got)
	}
	host, err := h.host.CoreV1().Secrets(hostNamespace).Get(t.Context(), "creds-x-default-x-vc", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if host.UID == "virtual-uid" || len(host.OwnerReferences) != 1 || host.OwnerReferences[0].Kind != "Service" {
		t.Errorf("metadata of the copy: %+v", host.ObjectMeta)
	}
}

func TestMissingIsNoErrorAndComesLater(t *testing.T) {
	h := newHarness(t, nil, nil)
	h.ensure("default")
	h.createPod(pod("default", "p"))
	if _, err := h.virtual.CoreV1().Secrets("default").Create(t.Context(), secret("default", "creds", "late"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.eventually("Secret", "default", "creds", "late", 0)
}

func TestCopyFollows(t *testing.T) {
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1"), pod("default", "p")}, nil)
	h.eventually("Secret", "default", "creds", "s1", 0)

	next := secret("default", "creds", "s2")
	if _, err := h.virtual.CoreV1().Secrets("default").Update(t.Context(), next, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.eventually("Secret", "default", "creds", "s2", 0)

	next = next.DeepCopy()
	next.Data = map[string][]byte{"other": []byte("x")}
	if _, err := h.virtual.CoreV1().Secrets("default").Update(t.Context(), next, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.eventually("Secret", "default", "creds", "", 0) // the key is gone, not the copy
	host, err := h.host.CoreV1().Secrets(hostNamespace).Get(t.Context(), h.translator.Name("default", "creds"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]byte{"other": []byte("x")}, host.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
}

func TestVirtualDeletionRemovesTheCopy(t *testing.T) {
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1"), pod("default", "p")}, nil)
	h.eventually("Secret", "default", "creds", "s1", 0)
	if err := h.virtual.CoreV1().Secrets("default").Delete(t.Context(), "creds", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.eventually("Secret", "default", "creds", "", 0)
}

func TestUnusedCopyLingersThenGoes(t *testing.T) {
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1"), pod("default", "p")}, nil)
	h.eventually("Secret", "default", "creds", "s1", 0)
	since := h.clock.Now()
	if err := h.virtual.CoreV1().Pods("default").Delete(t.Context(), "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.settled()
	if got := h.value("Secret", "default", "creds"); got != "s1" {
		t.Fatalf("the copy went at once; a rolling update would write it again")
	}
	h.eventually("Secret", "default", "creds", "", 10*time.Second)
	h.deletedWhenDue(since, 30*time.Second)
	if got := h.value("Secret", "marker", "creds"); got != "done" {
		t.Error("a copy that is used went too")
	}
}

// The host has taken the pod, and somebody else removes it before any informer
// has it.
func TestCopyOfAPodThatNeverCame(t *testing.T) {
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1")}, nil)
	since := h.clock.Now()
	h.ensure("default")
	h.clock.Step(time.Minute)
	h.settled()
	if got := h.value("Secret", "default", "creds"); got != "s1" {
		t.Fatal("the copy went while its pod could still come")
	}
	h.eventually("Secret", "default", "creds", "", 10*time.Second)
	h.deletedWhenDue(since, 2*time.Minute)
}

// TestSecretOfAnIngress is on the host while the Ingress is, and no longer.
func TestSecretOfAnIngress(t *testing.T) {
	ingress := func(name, class, of string) *networkingv1.Ingress {
		return &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: networkingv1.IngressSpec{
			IngressClassName: &class, TLS: []networkingv1.IngressTLS{{SecretName: of}},
		}}
	}
	h := newHarness(t, []runtime.Object{
		ingress("i", "hosts", "creds"), ingress("inside", "own", "other"), secret("default", "creds", "s1"), secret("default", "other", "s2"),
	}, nil)
	h.eventually("Secret", "default", "creds", "s1", 0)
	h.settled()
	if got := h.value("Secret", "default", "other"); got != "" {
		t.Errorf("the Secret of an Ingress that stays inside is on the host: %q", got)
	}
	since := h.clock.Now()
	if err := h.virtual.NetworkingV1().Ingresses("default").Delete(t.Context(), "i", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.eventually("Secret", "default", "creds", "", 10*time.Second)
	h.deletedWhenDue(since, 30*time.Second)
}

func TestNewPodWhileLingering(t *testing.T) {
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1"), pod("default", "p")}, nil)
	h.eventually("Secret", "default", "creds", "s1", 0)
	if err := h.virtual.CoreV1().Pods("default").Delete(t.Context(), "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.settled()
	h.clock.Step(29 * time.Second)
	h.ensure("default")
	h.clock.Step(29 * time.Second)
	h.createPod(pod("default", "p2"))
	h.stop()
	if got := h.value("Secret", "default", "creds"); got != "s1" {
		t.Error("the copy went under the new pod")
	}
}

func TestStartCorrectsTheHost(t *testing.T) {
	tr := translator(t, "vc")
	copyOf := func(tr *rewrite.Translator, s *corev1.Secret) *corev1.Secret {
		host, err := tr.SecretToHost(s)
		if err != nil {
			t.Fatal(err)
		}
		return host
	}
	other := translator(t, "other")
	h := newHarness(t,
		[]runtime.Object{secret("default", "creds", "right"), pod("default", "p"), secret("default", "unused", "x")},
		[]runtime.Object{
			copyOf(tr, secret("default", "creds", "drifted")),
			copyOf(tr, secret("default", "unused", "x")),
			copyOf(tr, secret("gone", "leftover", "x")),
			copyOf(other, secret("default", "theirs", "x")),
			secret(hostNamespace, "the-hosts-own", "x"),
		})
	h.eventually("Secret", "default", "creds", "right", 0)
	h.eventually("Secret", "default", "unused", "", 10*time.Second)
	h.eventually("Secret", "gone", "leftover", "", 10*time.Second)
	h.settled()
	h.stop()
	for _, name := range []string{other.Name("default", "theirs"), "the-hosts-own"} {
		s, err := h.host.CoreV1().Secrets(hostNamespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || string(s.Data["value"]) != "x" {
			t.Errorf("somebody else's secret %q was touched: %v, %v", name, s, err)
		}
	}
}

// TestStartRemovesKeysThatNoLongerPass: the operator allows less than before.
func TestStartRemovesKeysThatNoLongerPass(t *testing.T) {
	wide, err := rewrite.New(rewrite.Cluster{Name: "vc", HostNamespace: hostNamespace, AllowedKeys: map[string]rewrite.Keys{
		"Secret": {Labels: []string{"*"}, Annotations: []string{"*"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	v := secret("default", "creds", "right")
	v.Labels, v.Annotations = map[string]string{"app": "x"}, map[string]string{"replicator.v1.mittwald.de/replicate-to": "*"}
	old, err := wide.SecretToHost(v)
	if err != nil {
		t.Fatal(err)
	}
	old.Annotations["scanned"] = "yes" // by the host
	h := newHarness(t, []runtime.Object{v, pod("default", "p")}, []runtime.Object{old})
	err = wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		s, err := h.host.CoreV1().Secrets(hostNamespace).Get(ctx, old.Name, metav1.GetOptions{})
		return err == nil && s.Labels["app"] == "" && s.Annotations["replicator.v1.mittwald.de/replicate-to"] == "", err
	})
	if err != nil {
		t.Fatalf("the copy keeps the keys: %v", err)
	}
	h.settled()
	h.stop()
	s, err := h.host.CoreV1().Secrets(hostNamespace).Get(t.Context(), old.Name, metav1.GetOptions{})
	if err != nil || s.Annotations["scanned"] != "yes" || string(s.Data["value"]) != "right" {
		t.Errorf("the copy is %v, %v", s, err)
	}
}

func TestDeletedCopyComesBack(t *testing.T) {
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1"), pod("default", "p")}, nil)
	h.eventually("Secret", "default", "creds", "s1", 0)
	if err := h.host.CoreV1().Secrets(hostNamespace).Delete(t.Context(), h.translator.Name("default", "creds"), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.eventually("Secret", "default", "creds", "s1", 0)
}

func TestImmutableIsReplaced(t *testing.T) {
	old := secret("default", "creds", "s1")
	old.Immutable = ptr.To(true)
	h := newHarness(t, []runtime.Object{old, pod("default", "p")}, nil)
	h.eventually("Secret", "default", "creds", "s1", 0)
	if err := h.virtual.CoreV1().Secrets("default").Delete(t.Context(), "creds", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	next := secret("default", "creds", "s2")
	next.Immutable = ptr.To(true)
	if _, err := h.virtual.CoreV1().Secrets("default").Create(t.Context(), next, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.eventually("Secret", "default", "creds", "s2", 0)
	for _, a := range h.host.Actions() {
		if a.Matches("patch", "secrets") {
			t.Error("an immutable secret was patched, which a real host refuses")
		}
	}
}

// Many pods name the same objects: in the steady state Ensure costs the host
// nothing.
func TestEnsureAgainAsksTheHostNothing(t *testing.T) {
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1"), configMap("default", "settings", "c1"), pod("default", "p")}, nil)
	h.eventually("Secret", "default", "creds", "s1", 0)
	h.eventually("ConfigMap", "default", "settings", "c1", 0)
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		h.host.ClearActions()
		h.ensure("default")
		return len(h.host.Actions()) == 0, nil // once the view has caught up
	})
	if err != nil {
		t.Errorf("Ensure still calls the host: %v", h.host.Actions())
	}
}

// At a start, requests may come before the informers have anything.
func TestEnsureDoesNotBelieveAnEmptyInformer(t *testing.T) {
	ca := configMap("default", "kube-root-ca.crt", "pem")
	tr := translator(t, "vc")
	virtual, host := fake.NewClientset(ca), fake.NewClientset()
	controller, err := push.New(push.Config{
		Translator: tr, Virtual: virtual, Informers: informers.NewSharedInformerFactory(virtual, 0), Host: host,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := controller.Ensure(t.Context(), "default", []rewrite.Reference{{Kind: "ConfigMap", Name: "kube-root-ca.crt"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := host.CoreV1().ConfigMaps(hostNamespace).Get(t.Context(), tr.Name("default", "kube-root-ca.crt"), metav1.GetOptions{}); err != nil {
		t.Errorf("the CA bundle is not on the host: %v", err)
	}
}

// --- attacks and refusals ---

func TestPodCannotPullAnotherNamespacesSecret(t *testing.T) {
	h := newHarness(t, []runtime.Object{secret("victim", "creds", "stolen"), secret("victim", "x-x-victim", "stolen")}, nil)
	h.ensure("attacker")
	if _, err := h.controller.Ensure(t.Context(), "attacker", []rewrite.Reference{
		{Kind: "Secret", Name: "creds-x-victim"}, {Kind: "Secret", Name: "creds-x-victim-x-vc"}, {Kind: "Secret", Name: "../victim/creds"},
	}); err != nil {
		t.Errorf("references to nothing are no error: %v", err)
	}
	list, err := h.host.CoreV1().Secrets(hostNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 0 {
		t.Errorf("a secret of the victim is on the host: %v %v", list.Items, err)
	}
}

func TestForeignHostObjectIsNeitherReadNorOverwritten(t *testing.T) {
	foreign := secret(hostNamespace, "creds-x-default-x-vc", "the host's")
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1")}, []runtime.Object{foreign})
	_, err := h.controller.Ensure(t.Context(), "default", refs())
	if !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want a refusal", err)
	}
	if err != nil && (strings.Contains(err.Error(), "-x-") || strings.Contains(err.Error(), hostNamespace)) {
		t.Errorf("the error names the host: %v", err)
	}
	if got := h.value("Secret", "default", "creds"); got != "the host's" {
		t.Errorf("the foreign secret holds %q now", got)
	}
}

// A host object that carries our labels but says it is another virtual object
// must not be taken for this one.
func TestMislabelledHostObjectIsForeign(t *testing.T) {
	tr := translator(t, "vc")
	host, err := tr.SecretToHost(secret("other", "thing", "x"))
	if err != nil {
		t.Fatal(err)
	}
	host.Name = tr.Name("default", "creds")
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1")}, []runtime.Object{host})
	if _, err := h.controller.Ensure(t.Context(), "default", refs()); !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want a refusal", err)
	}
	if got := h.value("Secret", "default", "creds"); got != "x" {
		t.Errorf("the object holds %q now", got)
	}
}

func TestHostRefusalHasVirtualNames(t *testing.T) {
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1")}, nil, func(h *harness) {
		h.host.PrependReactor("create", "secrets", func(a clienttesting.Action) (bool, runtime.Object, error) {
			name := a.(clienttesting.CreateAction).GetObject().(*corev1.Secret).Name
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, name, quotaError(name))
		})
	})
	_, err := h.controller.Ensure(t.Context(), "default", refs())
	if !apierrors.IsForbidden(err) {
		t.Fatalf("got %v, want the host's refusal", err)
	}
	if !strings.Contains(err.Error(), `"creds"`) || strings.Contains(err.Error(), "-x-") {
		t.Errorf("the refusal is not in virtual names: %v", err)
	}
}

type quotaError string

func (e quotaError) Error() string { return "exceeded quota: too many, at " + string(e) }

func TestTokenSecretsAreNotTouched(t *testing.T) {
	token := secret(hostNamespace, "anything", "token")
	token.Labels = map[string]string{"portico.dev/cluster": "vc", "portico.dev/composed": "token"}
	h := newHarness(t, nil, []runtime.Object{token})
	h.settled()
	h.clock.Step(time.Hour)
	h.stop()
	if _, err := h.host.CoreV1().Secrets(hostNamespace).Get(t.Context(), "anything", metav1.GetOptions{}); err != nil {
		t.Errorf("a pod's token secret went: %v", err)
	}
}
