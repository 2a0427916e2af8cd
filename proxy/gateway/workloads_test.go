// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	testingclock "k8s.io/utils/clock/testing"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/marks"
)

var midnight = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// asleep is a cluster that sleeps, as porticod leaves it.
func asleep(cluster types.NamespacedName, more map[string]string) *appsv1.StatefulSet {
	none := int32(0)
	s := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: cluster.Namespace, Name: cluster.Name, ResourceVersion: "7",
			Labels: map[string]string{rewrite.LabelCluster: cluster.Name},
			Annotations: map[string]string{
				marks.AnnotationSleeping: midnight.Add(-time.Hour).Format(time.RFC3339), marks.AnnotationReplicas: "1",
				marks.AnnotationWakeAt: midnight.Add(time.Hour).Format(time.RFC3339),
			},
		},
		Spec: appsv1.StatefulSetSpec{Replicas: &none},
	}
	for k, v := range more {
		s.Annotations[k] = v
	}
	return s
}

// longWait is how long clients wait in these tests, which is longer than a
// cluster's door is waited for without.
const longWait = 5 * time.Minute

// bedroom is a host with workloads, and what is written to it.
type bedroom struct {
	*Workloads
	host    *fake.Clientset
	clock   *testingclock.FakeClock
	patches chan string
}

func newBedroom(t *testing.T, objects ...runtime.Object) *bedroom {
	t.Helper()
	b := &bedroom{host: fake.NewClientset(objects...), clock: testingclock.NewFakeClock(midnight), patches: make(chan string, 1000)}
	b.host.PrependReactor("patch", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		b.patches <- a.GetResource().Resource + " " + a.(clienttesting.PatchAction).GetName() + " " + string(a.(clienttesting.PatchAction).GetPatch())
		return false, nil, nil
	})
	registerMetrics()
	b.Workloads = NewWorkloads(b.host, b.clock, longWait)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if !cache.WaitForCacheSync(ctx.Done(), b.Synced) {
		t.Fatal("the workloads do not come")
	}
	return b
}

func (b *bedroom) replicas(t *testing.T, cluster types.NamespacedName) int32 {
	t.Helper()
	s, err := b.host.AppsV1().StatefulSets(cluster.Namespace).Get(t.Context(), cluster.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return *s.Spec.Replicas
}

func (b *bedroom) written() int { return len(b.patches) }

func TestWake(t *testing.T) {
	one := int32(1)
	runs := asleep(shop, nil)
	runs.Spec.Replicas, runs.Annotations = &one, nil
	justWoken := asleep(shop, nil)
	justWoken.Spec.Replicas, justWoken.Annotations = &one, map[string]string{marks.AnnotationWoken: midnight.Add(-10*time.Second).Format(time.RFC3339) + " time"}
	longAwake := asleep(shop, nil)
	longAwake.Spec.Replicas, longAwake.Annotations = &one, map[string]string{marks.AnnotationWoken: midnight.Add(-time.Hour).Format(time.RFC3339) + " time"}
	scaled := asleep(shop, nil)
	scaled.Annotations = nil
	part := asleep(types.NamespacedName{Namespace: shop.Namespace, Name: "shop-etcd"}, nil)
	part.Labels[rewrite.LabelCluster] = shop.Name
	deployment := &appsv1.Deployment{ObjectMeta: asleep(shop, map[string]string{marks.AnnotationReplicas: "3"}).ObjectMeta, Spec: appsv1.DeploymentSpec{Replicas: scaled.Spec.Replicas}}
	for name, c := range map[string]struct {
		workload runtime.Object
		waits    bool
		err      error
		patch    string // a part of it
	}{
		"sleeps":                        {asleep(shop, nil), true, nil, `"replicas":1`},
		"sleeps, with several replicas": {deployment, true, nil, `"replicas":3`},
		"runs":                          {runs, false, nil, ""},
		"another gateway has woken it":  {justWoken, true, nil, ""},
		"was woken long ago":            {longAwake, false, nil, ""},
		"is paused":                     {asleep(shop, map[string]string{marks.AnnotationPaused: "true"}), false, ErrPaused, ""},
		"was scaled down by somebody":   {scaled, false, nil, ""},
		"is another part of a cluster":  {part, false, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBedroom(t, c.workload)
			waits, err := b.Wake(t.Context(), shop)
			if waits != c.waits || !errors.Is(err, c.err) {
				t.Errorf("waits %v, %v", waits, err)
			}
			if (b.written() == 1) != (c.patch != "") {
				t.Fatalf("%d patches", b.written())
			}
			if c.patch == "" {
				return
			}
			if got := <-b.patches; !strings.Contains(got, c.patch) || !strings.Contains(got, `"resourceVersion":"7"`) || !strings.Contains(got, " connection") {
				t.Errorf("patched with %s", got)
			}
			// One who comes a moment later waits as well, and writes nothing.
			if waits, err := b.Wake(t.Context(), shop); !waits || err != nil || b.written() != 0 {
				t.Errorf("a moment later: waits %v, %v, %d patches", waits, err, b.written())
			}
		})
	}
}

// A client waits as long as the operator says, also one who comes more than a
// minute after the wake-up, and whoever has woken the cluster.
func TestWakeIsWaitedForAsLongAsClientsWait(t *testing.T) {
	one := int32(1)
	byAnother := asleep(other, nil)
	byAnother.Spec.Replicas, byAnother.Annotations = &one, map[string]string{marks.AnnotationWoken: midnight.Format(time.RFC3339) + " time"}
	b := newBedroom(t, asleep(shop, nil), byAnother)
	if waits, err := b.Wake(t.Context(), shop); !waits || err != nil {
		t.Fatalf("waits %v, %v", waits, err)
	}
	for !b.find(shop).rest().Sleeping.IsZero() { // until the view has the wake-up
		goruntime.Gosched()
	}
	for after, want := range map[time.Duration]bool{longWait - time.Second: true, longWait: false} {
		b.clock.SetTime(midnight.Add(after))
		for _, cluster := range []types.NamespacedName{shop, other} {
			if waits, err := b.Wake(t.Context(), cluster); waits != want || err != nil {
				t.Errorf("%s, %s after it was woken: waits %v, %v", cluster, after, waits, err)
			}
		}
	}
}

// A crowd that comes at the same moment is one wake-up.
func TestWakeIsDoneOnceForAll(t *testing.T) {
	b := newBedroom(t, asleep(shop, nil))
	var crowd sync.WaitGroup
	for range 50 {
		crowd.Go(func() {
			if waits, err := b.Wake(t.Context(), shop); !waits || err != nil {
				t.Errorf("waits %v, %v", waits, err)
			}
		})
	}
	crowd.Wait()
	if b.written() != 1 || b.replicas(t, shop) != 1 {
		t.Errorf("%d patches, replicas %d", b.written(), b.replicas(t, shop))
	}
}

// Clusters are woken when their time has come, and not before.
func TestWakeAt(t *testing.T) {
	paused := asleep(other, map[string]string{marks.AnnotationPaused: "true"})
	b := newBedroom(t, asleep(shop, nil), paused)
	b.clock.SetTime(midnight.Add(time.Hour - time.Second))
	b.wakeDue(t.Context())
	if b.written() != 0 {
		t.Fatalf("woken too early: %s", <-b.patches)
	}
	for !b.clock.HasWaiters() { // Run sleeps between its rounds.
		b.clock.Step(0)
	}
	b.clock.SetTime(midnight.Add(time.Hour + round))
	if got := <-b.patches; !strings.Contains(got, "statefulsets shop ") || !strings.Contains(got, " time") {
		t.Errorf("woken with %s", got)
	}
	if b.replicas(t, shop) != 1 || b.replicas(t, other) != 0 {
		t.Errorf("replicas %d, and %d of the one that is paused", b.replicas(t, shop), b.replicas(t, other))
	}
}

// TestAttackWakeAPausedCluster: a client comes at the moment in which a person
// pauses a cluster that sleeps, so that the view still says that it sleeps.
func TestAttackWakeAPausedCluster(t *testing.T) {
	b := newBedroom(t, asleep(shop, nil))
	var once sync.Once
	b.host.PrependReactor("patch", "statefulsets", func(clienttesting.Action) (bool, runtime.Object, error) {
		conflict := false
		once.Do(func() {
			conflict = true
			now := asleep(shop, map[string]string{marks.AnnotationPaused: "true"})
			if err := b.host.Tracker().Update(appsv1.SchemeGroupVersion.WithResource("statefulsets"), now, shop.Namespace); err != nil {
				t.Error(err)
			}
		})
		if conflict {
			return true, nil, apierrors.NewConflict(schema.GroupResource{Group: "apps", Resource: "statefulsets"}, "shop", nil)
		}
		return false, nil, nil
	})
	if waits, err := b.Wake(t.Context(), shop); waits || !errors.Is(err, ErrPaused) || b.replicas(t, shop) != 0 {
		t.Errorf("waits %v, %v, replicas %d", waits, err, b.replicas(t, shop))
	}
}

// TestAttackWakeEverything: a stranger who knows the names of all clusters starts
// a bounded number of them, and names that nobody has cost the host nothing.
func TestAttackWakeEverything(t *testing.T) {
	var objects []runtime.Object
	name := func(i int) types.NamespacedName {
		return types.NamespacedName{Namespace: "team-a", Name: fmt.Sprintf("shop-%d", i)}
	}
	for i := range 3 * wakeBurst {
		objects = append(objects, asleep(name(i), nil))
	}
	b := newBedroom(t, objects...)
	refused := 0
	for i := range 3 * wakeBurst {
		if _, err := b.Wake(t.Context(), name(i)); errors.Is(err, ErrTooManyWakes) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if b.written() != wakeBurst || refused != 2*wakeBurst {
		t.Errorf("%d woken, %d refused", b.written(), refused)
	}
	before := len(b.host.Actions())
	for i := range 100 {
		if waits, err := b.Wake(t.Context(), types.NamespacedName{Namespace: "team-a", Name: fmt.Sprintf("guess-%d", i)}); waits || err != nil {
			t.Errorf("a guess: waits %v, %v", waits, err)
		}
	}
	if after := len(b.host.Actions()); after != before {
		t.Errorf("guesses cost the host %d requests", after-before)
	}
	// Their own work goes on. A clientset of a test knows no conflicts, so that
	// one may be woken twice.
	b.clock.SetTime(midnight.Add(2 * time.Hour))
	b.wakeDue(t.Context())
	for i := range 3 * wakeBurst {
		if got := b.replicas(t, name(i)); got != 1 {
			t.Errorf("%s has %d replicas after its time has come", name(i), got)
		}
	}
}

// alarm is a Waker of a test: its cluster's door opens some time after the wake.
type alarm struct {
	waits bool
	err   error
	calls atomic.Int32
	// asleep is the answer to a client who does not wake.
	asleep error
}

func (a *alarm) Wake(context.Context, types.NamespacedName) (bool, error) {
	a.calls.Add(1)
	return a.waits, a.err
}

func (a *alarm) Look(types.NamespacedName) (bool, error) { return a.waits, a.asleep }

// doorOpensAt refuses the first connections.
func doorOpensAt(n int32, attempts *atomic.Int32) func(context.Context, netip.AddrPort) (net.Conn, error) {
	return func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		if attempts.Add(1) < n {
			return nil, errors.New("connection refused")
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", to.String())
	}
}

// A client that comes for a cluster that sleeps sees a slow answer.
func TestClientWaitsForAWakingCluster(t *testing.T) {
	var attempts atomic.Int32
	a := &alarm{waits: true}
	h := newHost(t, func(o *Options) { o.Waker, o.Dial = a, doorOpensAt(4, &attempts) })
	c, err := h.handshake(t, "shop.team-a.svc")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if r := answer(t, c); r.StatusCode != http.StatusOK || attempts.Load() != 4 || a.calls.Load() != 1 {
		t.Errorf("%s after %d attempts, %d calls", r.Status, attempts.Load(), a.calls.Load())
	}
	attempts.Store(0)
	if r := h.say(t, request("shop.team-a.svc:443", tokenOf("team-a", "shop.gateway"))); r.StatusCode != http.StatusOK {
		t.Errorf("by CONNECT: %s", r.Status)
	}
}

func TestClientOfAClusterThatIsNotWoken(t *testing.T) {
	for name, c := range map[string]struct {
		alarm  *alarm
		reason string
	}{
		"paused":           {&alarm{err: ErrPaused}, "is paused"},
		"too many":         {&alarm{err: ErrTooManyWakes}, "wakes too many"},
		"not up in time":   {&alarm{waits: true}, "still starting"},
		"awake and silent": {&alarm{}, "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, func(o *Options) {
				o.Waker, o.Timeouts = c.alarm, DefaultTimeouts
				// The hello's deadline passes while the client waits.
				o.Timeouts.Wake, o.Timeouts.Hello = 300*time.Millisecond, 200*time.Millisecond
				o.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, errors.New("10.0.0.1 refuses") }
			})
			if _, err := h.handshake(t, "shop.team-a.svc"); !isAlert(err, alertInternal) {
				t.Errorf("by name: %v", err)
			}
			r := h.say(t, request("shop.team-a.svc:443", tokenOf("team-a", "shop.gateway")))
			if r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(r.Status, c.reason) || strings.Contains(r.Status, "10.0.0.1") || r.Header.Get("Retry-After") == "" {
				t.Errorf("by CONNECT: %s, %v", r.Status, r.Header)
			}
			h.settled(t)
		})
	}
}

// TestAttackWakeWithoutAToken: by CONNECT, only the token of a cluster wakes it.
func TestAttackWakeWithoutAToken(t *testing.T) {
	a := &alarm{waits: true}
	h := newHost(t, func(o *Options) { o.Waker = a })
	for name, token := range map[string]string{"none": "", "a stranger's": "a.b.c", "another cluster's": tokenOf("team-b", "shop.gateway")} {
		if r := h.say(t, request("shop.team-a.svc:443", token)); r.StatusCode == http.StatusOK {
			t.Errorf("%s: %s", name, r.Status)
		}
	}
	if n := a.calls.Load(); n != 0 {
		t.Errorf("woken %d times", n)
	}
	// And by name, none that there is not.
	if _, err := h.handshake(t, "guess.team-a.svc"); !isAlert(err, alertUnrecognized) || a.calls.Load() != 0 {
		t.Errorf("a guessed name: %v, woken %d times", err, a.calls.Load())
	}
}

// A program with a token that does not wake hears when to come again, and is led
// to a cluster that is awake, or that others have woken.
func TestTokenThatDoesNotWake(t *testing.T) {
	for name, c := range map[string]struct {
		alarm  *alarm
		status int
		reason string
	}{
		"asleep":          {&alarm{asleep: ErrAsleep}, http.StatusServiceUnavailable, "sleeps, and this token does not wake it"},
		"paused":          {&alarm{asleep: ErrPaused}, http.StatusServiceUnavailable, "is paused"},
		"awake":           {&alarm{}, http.StatusOK, ""},
		"woken by others": {&alarm{waits: true}, http.StatusOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, func(o *Options) {
				o.Waker, o.Reviewer = c.alarm, NewTokens(reviewed(AudienceNoWake).AuthenticationV1().TokenReviews(), nil)
			})
			r := h.say(t, request("shop.team-a.svc:443", tokenOf("team-a", "shop.gateway")))
			if r.StatusCode != c.status || !strings.Contains(r.Status, c.reason) || c.alarm.calls.Load() != 0 {
				t.Errorf("%s, woken %d times", r.Status, c.alarm.calls.Load())
			}
			if got := r.Header.Get("Retry-After"); c.status != http.StatusOK && got != "60" {
				t.Errorf("try again after %q", got)
			}
			// It leads to its own cluster only, as any other.
			if r := h.say(t, request("shop.team-b.svc:443", tokenOf("team-a", "shop.gateway"))); r.StatusCode != http.StatusForbidden {
				t.Errorf("another cluster: %s", r.Status)
			}
		})
	}
}

func TestLook(t *testing.T) {
	b := newBedroom(t, asleep(shop, nil))
	if waits, err := b.Look(shop); waits || !errors.Is(err, ErrAsleep) || b.written() != 0 {
		t.Errorf("waits %v, %v, %d patches", waits, err, b.written())
	}
	if waits, err := b.Wake(t.Context(), shop); !waits || err != nil {
		t.Fatal(waits, err)
	}
	if waits, err := b.Look(shop); !waits || err != nil {
		t.Errorf("after a wake-up: waits %v, %v", waits, err)
	}
	if waits, err := b.Look(other); waits || err != nil {
		t.Errorf("one that is not there: waits %v, %v", waits, err)
	}
}

// TestAttackTokenOfBothAudiences: such a token would wake or not as the gateway
// reads it.
func TestAttackTokenOfBothAudiences(t *testing.T) {
	for _, audiences := range [][]string{{Audience, AudienceNoWake}, {AudienceNoWake, "https://kubernetes.default.svc"}, {}} {
		status := authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: audiences, User: authenticationv1.UserInfo{Username: "system:serviceaccount:team-a:shop.gateway"}}
		if pass, ok := passOf(status); ok {
			t.Errorf("%v: %v", audiences, pass)
		}
	}
}
