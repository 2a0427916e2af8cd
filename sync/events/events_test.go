// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package events_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	testingclock "k8s.io/utils/clock/testing"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/events"
)

const hostNamespace = "team-a"

type harness struct {
	t             *testing.T
	virtual, host *fake.Clientset
	clock         *testingclock.FakeClock
	translator    *rewrite.Translator
	// stop ends the loops, and returns when none of them can write any more.
	stop func()
}

func newTranslator(t *testing.T, cluster string) *rewrite.Translator {
	t.Helper()
	tr, err := rewrite.New(rewrite.Cluster{Name: cluster, HostNamespace: hostNamespace, ResourceClaims: true})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func newHarness(t *testing.T, virtual, host []runtime.Object) *harness {
	t.Helper()
	h := &harness{
		t: t, virtual: fake.NewClientset(virtual...), host: fake.NewClientset(host...),
		clock:      testingclock.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
		translator: newTranslator(t, "vc"),
	}
	factory := informers.NewSharedInformerFactory(h.virtual, 0)
	e, err := events.New(events.Config{Translator: h.translator, Virtual: h.virtual, Informers: factory, Host: h.host, Clock: h.clock})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		factory.Shutdown()
	})
	t.Cleanup(h.stop)
	return h
}

func pod(name string, uid types.UID) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: uid},
		Spec: corev1.PodSpec{NodeName: "worker-1", Volumes: []corev1.Volume{
			{Name: "creds", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "creds"}}},
		}},
	}
}

// event is a host Event about a host object.
func event(name, kind, object string, uid types.UID, message string) *corev1.Event {
	at := metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: name, UID: types.UID("event-" + name)},
		InvolvedObject: corev1.ObjectReference{
			Kind: kind, APIVersion: "v1", Namespace: hostNamespace, Name: object, UID: uid, FieldPath: "spec.containers{c}",
		},
		Reason: "Reason", Message: message, Type: corev1.EventTypeWarning, Count: 1, FirstTimestamp: at, LastTimestamp: at,
		Source: corev1.EventSource{Component: "kubelet", Host: "worker-1"}, ReportingController: "kubelet", ReportingInstance: "worker-1",
	}
}

func (h *harness) createHostEvent(e *corev1.Event) {
	h.t.Helper()
	if _, err := h.host.CoreV1().Events(e.Namespace).Create(h.t.Context(), e, metav1.CreateOptions{}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) events() []corev1.Event {
	h.t.Helper()
	list, err := h.virtual.CoreV1().Events("").List(h.t.Context(), metav1.ListOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	return list.Items
}

// event waits for the virtual Event about an object that satisfies want,
// letting step pass at each look.
func (h *harness) event(object, what string, step time.Duration, want func(corev1.Event) bool) corev1.Event {
	h.t.Helper()
	var found corev1.Event
	err := wait.PollUntilContextTimeout(h.t.Context(), 5*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		h.clock.Step(step)
		for _, e := range h.events() {
			if e.InvolvedObject.Name == object && want(e) {
				found = e
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		h.t.Fatalf("event about %q: waiting for %s: %v; there are: %+v", object, what, err, h.events())
	}
	return found
}

func anyEvent(corev1.Event) bool { return true }

// nothingElse fails if there is an Event about anything but the marker. The
// marker's Events come into the queue after all others, once more when nothing
// is being waited for, and the loops have ended when the test looks: another
// worker may still be busy with an earlier one when the marker is there.
func (h *harness) nothingElse() {
	h.t.Helper()
	if _, err := h.virtual.CoreV1().Pods("shop").Create(h.t.Context(), pod("marker", "marker-uid"), metav1.CreateOptions{}); err != nil {
		h.t.Fatal(err)
	}
	h.createHostEvent(event("marker", "Pod", h.translator.Name("shop", "marker"), "marker-uid", "done"))
	h.event("marker", "the marker", time.Second, anyEvent)
	h.clock.Step(time.Minute)
	h.createHostEvent(event("marker-2", "Pod", h.translator.Name("shop", "marker"), "marker-uid", "again"))
	h.event("marker", "the second marker", time.Second, func(e corev1.Event) bool { return e.Message == "again" })
	h.stop()
	for _, e := range h.events() {
		if e.InvolvedObject.Name != "marker" {
			h.t.Errorf("an event got in: %+v", e)
		}
	}
}

func TestEventIsShownInVirtualNames(t *testing.T) {
	h := newHarness(t, []runtime.Object{pod("web", "uid-1")}, nil)
	host := event("web.1", "Pod", "web-x-shop-x-vc", "uid-1",
		`MountVolume.SetUp failed for volume "creds" : secret "creds-x-shop-x-vc" not found (pod team-a/web-x-shop-x-vc)`)
	h.createHostEvent(host)
	got := h.event("web", "an event", 0, anyEvent)

	want := host.InvolvedObject
	want.Namespace, want.Name = "shop", "web"
	if diff := cmp.Diff(want, got.InvolvedObject); diff != "" {
		t.Errorf("involved object (-want +got):\n%s", diff)
	}
	if want := `MountVolume.SetUp failed for volume "creds" : secret "creds" not found (pod shop/web)`; got.Message != want {
		t.Errorf("message is %q, want %q", got.Message, want)
	}
	if got.Namespace != "shop" || !strings.HasPrefix(got.Name, "web.") || strings.Contains(got.Name, "-x-") {
		t.Errorf("the event is called %s/%s", got.Namespace, got.Name)
	}
	if got.ReportingController != "kubelet" || got.Source.Host != "worker-1" || got.Count != 1 {
		t.Errorf("reporter or count are lost: %+v", got)
	}
}

func TestTheHostsMachinesAreNotNamed(t *testing.T) {
	h := newHarness(t, []runtime.Object{pod("web", "uid-1")}, nil)
	host := event("web.1", "Pod", "web-x-shop-x-vc", "uid-1", "Successfully assigned team-a/web-x-shop-x-vc to worker-1")
	host.Source = corev1.EventSource{Component: "default-scheduler", Host: "control-plane-7"}
	host.ReportingController, host.ReportingInstance = "default-scheduler", "default-scheduler-control-plane-7"
	h.createHostEvent(host)
	got := h.event("web", "an event", 0, anyEvent)
	if want := "Successfully assigned shop/web to worker-1"; got.Message != want {
		t.Errorf("message is %q, want %q", got.Message, want)
	}
	if got.Source.Host != "" || got.ReportingInstance != "default-scheduler" {
		t.Errorf("a machine of the host is named: %+v, %q", got.Source, got.ReportingInstance)
	}
}

func TestEventsOfEveryTranslatedKind(t *testing.T) {
	h := newHarness(t, []runtime.Object{
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "front", UID: "uid-s"}},
		&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data", UID: "uid-c"}},
		&resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-gpu-7xk2p", UID: "uid-r"}},
		pod("web", "uid-1"),
	}, nil)
	h.createHostEvent(event("1", "Service", "front-x-shop-x-vc", "uid-s", "ok"))
	h.createHostEvent(event("2", "PersistentVolumeClaim", "data-x-shop-x-vc", "uid-c", "waiting for pod web-x-shop-x-vc to be scheduled"))
	h.event("front", "an event", 0, anyEvent)
	got := h.event("data", "an event", 0, anyEvent)
	if want := "waiting for pod web to be scheduled"; got.Message != want {
		t.Errorf("message is %q, want %q", got.Message, want)
	}
	h.createHostEvent(event("5", "PersistentVolumeClaim", "data-x-shop-x-vc", "uid-c", `storageclass.storage.k8s.io "`+h.translator.ClusterName("gold")+`" not found`))
	gold := func(e corev1.Event) bool { return e.Message == `storageclass.storage.k8s.io "gold" not found` }
	h.event("data", "an Event about a pushed class", 0, gold)
	claim := h.translator.Name("shop", "web-gpu-7xk2p")
	h.createHostEvent(event("3", "ResourceClaim", claim, "uid-r", "ok"))
	if got := h.event("web-gpu-7xk2p", "an event", 0, anyEvent).InvolvedObject.APIVersion; got != "resource.k8s.io/v1" {
		t.Errorf("the involved claim is of %s", got)
	}
	h.createHostEvent(event("4", "Pod", "web-x-shop-x-vc", "uid-1", "Failed to prepare dynamic resources: NodePrepareResources failed for ResourceClaim "+claim+": busy"))
	if got, want := h.event("web", "an event", 0, anyEvent).Message, "Failed to prepare dynamic resources: NodePrepareResources failed for ResourceClaim web-gpu-7xk2p: busy"; got != want {
		t.Errorf("message is %q, want %q", got, want)
	}
}

func TestCountFollows(t *testing.T) {
	h := newHarness(t, []runtime.Object{pod("web", "uid-1")}, nil)
	host := event("web.1", "Pod", "web-x-shop-x-vc", "uid-1", "Back-off restarting failed container")
	h.createHostEvent(host)
	h.event("web", "an event", 0, anyEvent)

	host = host.DeepCopy()
	host.Count, host.LastTimestamp = 7, metav1.NewTime(host.LastTimestamp.Add(time.Minute))
	if _, err := h.host.CoreV1().Events(hostNamespace).Update(t.Context(), host, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	got := h.event("web", "the new count", 0, func(e corev1.Event) bool { return e.Count == 7 })
	if !got.LastTimestamp.Equal(&host.LastTimestamp) {
		t.Errorf("last seen at %v, want %v", got.LastTimestamp, host.LastTimestamp)
	}
	if n := len(h.events()); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

func TestRestartShowsNothingTwice(t *testing.T) {
	host := event("web.1", "Pod", "web-x-shop-x-vc", "uid-1", "x")
	h := newHarness(t, []runtime.Object{pod("web", "uid-1")}, []runtime.Object{host})
	first := h.event("web", "an event", 0, anyEvent)

	host.Count = 2
	again := newHarness(t, []runtime.Object{pod("web", "uid-1"), &first}, []runtime.Object{host})
	again.event("web", "the new count", 0, func(e corev1.Event) bool { return e.Count == 2 })
	if n := len(again.events()); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

func TestEventAheadOfItsPod(t *testing.T) {
	h := newHarness(t, nil, nil)
	h.createHostEvent(event("web.1", "Pod", "web-x-shop-x-vc", "uid-1", "Scheduled"))
	if _, err := h.virtual.CoreV1().Pods("shop").Create(t.Context(), pod("web", "uid-1"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.event("web", "an event", 10*time.Millisecond, anyEvent)
}

func TestLastEventsOfADeletedPod(t *testing.T) {
	h := newHarness(t, []runtime.Object{pod("web", "uid-1")}, nil)
	h.createHostEvent(event("web.1", "Pod", "web-x-shop-x-vc", "uid-1", "Started"))
	h.event("web", "an event", 0, anyEvent)
	if err := h.virtual.CoreV1().Pods("shop").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.createHostEvent(event("web.2", "Pod", "web-x-shop-x-vc", "uid-1", "Stopping container c"))
	h.event("web", "the last event", 0, func(e corev1.Event) bool { return strings.HasPrefix(e.Message, "Stopping") })
}

// A kubelet may look for the Secret with a pod's tokens before that is written.
func TestPassingTroubleWithTokensIsNotShown(t *testing.T) {
	h := newHarness(t, []runtime.Object{pod("web", "uid-1")}, nil)
	token := h.translator.TokenSecretName("shop", "web")
	h.createHostEvent(event("web.1", "Pod", "web-x-shop-x-vc", "uid-1", `MountVolume.SetUp failed for volume "kube-api-access-a" : secret "`+token+`" not found`))
	h.nothingElse()
}

func TestLastingTroubleWithTokensIsShown(t *testing.T) {
	h := newHarness(t, []runtime.Object{pod("web", "uid-1")}, nil)
	token := h.translator.TokenSecretName("shop", "web")
	host := event("web.1", "Pod", "web-x-shop-x-vc", "uid-1", `MountVolume.SetUp failed for volume "kube-api-access-a" : secret "`+token+`" not found`)
	h.createHostEvent(host)
	host = host.DeepCopy()
	host.Count, host.LastTimestamp = 6, metav1.NewTime(host.FirstTimestamp.Add(15*time.Second))
	if _, err := h.host.CoreV1().Events(hostNamespace).Update(t.Context(), host, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	got := h.event("web", "an event", 0, anyEvent)
	if want := `MountVolume.SetUp failed for volume "kube-api-access-a" : failed to fetch token: it is not issued yet`; got.Message != want || got.Count != 6 {
		t.Errorf("got %d times %q, want 6 times %q", got.Count, got.Message, want)
	}
}

// The tenant's own controller makes claims from templates, and says itself why
// it cannot.
func TestTheHostsLackOfTemplatesIsNotShown(t *testing.T) {
	h := newHarness(t, []runtime.Object{pod("web", "uid-1")}, nil)
	host := event("web.1", "Pod", "web-x-shop-x-vc", "uid-1",
		`PodResourceClaim gpu: resource claim template "one-x-shop-x-vc": resourceclaimtemplate.resource.k8s.io "one-x-shop-x-vc" not found`)
	host.Reason = "FailedResourceClaimCreation"
	h.createHostEvent(host)
	h.nothingElse()
}

// --- attacks and strangers ---

func TestStrangersEventsStayOut(t *testing.T) {
	other := newTranslator(t, "other")
	cases := map[string]struct {
		reason string
		event  func() *corev1.Event
	}{
		"another cluster's pod": {"the other cluster has a pod of the same virtual name", func() *corev1.Event {
			return event("e", "Pod", other.Name("shop", "web"), "uid-other", "secret of others")
		}},
		"the host's own pod": {"the host namespace may hold pods of nobody's", func() *corev1.Event {
			return event("e", "Pod", "web", "uid-host", "secret of others")
		}},
		"an earlier pod of the name": {"the uid tells them apart", func() *corev1.Event {
			return event("e", "Pod", "web-x-shop-x-vc", "uid-before", "old")
		}},
		"our uid under another name": {"a forged uid does not make a foreign object ours", func() *corev1.Event {
			return event("e", "Pod", "their-pod", "uid-1", "forged")
		}},
		"our name in another namespace": {"the reference leads out of the host namespace", func() *corev1.Event {
			e := event("e", "Pod", "web-x-shop-x-vc", "uid-1", "forged")
			e.InvolvedObject.Namespace = "team-b"
			return e
		}},
		"a kind that is not on the host": {"a Deployment of the host's has nothing to do with the tenant's", func() *corev1.Event {
			return event("e", "Deployment", "web-x-shop-x-vc", "uid-1", "x")
		}},
		"a container that only the host pod has": {"its name and image are none of the tenant's", func() *corev1.Event {
			e := event("e", "Pod", "web-x-shop-x-vc", "uid-1", "Pulled image registry.example/porticod:1")
			e.InvolvedObject.FieldPath = "spec.initContainers{" + rewrite.EtcHostsName + "}"
			e.Type = corev1.EventTypeNormal
			return e
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, []runtime.Object{pod("web", "uid-1")}, []runtime.Object{tc.event()})
			t.Log(tc.reason)
			h.nothingElse()
		})
	}
}

// A tenant may know why a pod waits, and not for which image of the
// installation.
func TestTroubleOfAHiddenContainerIsShownWithoutIt(t *testing.T) {
	host := event("web.1", "Pod", "web-x-shop-x-vc", "uid-1", "Failed to pull image registry.example/porticod:1")
	host.InvolvedObject.FieldPath = "spec.initContainers{" + rewrite.EtcHostsName + "}"
	h := newHarness(t, []runtime.Object{pod("web", "uid-1")}, []runtime.Object{host})
	got := h.event("web", "a warning", 0, anyEvent)
	if got.Type != corev1.EventTypeWarning || got.InvolvedObject.FieldPath != "" || !strings.HasPrefix(got.Message, "/etc/hosts of the pod is not written yet") {
		t.Errorf("the tenant reads %+v", got)
	}
}

func TestTenantsOwnEventIsLeftAlone(t *testing.T) {
	host := event("web.1", "Pod", "web-x-shop-x-vc", "uid-1", "the host's")
	probe := newHarness(t, []runtime.Object{pod("web", "uid-1")}, []runtime.Object{host})
	name := probe.event("web", "an event", 0, anyEvent).Name

	own := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "shop", Name: name},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: "mine", UID: "uid-mine"},
		Message:        "the tenant's", Count: 1,
	}
	h := newHarness(t, []runtime.Object{pod("web", "uid-1"), pod("marker", "marker-uid"), own}, []runtime.Object{host})
	h.createHostEvent(event("marker", "Pod", h.translator.Name("shop", "marker"), "marker-uid", "done"))
	h.event("marker", "the marker", 0, anyEvent)
	h.stop()
	got := h.event("mine", "the tenant's event", 0, anyEvent)
	if got.Message != "the tenant's" || got.Count != 1 {
		t.Errorf("the tenant's event was changed: %+v", got)
	}
}

// A pod of an earlier version is the object of Events under its former name,
// also after it has gone, and their texts have virtual names.
func TestEventsOfAFormerPod(t *testing.T) {
	const longName = "a-name-that-needs-the-hash-rule-on-the-host-because-it-is-so-long"
	p := pod(longName, "uid-1")
	p.Spec.Volumes[0].Secret.SecretName = longName
	h := newHarness(t, []runtime.Object{p}, nil)
	former, _ := h.translator.FormerName("shop", longName)
	h.createHostEvent(event("web.1", "Pod", former, "uid-1", `secret "`+former+`" not found`))
	if got := h.event(longName, "an event", 0, anyEvent); got.Message != `secret "`+longName+`" not found` {
		t.Errorf("message %q", got.Message)
	}
	if err := h.virtual.CoreV1().Pods("shop").Delete(t.Context(), longName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.createHostEvent(event("web.2", "Pod", former, "uid-1", "Stopping container c"))
	h.event(longName, "the last event", 0, func(e corev1.Event) bool { return strings.HasPrefix(e.Message, "Stopping") })
}

// TestAttackEventOfAnotherFormerPod: a tenant who searches finds a pod whose former
// host name is that of another. The uid says which of them an Event is about.
func TestAttackEventOfAnotherFormerPod(t *testing.T) {
	const longName = "a-name-that-needs-the-hash-rule-on-the-host-because-it-is-so-long"
	h := newHarness(t, []runtime.Object{pod(longName, "uid-1")}, nil)
	former, _ := h.translator.FormerName("shop", longName)
	h.createHostEvent(event("web.1", "Pod", former, "uid-2", "of another pod"))
	h.nothingElse()
}
