// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package dns_test

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	mdns "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// fakeUpstream answers with records, and NXDOMAIN for all other names.
func fakeUpstream(t *testing.T, records map[string]string) netip.AddrPort {
	at, _ := countingUpstream(t, records)
	return at
}

func countingUpstream(t *testing.T, records map[string]string) (netip.AddrPort, *atomic.Int32) {
	t.Helper()
	pc, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := &atomic.Int32{}
	server := &mdns.Server{PacketConn: pc, Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, r *mdns.Msg) {
		asked.Add(1)
		m := new(mdns.Msg).SetReply(r)
		if rr, err := mdns.NewRR(records[r.Question[0].Name]); err == nil && rr != nil && rr.Header().Rrtype == r.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		} else {
			m.Rcode = mdns.RcodeNameError
			soa, _ := mdns.NewRR(". 300 IN SOA a. b. 1 2 3 4 5")
			m.Ns = append(m.Ns, soa)
		}
		_ = w.WriteMsg(m)
	})}
	done := make(chan error, 1)
	go func() { done <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = pc.Close()
		<-done
	})
	return netip.MustParseAddrPort(pc.LocalAddr().String()), asked
}

// The cluster's zone is the cluster's alone: a name that it does not have is
// never a question to the host, whose zone has the same name.
func TestNamesOfTheHostAreNotToBeHad(t *testing.T) {
	at, asked := countingUpstream(t, map[string]string{
		"kubernetes.default.svc.cluster.local.": "kubernetes.default.svc.cluster.local. 30 IN A 10.96.0.1",
		"secret.team-b.svc.cluster.local.":      "secret.team-b.svc.cluster.local. 30 IN A 10.96.0.9",
		"9.0.96.10.in-addr.arpa.":               "9.0.96.10.in-addr.arpa. 30 IN PTR secret.team-b.svc.cluster.local.",
	})
	s := serve(t, []runtime.Object{namespace("shop")}, upstream(at))
	for name, qtype := range map[string]uint16{
		"kubernetes.default.svc.cluster.local.":        mdns.TypeA,
		"secret.team-b.svc.cluster.local.":             mdns.TypeA,
		"web-x-shop-x-other.team-b.svc.cluster.local.": mdns.TypeA,
		"_http._tcp.secret.team-b.svc.cluster.local.":  mdns.TypeSRV,
		"9.0.96.10.in-addr.arpa.":                      mdns.TypePTR, // would reveal a Service of the host
		"9.0.168.192.in-addr.arpa.":                    mdns.TypePTR,
		"1.16.172.in-addr.arpa.":                       mdns.TypePTR,
		"1.0.64.100.in-addr.arpa.":                     mdns.TypePTR,
		reverse(t, "fd00::1"):                          mdns.TypePTR,
	} {
		if m := s.ask(name, qtype); m.Rcode != mdns.RcodeNameError || len(m.Answer) > 0 {
			t.Errorf("%s: %s with %v, want NXDOMAIN", name, mdns.RcodeToString[m.Rcode], m.Answer)
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the host's resolver was asked %d times", n)
	}
	if m := s.ask("8.8.8.8.in-addr.arpa.", mdns.TypePTR); m.Rcode != mdns.RcodeNameError || asked.Load() != 1 {
		t.Errorf("the name of a public address is the host's resolver's to tell: %v", m)
	}
}

// An ExternalName is the tenant's to write.
func TestWeirdExternalNames(t *testing.T) {
	external := func(name, target string) *corev1.Service {
		return service("shop", name, corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: target})
	}
	at, asked := countingUpstream(t, nil)
	s := serve(t, []runtime.Object{
		namespace("shop"),
		external("self", "self.shop.svc.cluster.local"),
		external("ping", "pong.shop.svc.cluster.local"),
		external("pong", "ping.shop.svc.cluster.local"),
		external("host", "secret.team-b.svc.cluster.local"),
		external("upper", "SECRET.TEAM-B.SVC.CLUSTER.LOCAL"),
		external("dot", "secret.team-b.svc.cluster.local."),
		external("empty", ""),
		external("root", "."),
		external("address", "10.96.0.1"),
		external("odd", `a b"c\.d`),
	}, upstream(at))
	for _, name := range []string{"self", "ping", "pong", "host", "upper", "dot", "empty", "root", "address", "odd"} {
		for _, qtype := range []uint16{mdns.TypeA, mdns.TypeAAAA, mdns.TypeCNAME, mdns.TypeSRV, mdns.TypeTXT} {
			m := s.ask(name+".shop.svc.cluster.local.", qtype)
			for _, rr := range m.Answer {
				if h := rr.Header().Rrtype; h == mdns.TypeA || h == mdns.TypeAAAA {
					t.Errorf("%s: %v", name, rr)
				}
			}
		}
		if name == "dot" && asked.Load() > 0 {
			t.Fatalf("a name of the cluster's zone became a question to the host")
		}
	}
}

// A small question must not have a large answer.
func TestAnyAndTransfersAreNotAmplified(t *testing.T) {
	at, asked := countingUpstream(t, nil)
	s := serve(t, world(), upstream(at))
	for _, name := range []string{"db.shop.svc.cluster.local.", "www.example."} {
		m := s.ask(name, mdns.TypeANY)
		if len(m.Answer) != 1 || m.Answer[0].Header().Rrtype != mdns.TypeHINFO {
			t.Errorf("ANY %s: %v", name, m)
		}
	}
	for _, qtype := range []uint16{mdns.TypeAXFR, mdns.TypeIXFR} {
		for _, name := range []string{"cluster.local.", "example."} {
			if m := s.exchange(new(mdns.Msg).SetQuestion(name, qtype), "tcp"); m.Rcode != mdns.RcodeRefused {
				t.Errorf("%s %s: %v", mdns.TypeToString[qtype], name, m)
			}
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the host's resolver was asked %d times", n)
	}
}

func TestOddQuestions(t *testing.T) {
	s := serve(t, world())
	chaos := new(mdns.Msg).SetQuestion("version.bind.", mdns.TypeTXT)
	chaos.Question[0].Qclass = mdns.ClassCHAOS
	update := new(mdns.Msg).SetUpdate("cluster.local.")
	version := new(mdns.Msg).SetQuestion("web.shop.svc.cluster.local.", mdns.TypeA).SetEdns0(1232, false)
	version.IsEdns0().SetVersion(9)
	for name, c := range map[string]struct {
		m    *mdns.Msg
		want int
	}{
		"software version": {chaos, mdns.RcodeRefused},
		"update":           {update, mdns.RcodeNotImplemented},
		"EDNS version":     {version, mdns.RcodeBadVers},
	} {
		if m := s.exchange(c.m, "udp"); m.Rcode != c.want {
			t.Errorf("%s: %s, want %s", name, mdns.RcodeToString[m.Rcode], mdns.RcodeToString[c.want])
		}
	}
}

func TestWithoutAnUpstreamTheWorldFailsAndTheClusterDoesNot(t *testing.T) {
	s := serve(t, world())
	if m := s.ask("www.example.", mdns.TypeA); m.Rcode != mdns.RcodeServerFailure {
		t.Errorf("got %v, want SERVFAIL", m)
	}
	if m := s.ask("alias.shop.svc.cluster.local.", mdns.TypeA); len(answers(m)) > 1 {
		t.Errorf("got %v", m)
	}
	if m := s.ask("web.shop.svc.cluster.local.", mdns.TypeA); len(m.Answer) != 1 {
		t.Errorf("got %v", m)
	}
}

// A resolver that does not answer is noticed, and later questions do not wait
// for it.
func TestAnUpstreamThatDoesNotAnswerIsSERVFAIL(t *testing.T) {
	silent, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	s := serve(t, world(), upstream(netip.MustParseAddrPort(silent.LocalAddr().String())))
	if m := s.ask("www.example.", mdns.TypeA); m.Rcode != mdns.RcodeServerFailure {
		t.Errorf("got %v, want SERVFAIL", m)
	}
}

func TestAnswersFromOutsideAreCachedAndShortened(t *testing.T) {
	at, asked := countingUpstream(t, map[string]string{"www.example.": "www.example. 86400 IN A 192.0.2.80"})
	s := serve(t, world(), upstream(at))
	for range 3 {
		m := s.ask("www.example.", mdns.TypeA)
		if len(m.Answer) != 1 || m.Answer[0].Header().Ttl > 30 {
			t.Fatalf("got %v, want one answer with a TTL of at most 30", m)
		}
		s.ask("nothing.example.", mdns.TypeA)
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("the host's resolver was asked %d times, want 2", n)
	}
}
