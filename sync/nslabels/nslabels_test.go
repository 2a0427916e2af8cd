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
	"k8s.io/client-go/metadata"
	metadatafake "k8s.io/client-go/metadata/fake"

	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/nslabels"
)

// fixture has a host that is asked for metadata only.
type fixture struct {
	*harness.Harness
	host *metadatafake.FakeMetadataClient
}

func start(t *testing.T, namespaceLabels map[string]string, pods ...runtime.Object) *fixture {
	t.Helper()
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	shop := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: namespaceLabels}}
	h := &fixture{harness.New(t, []runtime.Object{shop}, nil), metadatafake.NewSimpleMetadataClient(scheme, pods...)}
	c, err := nslabels.New(nslabels.Config{Translator: h.Translator, Informers: h.Informers, Host: h.host, Clock: h.Clock})
	if err != nil {
		t.Fatal(err)
	}
	h.Run(c.Run)
	return h
}

// pod is a host pod as the door makes it.
func pod(t *testing.T, namespace, name string, namespaceLabels map[string]string) *metav1.PartialObjectMetadata {
	tr := harness.Translator(t)
	l := map[string]string{"app": "web"}
	maps.Copy(l, tr.NamespaceSelector(namespace))
	maps.Copy(l, tr.NamespaceLabels(namespaceLabels))
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: harness.HostNamespace, Name: tr.Name(namespace, name), Labels: l},
	}
}

func (h *fixture) pods() metadata.ResourceInterface {
	return h.host.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(harness.HostNamespace)
}

func (h *fixture) wait(name string, want *metav1.PartialObjectMetadata) {
	h.T.Helper()
	h.Eventually(fmt.Sprintf("labels of %s: %v", name, want.Labels), func(ctx context.Context) (bool, any) {
		p, err := h.pods().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return maps.Equal(p.Labels, want.Labels), p.Labels
	})
}

func (h *fixture) label(l map[string]string) {
	h.T.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: l}}
	if _, err := h.Virtual.CoreV1().Namespaces().Update(h.T.Context(), ns, metav1.UpdateOptions{}); err != nil {
		h.T.Fatal(err)
	}
}

func TestLabelsFollowTheNamespace(t *testing.T) {
	before, after := map[string]string{"tier": "dev", "team": "a"}, map[string]string{"tier": "live", "zone": "west"}
	other := pod(t, "bank", "web", before)
	h := start(t, before, pod(t, "shop", "web", before), pod(t, "shop", "db", before), other)
	h.label(after)
	for _, name := range []string{"web", "db"} {
		p := pod(t, "shop", name, after)
		h.wait(p.Name, p)
	}
	h.wait(other.Name, other)
}

func TestChangeWhileNobodyLookedIsMadeUpFor(t *testing.T) {
	now := map[string]string{"tier": "live"}
	h := start(t, now, pod(t, "shop", "web", map[string]string{"tier": "dev"}))
	p := pod(t, "shop", "web", now)
	h.wait(p.Name, p)
}

// A pod whose creation began before the change, and ended after it.
func TestPodThatWasOnItsWayIsNotMissed(t *testing.T) {
	before, after := map[string]string{"tier": "dev"}, map[string]string{"tier": "live"}
	h := start(t, before, pod(t, "shop", "first", nil))
	first := pod(t, "shop", "first", before)
	h.wait(first.Name, first) // the controller has seen the namespace as it was
	h.label(after)
	first = pod(t, "shop", "first", after)
	h.wait(first.Name, first)

	late := pod(t, "shop", "late", before)
	pods := corev1.SchemeGroupVersion.WithResource("pods")
	if err := h.host.Tracker().Create(pods, late, harness.HostNamespace); err != nil {
		t.Fatal(err)
	}
	h.Clock.Step(2 * time.Minute)
	h.wait(late.Name, pod(t, "shop", "late", after))
}

func TestEveryPodIsReached(t *testing.T) {
	before, after := map[string]string{"tier": "dev"}, map[string]string{"tier": "live"}
	objects := make([]runtime.Object, 0, 60)
	for i := range cap(objects) {
		objects = append(objects, pod(t, "shop", fmt.Sprint("web-", i), before))
	}
	h := start(t, before, objects...)
	h.label(after)
	for i := range objects {
		p := pod(t, "shop", fmt.Sprint("web-", i), after)
		h.wait(p.Name, p)
	}
}

// The informer of this process can be behind: pods of a namespace are on the
// host before the namespace is seen here, and without labels, because the
// process that made them did not know these.
func TestNamespaceThatAppearsAfterTheStart(t *testing.T) {
	h := start(t, map[string]string{"tier": "dev"}, pod(t, "shop", "web", nil))
	shop := pod(t, "shop", "web", map[string]string{"tier": "dev"})
	h.wait(shop.Name, shop) // the controller has started

	pods := corev1.SchemeGroupVersion.WithResource("pods")
	now := map[string]string{"tier": "live"}
	early := pod(t, "bank", "early", nil)
	if err := h.host.Tracker().Create(pods, early, harness.HostNamespace); err != nil {
		t.Fatal(err)
	}
	bank := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank", Labels: now}}
	if _, err := h.Virtual.CoreV1().Namespaces().Create(t.Context(), bank, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait(early.Name, pod(t, "bank", "early", now))

	// This one was on its way when the namespace was seen.
	late := pod(t, "bank", "late", nil)
	if err := h.host.Tracker().Create(pods, late, harness.HostNamespace); err != nil {
		t.Fatal(err)
	}
	h.Clock.Step(2 * time.Minute)
	h.wait(late.Name, pod(t, "bank", "late", now))
}
