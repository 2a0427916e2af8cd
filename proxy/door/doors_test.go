// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/fake"
	testclock "k8s.io/utils/clock/testing"

	"portico.dev/portico/proxy/door"
	"portico.dev/portico/rewrite"
)

// street is a cluster with several doors, and who answers at them.
type street struct {
	t      *testing.T
	client *fake.Clientset
	clock  *testclock.FakeClock

	mu   sync.Mutex
	dead map[netip.AddrPort]bool
}

func newStreet(t *testing.T) *street {
	t.Helper()
	return &street{t: t, client: fake.NewClientset(), clock: testclock.NewFakeClock(time.Now()), dead: map[netip.AddrPort]bool{}}
}

func (s *street) knock(_ context.Context, at netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead[at] {
		return errors.New("nobody answers")
	}
	return nil
}

func (s *street) kill(at string, dead bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead[netip.MustParseAddrPort(at)] = dead
}

// replica opens a door and runs the parts of a replica. stop ends it cleanly.
func (s *street) replica(at string, lead bool) (d *door.Doors, stop func()) {
	s.t.Helper()
	address := netip.MustParseAddrPort(at)
	o := door.Options{
		Cluster: "vc", Namespace: hostNamespace, TargetPort: int32(address.Port()), Advertise: address.Addr(), Replicas: true, Clock: s.clock,
		DNS: &door.DNSEndpoint{Service: hostDNS, Port: 1053},
	}
	entrance, err := door.EnsureService(s.t.Context(), s.client, o)
	if err != nil {
		s.t.Fatal(err)
	}
	d = door.NewDoors(s.client, o, func() metav1.OwnerReference { return entrance.Owner })
	ctx, cancel := context.WithCancel(s.t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Observe(ctx) })
	if lead {
		running.Go(func() { _ = d.Check(ctx, s.client, s.knock) })
	}
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	s.t.Cleanup(stop)
	return d, stop
}

// sees waits until a replica knows exactly these doors. Time passes by step
// between two looks.
func (s *street) sees(d *door.Doors, step time.Duration, want ...string) {
	s.t.Helper()
	var got []string
	err := wait.PollUntilContextTimeout(s.t.Context(), 5*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		got = nil
		for _, a := range d.Ready() {
			got = append(got, a.String())
		}
		if slices.Equal(got, want) {
			return true, nil
		}
		s.clock.Step(step)
		return false, nil
	})
	if err != nil {
		s.t.Fatalf("doors are %v, want %v", got, want)
	}
}

const (
	doorA, doorB, doorC = "192.0.2.1:8443", "192.0.2.2:8443", "192.0.2.3:9443"
	tick                = time.Second
)

func TestLeaderClosesTheDoorsOfTheDead(t *testing.T) {
	s := newStreet(t)
	a, _ := s.replica(doorA, true)
	b, _ := s.replica(doorB, false)
	s.replica(doorC, false)
	for _, d := range []*door.Doors{a, b} {
		s.sees(d, tick, doorA, doorB, doorC)
	}
	s.kill(doorC, true)
	s.sees(b, tick, doorA, doorB)
	s.kill(doorC, false)
	s.sees(b, tick, doorA, doorB, doorC)
}

// Pods must not ask a DNS that is gone, either.
func TestTheDNSOfAReplicaFollowsItsDoor(t *testing.T) {
	s := newStreet(t)
	a, _ := s.replica(doorA, true)
	_, stop := s.replica(doorB, false)
	dns := func() string {
		slice, err := s.client.DiscoveryV1().EndpointSlices(hostNamespace).Get(t.Context(), "vc-dns-192-0-2-2-8443", metav1.GetOptions{})
		if err != nil {
			return "gone"
		}
		if slice.Labels[discoveryv1.LabelServiceName] != hostDNS || len(slice.Ports) != 2 || *slice.Ports[0].Port != 1053 {
			t.Fatalf("slice of the DNS: %+v", slice)
		}
		return map[bool]string{true: "open", false: "closed"}[*slice.Endpoints[0].Conditions.Ready]
	}
	s.sees(a, tick, doorA, doorB)
	if got := dns(); got != "open" {
		t.Errorf("DNS of a replica that serves is %s", got)
	}
	s.kill(doorB, true)
	s.sees(a, tick, doorA)
	if got := dns(); got != "closed" {
		t.Errorf("DNS of a replica that is silent is %s", got)
	}
	s.kill(doorB, false)
	s.sees(a, tick, doorA, doorB)
	if got := dns(); got != "open" {
		t.Errorf("DNS of a replica that is back is %s", got)
	}
	stop()
	if got := dns(); got != "gone" {
		t.Errorf("DNS of a replica that ended is %s", got)
	}
}

func TestAReplicaThatEndsClosesItsDoor(t *testing.T) {
	s := newStreet(t)
	a, _ := s.replica(doorA, true)
	_, stop := s.replica(doorB, false)
	s.sees(a, tick, doorA, doorB)
	stop()
	s.sees(a, 0, doorA)
}

// A leader that gets no answer at all is itself the one that is cut off.
func TestNoDoorIsClosedWhenAllAreSilent(t *testing.T) {
	s := newStreet(t)
	a, _ := s.replica(doorA, true)
	s.replica(doorB, false)
	s.sees(a, tick, doorA, doorB)
	s.kill(doorA, true)
	s.kill(doorB, true)
	for range 20 {
		s.clock.Step(2 * time.Second)
		s.sees(a, 0, doorA, doorB)
	}
}

// A door that is silent for long is forgotten; its replica, if it lives after
// all, puts it on the list again.
func TestDoorsAreForgottenAndComeBack(t *testing.T) {
	s := newStreet(t)
	a, _ := s.replica(doorA, true)
	_, stop := s.replica(doorB, false)
	s.sees(a, tick, doorA, doorB)
	all := func() int {
		l, err := s.client.DiscoveryV1().EndpointSlices(hostNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=vc"})
		if err != nil {
			t.Fatal(err)
		}
		return len(l.Items)
	}
	stop() // takes it off
	gone := door.Options{Cluster: "vc", Namespace: hostNamespace, TargetPort: 8443, Advertise: netip.MustParseAddr("192.0.2.9"), Replicas: true}
	if _, err := door.EnsureService(t.Context(), s.client, gone); err != nil { // and dies at once
		t.Fatal(err)
	}
	s.kill("192.0.2.9:8443", true)
	s.sees(a, tick, doorA)
	if n := all(); n != 2 {
		t.Errorf("%d slices right after a replica died, want 2", n)
	}
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		s.clock.Step(time.Minute)
		return all() == 1, nil
	})
	if err != nil {
		t.Fatal("the door of a replica that is gone for good stays for ever")
	}
	if err := s.client.DiscoveryV1().EndpointSlices(hostNamespace).Delete(t.Context(), "vc-door-192-0-2-1-8443", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	err = wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		s.clock.Step(tick)
		return all() == 1, nil
	})
	if err != nil {
		t.Error("a replica that lives does not put its door on the list again")
	}
}

// TestAttackNeighbourAnnouncesADoor: another user of the host namespace writes
// a slice that names the cluster's Service. It is no door: only the missing
// label of the cluster distinguishes it from those of the host's controllers.
func TestAttackNeighbourAnnouncesADoor(t *testing.T) {
	s := newStreet(t)
	ready, port, address := true, int32(8443), "192.0.2.66"
	slice := func(name, address, cluster string) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: hostNamespace, Labels: map[string]string{
				discoveryv1.LabelServiceName: "vc", discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io", rewrite.LabelCluster: cluster,
			}},
			AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: &port}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		}
	}
	for _, obj := range []*discoveryv1.EndpointSlice{slice("theirs", address, "other"), slice("the-hosts", "192.0.2.7", "vc")} {
		if _, err := s.client.DiscoveryV1().EndpointSlices(hostNamespace).Create(t.Context(), obj, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := s.replica(doorA, false)
	s.sees(a, 0, doorA, "192.0.2.7:8443")
}
