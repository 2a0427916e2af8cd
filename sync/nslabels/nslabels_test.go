// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nslabels_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/metadata"
	metadatafake "k8s.io/client-go/metadata/fake"
	testingclock "k8s.io/utils/clock/testing"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/nslabels"
)

const hostNamespace = "team-a"

type harness struct {
	t          *testing.T
	virtual    *fake.Clientset
	host       *metadatafake.FakeMetadataClient
	clock      *testingclock.FakeClock
	translator *rewrite.Translator
}

func translator(t *testing.T) *rewrite.Translator {
	t.Helper()
	tr, err := rewrite.New(rewrite.Cluster{Name: "vc", HostNamespace: hostNamespace})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func newHarness(t *testing.T, namespaceLabels map[string]string, pods ...runtime.Object) *harness {
	t.Helper()
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	h := &harness{
		t: t, translator: translator(t), host: metadatafake.NewSimpleMetadataClient(scheme, pods...),
		clock:   testingclock.NewFakeClock(time.Now()),
		virtual: fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: namespaceLabels}}),
	}
	factory := informers.NewSharedInformerFactory(h.virtual, 0)
	c, err := nslabels.New(nslabels.Config{Translator: h.translator, Informers: factory, Host: h.host, Clock: h.clock})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		factory.Shutdown()
	})
	return h
}

// pod is a host pod as the door makes it.
func pod(t *testing.T, namespace, name string, namespaceLabels map[string]string) *metav1.PartialObjectMetadata {
	tr := translator(t)
	l := map[string]string{"app": "web"}
	maps.Copy(l, tr.NamespaceSelector(namespace))
	maps.Copy(l, tr.NamespaceLabels(namespaceLabels))
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: tr.Name(namespace, name), Labels: l},
	}
}

func (h *harness) pods() metadata.ResourceInterface {
	return h.host.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(hostNamespace)
}

func (h *harness) wait(name string, want *metav1.PartialObjectMetadata) {
	h.t.Helper()
	var got map[string]string
	err := wait.PollUntilContextTimeout(h.t.Context(), 5*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		p, err := h.pods().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		got = p.Labels
		return maps.Equal(got, want.Labels), nil
	})
	if err != nil {
		h.t.Fatalf("labels of %s: %v; got %v, want %v", name, err, got, want.Labels)
	}
}

func (h *harness) label(l map[string]string) {
	h.t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: l}}
	if _, err := h.virtual.CoreV1().Namespaces().Update(h.t.Context(), ns, metav1.UpdateOptions{}); err != nil {
		h.t.Fatal(err)
	}
}

func TestLabelsFollowTheNamespace(t *testing.T) {
	before, after := map[string]string{"tier": "dev", "team": "a"}, map[string]string{"tier": "live", "zone": "west"}
	other := pod(t, "bank", "web", before)
	h := newHarness(t, before, pod(t, "shop", "web", before), pod(t, "shop", "db", before), other)
	h.label(after)
	for _, name := range []string{"web", "db"} {
		p := pod(t, "shop", name, after)
		h.wait(p.Name, p)
	}
	h.wait(other.Name, other)
}

func TestChangeWhileNobodyLookedIsMadeUpFor(t *testing.T) {
	now := map[string]string{"tier": "live"}
	h := newHarness(t, now, pod(t, "shop", "web", map[string]string{"tier": "dev"}))
	p := pod(t, "shop", "web", now)
	h.wait(p.Name, p)
}

// A pod whose creation began before the change, and ended after it.
func TestPodThatWasOnItsWayIsNotMissed(t *testing.T) {
	before, after := map[string]string{"tier": "dev"}, map[string]string{"tier": "live"}
	h := newHarness(t, before, pod(t, "shop", "first", nil))
	first := pod(t, "shop", "first", before)
	h.wait(first.Name, first) // the controller has seen the namespace as it was
	h.label(after)
	first = pod(t, "shop", "first", after)
	h.wait(first.Name, first)

	late := pod(t, "shop", "late", before)
	pods := corev1.SchemeGroupVersion.WithResource("pods")
	if err := h.host.Tracker().Create(pods, late, hostNamespace); err != nil {
		t.Fatal(err)
	}
	h.clock.Step(2 * time.Minute)
	h.wait(late.Name, pod(t, "shop", "late", after))
}

func TestEveryPodIsReached(t *testing.T) {
	before, after := map[string]string{"tier": "dev"}, map[string]string{"tier": "live"}
	objects := make([]runtime.Object, 0, 60)
	for i := range cap(objects) {
		objects = append(objects, pod(t, "shop", fmt.Sprint("web-", i), before))
	}
	h := newHarness(t, before, objects...)
	h.label(after)
	for i := range objects {
		p := pod(t, "shop", fmt.Sprint("web-", i), after)
		h.wait(p.Name, p)
	}
}

// The informer of this process can be behind: pods of a namespace are on the host before the namespace is seen here, and
// without labels, because whoever made them did not know these.
func TestNamespaceThatAppearsAfterTheStart(t *testing.T) {
	h := newHarness(t, map[string]string{"tier": "dev"}, pod(t, "shop", "web", nil))
	shop := pod(t, "shop", "web", map[string]string{"tier": "dev"})
	h.wait(shop.Name, shop) // the controller has started

	pods := corev1.SchemeGroupVersion.WithResource("pods")
	now := map[string]string{"tier": "live"}
	early := pod(t, "bank", "early", nil)
	if err := h.host.Tracker().Create(pods, early, hostNamespace); err != nil {
		t.Fatal(err)
	}
	bank := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank", Labels: now}}
	if _, err := h.virtual.CoreV1().Namespaces().Create(t.Context(), bank, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait(early.Name, pod(t, "bank", "early", now))

	// This one was on its way when the namespace was seen.
	late := pod(t, "bank", "late", nil)
	if err := h.host.Tracker().Create(pods, late, hostNamespace); err != nil {
		t.Fatal(err)
	}
	h.clock.Step(2 * time.Minute)
	h.wait(late.Name, pod(t, "bank", "late", now))
}
