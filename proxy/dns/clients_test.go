// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package dns_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"

	"portico.dev/portico/proxy/dns"
)

// Addresses of this machine, which play those of pods, nodes and others.
const (
	podIP      = "127.0.0.21"
	nodeIP     = "127.0.0.22"
	otherIP    = "127.0.0.23" // another address of the node
	tunnelIP   = "127.0.8.0"  // of its pod network
	strangerIP = "127.0.0.66"
)

func pod(name string, phase corev1.PodPhase, ip string) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       corev1.PodSpec{NodeName: "n1"},
		Status:     corev1.PodStatus{Phase: phase, HostIP: nodeIP, HostIPs: []corev1.HostIP{{IP: nodeIP}}},
	}
	if ip != "" {
		p.Status.PodIP, p.Status.PodIPs = ip, []corev1.PodIP{{IP: ip}}
	}
	return p
}

func node(name string, addresses ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDRs: []string{"127.0.8.0/24"}}}
	n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: name})
	for _, a := range addresses {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: a})
	}
	return n
}

// only allows no clients but networks by configuration, and refuses strangers
// soon.
func only(networks ...string) option {
	return func(c *dns.Config) {
		c.Clients, c.Patience = nil, 10*time.Millisecond
		for _, n := range networks {
			c.Clients = append(c.Clients, netip.MustParsePrefix(n))
		}
	}
}

func patient(c *dns.Config) { c.Patience = patience }

func question() *mdns.Msg {
	return new(mdns.Msg).SetQuestion("web.shop.svc.cluster.local.", mdns.TypeA)
}

// rcodeFor is the code of an answer to a question from an address.
func (s *server) rcodeFor(ip, network string) int {
	s.t.Helper()
	m, err := s.exchangeFrom(ip, question(), network)
	if err != nil {
		s.t.Fatalf("ask from %s over %s: %v", ip, network, err)
	}
	if m.Rcode != mdns.RcodeSuccess && len(m.Answer) > 0 {
		s.t.Errorf("%s from %s with answers: %v", mdns.RcodeToString[m.Rcode], ip, m)
	}
	return m.Rcode
}

// Another tenant of the host asks this cluster's DNS, from a pod that was never
// the cluster's, that has ended, or on a node where the cluster has no pod.
// They are refused, over UDP and TCP, and no resolver is asked for them.
func TestAttackNeighbourAsksTheDNS(t *testing.T) {
	at, asked := countingUpstream(t, map[string]string{"www.example.": "www.example. 300 IN A 192.0.2.80"})
	s := serve(t, append(world(),
		pod("mine", corev1.PodRunning, podIP),
		pod("ended", corev1.PodSucceeded, "127.0.0.31"), pod("broken", corev1.PodFailed, "127.0.0.32"),
		node("n1", otherIP), node("n2", "127.0.0.33"),
	), upstream(at), only("127.0.9.0/24"))
	for _, network := range []string{"udp", "tcp"} {
		for ip, want := range map[string]int{
			podIP: mdns.RcodeSuccess, nodeIP: mdns.RcodeSuccess, otherIP: mdns.RcodeSuccess,
			tunnelIP: mdns.RcodeSuccess, "127.0.8.1": mdns.RcodeSuccess, "127.0.9.9": mdns.RcodeSuccess,
			strangerIP: mdns.RcodeRefused, "127.0.0.31": mdns.RcodeRefused, "127.0.0.32": mdns.RcodeRefused,
			"127.0.0.33": mdns.RcodeRefused, "127.0.8.2": mdns.RcodeRefused,
		} {
			if got := s.rcodeFor(ip, network); got != want {
				t.Errorf("%s over %s: %s, want %s", ip, network, mdns.RcodeToString[got], mdns.RcodeToString[want])
			}
		}
		m, err := s.exchangeFrom(strangerIP, new(mdns.Msg).SetQuestion("www.example.", mdns.TypeA), network)
		if err != nil || m.Rcode != mdns.RcodeRefused || asked.Load() > 0 {
			t.Errorf("a name of the world: %v (%v), the host's resolver was asked %d times", m, err, asked.Load())
		}
	}
}

// A tenant makes up a Node with the address of a friend elsewhere, to open the
// DNS to the world. No kubelet there has reported a pod: the friend is refused.
func TestAttackTenantOpensTheDNSWithANode(t *testing.T) {
	planned := pod("planned", corev1.PodPending, "")
	planned.Spec.NodeName, planned.Status = "made-up", corev1.PodStatus{Phase: corev1.PodPending}
	s := serve(t, append(world(), node("made-up", strangerIP), planned), only())
	if got := s.rcodeFor(strangerIP, "udp"); got != mdns.RcodeRefused {
		t.Errorf("%s, want REFUSED", mdns.RcodeToString[got])
	}
}

// A pod asks before its kubelet has reported its address: it is answered once
// the address is known, and is not refused.
func TestAPodAsksBeforeItsAddressIsKnown(t *testing.T) {
	s := serve(t, append(world(), pod("new", corev1.PodPending, "")), only(), patient)
	answered := make(chan error, 2)
	for _, network := range []string{"udp", "tcp"} {
		go func() {
			m, err := s.exchangeFrom(podIP, question(), network)
			if err == nil && m.Rcode != mdns.RcodeSuccess {
				err = errors.New(mdns.RcodeToString[m.Rcode])
			}
			answered <- err
		}()
	}
	if got := s.rcodeFor(nodeIP, "udp"); got != mdns.RcodeSuccess { // the node is known already
		t.Errorf("the node: %s", mdns.RcodeToString[got])
	}
	select {
	case err := <-answered:
		t.Fatalf("answered (%v) before the address was known", err)
	default:
	}
	if _, err := s.api.CoreV1().Pods("shop").UpdateStatus(t.Context(), pod("new", corev1.PodRunning, podIP), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
}

// The address of a pod that has gone is refused from then on: the next pod that
// has it may be another tenant's.
func TestAttackNeighbourHasTheAddressOfAPodThatHasGone(t *testing.T) {
	s := serve(t, append(world(), pod("a", corev1.PodRunning, podIP), pod("b", corev1.PodRunning, "127.0.0.41")), only())
	if got := s.rcodeFor(podIP, "udp"); got != mdns.RcodeSuccess {
		t.Fatalf("the pod: %s", mdns.RcodeToString[got])
	}
	refusedSoon := func(what, ip string) {
		t.Helper()
		err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, patience, true, func(context.Context) (bool, error) {
			return s.rcodeFor(ip, "udp") == mdns.RcodeRefused, nil
		})
		if err != nil {
			t.Errorf("%s: still answered", what)
		}
	}
	if _, err := s.api.CoreV1().Pods("shop").UpdateStatus(t.Context(), pod("a", corev1.PodFailed, podIP), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	refusedSoon("ended", podIP)
	if got := s.rcodeFor(nodeIP, "udp"); got != mdns.RcodeSuccess {
		t.Errorf("the node still runs a pod: %s", mdns.RcodeToString[got])
	}
	if err := s.api.CoreV1().Pods("shop").Delete(t.Context(), "b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	refusedSoon("deleted", "127.0.0.41")
	refusedSoon("a node without a pod", nodeIP)
}

// One pod asks as fast as it can. Questions above its share get no answer, and
// another pod is answered as before.
func TestAttackPodFloodsTheDNS(t *testing.T) {
	s := serve(t, append(world(), pod("a", corev1.PodRunning, podIP), pod("b", corev1.PodRunning, "127.0.0.41")), only(), func(c *dns.Config) { c.Queries = 2 })
	s.rcodeFor(podIP, "tcp") // the informers have synced
	unanswered := false
	for range 5 {
		if _, err := s.exchangeFrom(podIP, question(), "tcp"); errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			unanswered = true
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if !unanswered {
		t.Error("six questions at once were answered, want two in a second")
	}
	if got := s.rcodeFor("127.0.0.41", "tcp"); got != mdns.RcodeSuccess {
		t.Errorf("the other pod: %s", mdns.RcodeToString[got])
	}
}

// A neighbour opens connections and says nothing, so that there is none left
// for pods, and so does one pod. Past their share their connections are closed,
// and other pods are answered.
func TestAttackNeighbourHoldsAllConnections(t *testing.T) {
	s := serve(t, append(world(), pod("a", corev1.PodRunning, podIP), pod("b", corev1.PodRunning, "127.0.0.41")), only(), patient, func(c *dns.Config) { c.Connections = 3 })
	s.rcodeFor(podIP, "udp") // the informers have synced
	open := func(ip string) net.Conn {
		t.Helper()
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}).DialContext(t.Context(), "tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	// A silent connection is closed after some seconds. One for which there is no
	// room is closed before another that was opened before it.
	closedAtOnce := func(ip string) bool {
		t.Helper()
		before, conn := open("127.0.0.41"), open(ip)
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		_, err := conn.Read(make([]byte, 1))
		if err := before.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, still := before.Read(make([]byte, 1))
		_ = before.Close()
		return (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) && errors.Is(still, os.ErrDeadlineExceeded)
	}
	for range 3 {
		open(podIP)
	}
	if !closedAtOnce(podIP) {
		t.Error("a fourth connection of the pod is open")
	}
	for i := range 20 {
		for range 8 {
			open(fmt.Sprintf("127.0.66.%d", i))
		}
	}
	if !closedAtOnce("127.0.67.1") {
		t.Error("there is room for more strangers")
	}
	if got := s.rcodeFor("127.0.0.41", "tcp"); got != mdns.RcodeSuccess {
		t.Errorf("the other pod: %s", mdns.RcodeToString[got])
	}
}

// A pod asks for the names of addresses that are Services of the host and of
// other clusters: in private and public networks, in IPv6, hidden in IPv6, and
// in spellings that only some resolvers read as an address. The host's resolver
// is not asked, or its answer is not passed on.
func TestAttackPodAsksForNamesOfAddresses(t *testing.T) {
	const other = "secret.team-b.svc.host.example."
	answers := map[string]string{}
	private := []string{
		"9.0.96.10.in-addr.arpa.", "9.0.96.10.IN-ADDR.ARPA.", "0-9.0.96.10.in-addr.arpa.", "9.0.96.010.in-addr.arpa.", "09.0.96.10.in-addr.arpa.",
		"9.0.24586.in-addr.arpa.", "9.0.96.0x0a.in-addr.arpa.", "9.0.96.::ffff:10.in-addr.arpa.", "x.9.113.0.203.in-addr.arpa.", "113.0.203.in-addr.arpa.",
		":9.:a60.ffff.::.ip6.arpa.", "fd00::9.ip6.arpa.", "9.0.0.0.0.fd00.ip6.arpa.",
		reverse(t, "fd00::9"), strings.ToUpper(reverse(t, "fd00::a")), reverse(t, "fec0::9"), "x." + reverse(t, "2001:db8:1::9"),
		mapped("0000:0000:0000:0000:0000:ffff:0a60:0009"), mapped("0000:0000:0000:0000:0000:0000:0a60:0009"),
		reverse(t, "64:ff9b::a60:9"), reverse(t, "64:ff9b:1::a60:9"),
		// Networks of the host that look like the world's.
		"9.100.51.198.in-addr.arpa.", reverse(t, "2001:db8:77::9"), reverse(t, "64:ff9b::c633:6409"),
	}
	for _, name := range private {
		answers[name] = name + " 30 IN PTR " + other
	}
	// An address that is not configured as one of the host.
	public := []string{"9.113.0.203.in-addr.arpa.", reverse(t, "2001:db8:1::9")}
	answers[public[0]] = public[0] + " 30 IN PTR " + strings.ToUpper(other)
	answers[public[1]] = public[1] + " 30 IN PTR " + other
	answers["8.8.8.8.in-addr.arpa."] = "8.8.8.8.in-addr.arpa. 30 IN PTR dns.example."
	at, asked := countingUpstream(t, answers)
	hidden := service("shop", "hidden", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "9.0.96.10.in-addr.arpa"})
	s := serve(t, []runtime.Object{namespace("shop"), hidden}, upstream(at), func(c *dns.Config) {
		c.Sealed = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:77::/64")}
	})
	for _, name := range append(private, "hidden.shop.svc.cluster.local.") {
		for _, qtype := range []uint16{mdns.TypePTR, mdns.TypeTXT, mdns.TypeCNAME, mdns.TypeA} {
			if m := s.ask(name, qtype); strings.Contains(strings.ToLower(m.String()), other) {
				t.Errorf("%s: %v", name, m.Answer)
			}
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the host's resolver was asked %d times", n)
	}
	for range 2 { // the second time from the cache
		for _, name := range public {
			if m := s.ask(name, mdns.TypePTR); m.Rcode != mdns.RcodeNameError || len(m.Answer) > 0 {
				t.Errorf("%s: %v, want NXDOMAIN", name, m)
			}
		}
	}
	if m := s.ask("8.8.8.8.in-addr.arpa.", mdns.TypePTR); len(m.Answer) != 1 {
		t.Errorf("the name of an address of the world: %v", m)
	}
}

// mapped is the reverse name of an IPv6 address in full, also where Go writes
// the address differently.
func mapped(full string) string {
	digits := strings.ReplaceAll(full, ":", "")
	var b strings.Builder
	for i := len(digits) - 1; i >= 0; i-- {
		b.WriteString(digits[i:i+1] + ".")
	}
	return b.String() + "ip6.arpa."
}
