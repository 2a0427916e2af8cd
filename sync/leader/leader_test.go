// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package leader_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/sync/leader"
)

// replica is one of several that compete on a cluster.
type replica struct {
	elector *leader.Elector
	leads   chan struct{} // receives when work begins
	ended   chan error    // receives Run's error
	stop    context.CancelFunc
	// finish, if set, holds work up after its context has ended.
	finish chan struct{}
}

func start(t *testing.T, client *fake.Clientset, identity string, finish chan struct{}) *replica {
	t.Helper()
	e, err := leader.New(leader.Config{
		Virtual: client, Identity: identity,
		LeaseDuration: 2 * time.Second, RenewDeadline: time.Second, RetryPeriod: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r := &replica{elector: e, leads: make(chan struct{}, 1), ended: make(chan error, 1), stop: stop, finish: finish}
	go func() {
		r.ended <- e.Run(ctx, func(ctx context.Context) error {
			r.leads <- struct{}{}
			<-ctx.Done()
			if r.finish != nil {
				<-r.finish
			}
			return nil
		})
	}()
	t.Cleanup(stop)
	return r
}

// holder is who the Lease says leads.
func holder(t *testing.T, client *fake.Clientset) string {
	t.Helper()
	l, err := client.CoordinationV1().Leases(leader.LeaseNamespace).Get(t.Context(), leader.LeaseName, metav1.GetOptions{})
	if err != nil || l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

func TestALeaderThatStopsIsFollowedAfterItsWorkHasEnded(t *testing.T) {
	client := fake.NewClientset()
	finish := make(chan struct{})
	a := start(t, client, "a", finish)
	<-a.leads
	b := start(t, client, "b", nil)
	a.stop()
	select {
	case <-b.leads:
		t.Fatal("b leads beside a")
	case <-a.ended:
		t.Fatal("a gave up before its work has ended")
	case <-time.After(300 * time.Millisecond): // The negative cannot be waited for.
	}
	if got := holder(t, client); got != "a" {
		t.Errorf("the lease is held by %q while a's work goes on", got)
	}
	close(finish)
	if err := <-a.ended; err != nil {
		t.Errorf("a ended with %v", err)
	}
	<-b.leads
}

func TestAReplicaThatWaitsEndsWithoutHavingLed(t *testing.T) {
	client := fake.NewClientset()
	a := start(t, client, "a", nil)
	<-a.leads
	b := start(t, client, "b", nil)
	b.stop()
	if err := <-b.ended; err != nil {
		t.Errorf("b ended with %v", err)
	}
	select {
	case <-b.leads:
		t.Error("b led")
	default:
	}
	if got := holder(t, client); got != "a" {
		t.Errorf("the lease is held by %q", got)
	}
}

// refuseUpdates returns a cluster that refuses updates of the Lease by "a"
// once the switch is on.
func refuseUpdates() (client *fake.Clientset, on *atomic.Bool) {
	client, on = fake.NewClientset(), &atomic.Bool{}
	client.PrependReactor("update", "leases", func(action clienttesting.Action) (bool, runtime.Object, error) {
		l := action.(clienttesting.UpdateAction).GetObject().(*coordinationv1.Lease)
		return on.Load() && *l.Spec.HolderIdentity == "a", nil, errors.New("refused")
	})
	return client, on
}

func TestALeaderThatCannotRenewIsDeposed(t *testing.T) {
	client, refuse := refuseUpdates()
	a := start(t, client, "a", nil)
	<-a.leads
	refuse.Store(true)
	if err := <-a.ended; !errors.Is(err, leader.ErrLost) {
		t.Errorf("a ended with %v, want ErrLost", err)
	}
	if got := holder(t, client); got != "a" {
		t.Errorf("the lease is held by %q: a deposed leader must not touch it", got)
	}
}

// A process that was stopped for longer than its Lease finds that somebody
// else leads. It must not take the Lease back, nor go on.
func TestALeaderThatFindsAnotherEndsAtOnce(t *testing.T) {
	client, refuse := refuseUpdates() // The fake cluster knows no resourceVersions.
	a := start(t, client, "a", nil)
	<-a.leads
	l, err := client.CoordinationV1().Leases(leader.LeaseNamespace).Get(t.Context(), leader.LeaseName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	refuse.Store(true)
	other := "other"
	l.Spec.HolderIdentity = &other
	if _, err := client.CoordinationV1().Leases(leader.LeaseNamespace).Update(t.Context(), l, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := <-a.ended; !errors.Is(err, leader.ErrLost) {
		t.Errorf("a ended with %v, want ErrLost", err)
	}
	if got := holder(t, client); got != other {
		t.Errorf("the lease is held by %q, want %q", got, other)
	}
}

func TestOnlyALeaderPassesTheFence(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer server.Close()
	client := fake.NewClientset()
	a := start(t, client, "a", nil)
	<-a.leads
	b := start(t, client, "b", nil)
	request := func(r *replica) error {
		c := http.Client{Transport: r.elector.Fence(http.DefaultTransport)}
		response, err := c.Get(server.URL)
		if err != nil {
			return err
		}
		return response.Body.Close()
	}
	if err := request(a); err != nil {
		t.Errorf("request of the leader: %v", err)
	}
	if err := request(b); !errors.Is(err, leader.ErrDeposed) {
		t.Errorf("request of another: %v, want ErrDeposed", err)
	}
	a.stop()
	<-a.ended
	if err := request(a); !errors.Is(err, leader.ErrDeposed) {
		t.Errorf("request after the term: %v, want ErrDeposed", err)
	}
	if asked != 1 {
		t.Errorf("%d requests were sent, want 1", asked)
	}
}

func TestALeaseThatIsShorterThanItsRenewalIsRefused(t *testing.T) {
	_, err := leader.New(leader.Config{LeaseDuration: 5 * time.Second, RenewDeadline: 4 * time.Second, RetryPeriod: time.Second})
	if err == nil {
		t.Error("accepted")
	}
}
