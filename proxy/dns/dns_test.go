// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package dns_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"

	"portico.dev/portico/proxy/dns"
)

// patience bounds every wait.
const patience = 30 * time.Second

var (
	http  = corev1.ServicePort{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}
	epTCP = []discoveryv1.EndpointPort{port("http", corev1.ProtocolTCP, 8080)}
)

// world is one Service of each kind.
func world() []runtime.Object {
	return []runtime.Object{
		namespace("shop"), namespace("empty"),
		service("shop", "web", corev1.ServiceSpec{ClusterIPs: []string{"10.96.1.1"}, Ports: []corev1.ServicePort{http}}),
		endpointSlice("shop", "web", "1", epTCP, endpoint{ip: "10.0.0.1"}),
		service("shop", "dual", corev1.ServiceSpec{ClusterIPs: []string{"10.96.1.2", "fd00::2"}, Ports: []corev1.ServicePort{http, {Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53}}}),
		service("shop", "six", corev1.ServiceSpec{ClusterIPs: []string{"fd00::3"}, Ports: []corev1.ServicePort{http}}),
		service("shop", "db", corev1.ServiceSpec{ClusterIPs: []string{"None"}, Ports: []corev1.ServicePort{http}}),
		endpointSlice("shop", "db", "1", epTCP, endpoint{ip: "10.0.0.2", hostname: "db-0"}, endpoint{ip: "10.0.0.3", hostname: "db-1"}),
		endpointSlice("shop", "db", "2", epTCP, endpoint{ip: "10.0.0.4"}, endpoint{ip: "10.0.0.5", notReady: true}),
		service("shop", "db6", corev1.ServiceSpec{ClusterIPs: []string{"None"}, Ports: []corev1.ServicePort{http}}),
		endpointSlice("shop", "db6", "1", epTCP, endpoint{ip: "fd00::6", hostname: "db6-0"}),
		service("shop", "nobody", corev1.ServiceSpec{ClusterIPs: []string{"None"}}),
		// The endpoints controller reports addresses as ready that
		// publishNotReadyAddresses covers.
		service("shop", "early", corev1.ServiceSpec{ClusterIPs: []string{"None"}, PublishNotReadyAddresses: true}),
		endpointSlice("shop", "early", "1", nil, endpoint{ip: "10.0.0.7"}),
		service("shop", "alias", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "www.example"}),
		service("shop", "inner", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "web.shop.svc.cluster.local"}),
	}
}

// The Kubernetes DNS specification 1.1.0, kind by kind.
func TestRecords(t *testing.T) {
	s := serve(t, world(), upstream(fakeUpstream(t, map[string]string{"www.example.": "www.example. 300 IN A 192.0.2.80"})))
	const ok, no = mdns.RcodeSuccess, mdns.RcodeNameError
	for _, c := range []struct {
		what  string
		name  string
		qtype uint16
		rcode int
		want  []string
	}{
		{"version", "dns-version.cluster.local.", mdns.TypeTXT, ok, []string{`TXT "1.1.0"`}},
		{"ClusterIP", "web.shop.svc.cluster.local.", mdns.TypeA, ok, []string{"A 10.96.1.1"}},
		{"case of a question", "Web.SHOP.svc.cluster.LOCAL.", mdns.TypeA, ok, []string{"A 10.96.1.1"}},
		{"no second family", "web.shop.svc.cluster.local.", mdns.TypeAAAA, ok, nil},
		{"dual stack, v4", "dual.shop.svc.cluster.local.", mdns.TypeA, ok, []string{"A 10.96.1.2"}},
		{"dual stack, v6", "dual.shop.svc.cluster.local.", mdns.TypeAAAA, ok, []string{"AAAA fd00::2"}},
		{"v6 only", "six.shop.svc.cluster.local.", mdns.TypeAAAA, ok, []string{"AAAA fd00::3"}},
		{"named port", "_http._tcp.web.shop.svc.cluster.local.", mdns.TypeSRV, ok, []string{"SRV 0 100 80 web.shop.svc.cluster.local."}},
		{"named UDP port", "_dns._udp.dual.shop.svc.cluster.local.", mdns.TypeSRV, ok, []string{"SRV 0 50 53 dual.shop.svc.cluster.local."}},
		{"port of another protocol", "_http._udp.web.shop.svc.cluster.local.", mdns.TypeSRV, no, nil},
		{"reverse of a ClusterIP", "1.1.96.10.in-addr.arpa.", mdns.TypePTR, ok, []string{"PTR web.shop.svc.cluster.local."}},
		{"reverse of an IPv6 ClusterIP", reverse(t, "fd00::3"), mdns.TypePTR, ok, []string{"PTR six.shop.svc.cluster.local."}},
		{"headless", "db.shop.svc.cluster.local.", mdns.TypeA, ok, []string{"A 10.0.0.2", "A 10.0.0.3", "A 10.0.0.4"}},
		{"headless, no second family", "db.shop.svc.cluster.local.", mdns.TypeAAAA, ok, nil},
		{"headless IPv6", "db6-0.db6.shop.svc.cluster.local.", mdns.TypeAAAA, ok, []string{"AAAA fd00::6"}},
		{"endpoint with a hostname", "db-1.db.shop.svc.cluster.local.", mdns.TypeA, ok, []string{"A 10.0.0.3"}},
		{"endpoint without", "10-0-0-4.db.shop.svc.cluster.local.", mdns.TypeA, ok, []string{"A 10.0.0.4"}},
		{"endpoint that is not ready", "10-0-0-5.db.shop.svc.cluster.local.", mdns.TypeA, no, nil},
		{"endpoints' ports", "_http._tcp.db.shop.svc.cluster.local.", mdns.TypeSRV, ok, []string{
			"SRV 0 33 8080 10-0-0-4.db.shop.svc.cluster.local.", "SRV 0 33 8080 db-0.db.shop.svc.cluster.local.", "SRV 0 33 8080 db-1.db.shop.svc.cluster.local.",
		}},
		{"reverse of an endpoint", "2.0.0.10.in-addr.arpa.", mdns.TypePTR, ok, []string{"PTR db-0.db.shop.svc.cluster.local."}},
		{"reverse of an endpoint that is not ready", "5.0.0.10.in-addr.arpa.", mdns.TypePTR, no, nil},
		{"headless without endpoints", "nobody.shop.svc.cluster.local.", mdns.TypeA, no, nil},
		{"not ready, and published", "early.shop.svc.cluster.local.", mdns.TypeA, ok, []string{"A 10.0.0.7"}},
		{"external name", "alias.shop.svc.cluster.local.", mdns.TypeA, ok, []string{"CNAME www.example.", "www.example. A 192.0.2.80"}},
		{"external name, asked for itself", "alias.shop.svc.cluster.local.", mdns.TypeCNAME, ok, []string{"CNAME www.example."}},
		{"external name inside", "inner.shop.svc.cluster.local.", mdns.TypeA, ok, []string{"CNAME web.shop.svc.cluster.local.", "web.shop.svc.cluster.local. A 10.96.1.1"}},
		{"pod", "10-0-0-9.shop.pod.cluster.local.", mdns.TypeA, ok, []string{"A 10.0.0.9"}},
		{"IPv6 pod", "fd00--9.shop.pod.cluster.local.", mdns.TypeAAAA, ok, []string{"AAAA fd00::9"}},
		{"pod of no namespace", "10-0-0-9.nowhere.pod.cluster.local.", mdns.TypeA, no, nil},
		{"pod by another name", "db-0.shop.pod.cluster.local.", mdns.TypeA, no, nil},
		{"no such Service", "x.shop.svc.cluster.local.", mdns.TypeA, no, nil},
		{"no such namespace", "web.nowhere.svc.cluster.local.", mdns.TypeA, no, nil},
		{"a namespace is an empty name", "shop.svc.cluster.local.", mdns.TypeA, ok, nil},
		{"svc is an empty name", "svc.cluster.local.", mdns.TypeA, ok, nil},
		{"the zone is an empty name", "cluster.local.", mdns.TypeA, ok, nil},
		{"no such name in the zone", "web.cluster.local.", mdns.TypeA, no, nil},
		{"type that nothing has", "web.shop.svc.cluster.local.", mdns.TypeMX, ok, []string{}},
		{"text of a Service", "web.shop.svc.cluster.local.", mdns.TypeTXT, ok, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			m := s.ask(c.name, c.qtype)
			if m.Rcode != c.rcode {
				t.Fatalf("got %s, want %s:\n%v", mdns.RcodeToString[m.Rcode], mdns.RcodeToString[c.rcode], m)
			}
			if c.what == "type that nothing has" {
				return // CoreDNS makes one up
			}
			if diff := cmp.Diff(c.want, answers(m)); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			if len(m.Answer) == 0 && (len(m.Ns) != 1 || m.Ns[0].Header().Rrtype != mdns.TypeSOA) {
				t.Errorf("an empty answer needs the zone's SOA, so that it can be cached: %v", m.Ns)
			}
			for _, rr := range m.Answer {
				if ttl := rr.Header().Ttl; ttl != 30 && c.qtype != mdns.TypeTXT {
					t.Errorf("TTL %d, want 30: %v", ttl, rr)
				}
			}
		})
	}
}

func reverse(t *testing.T, ip string) string {
	t.Helper()
	name, err := mdns.ReverseAddr(ip)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// Nothing is cached: an answer is as new as the API.
func TestChangesShowAtOnce(t *testing.T) {
	s := serve(t, world())
	const name = "new.shop.svc.cluster.local."
	if m := s.ask(name, mdns.TypeA); m.Rcode != mdns.RcodeNameError {
		t.Fatalf("got %v", m)
	}
	services := s.api.CoreV1().Services("shop")
	svc := service("shop", "new", corev1.ServiceSpec{ClusterIPs: []string{"10.96.2.1"}, Ports: []corev1.ServicePort{http}})
	if _, err := services.Create(t.Context(), svc, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.until(name, "A 10.96.2.1")
	if err := services.Delete(t.Context(), "new", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.until(name)
	slices := s.api.DiscoveryV1().EndpointSlices("shop")
	for _, slice := range []*discoveryv1.EndpointSlice{
		endpointSlice("shop", "db", "1", epTCP, endpoint{ip: "10.0.0.2", hostname: "db-0"}, endpoint{ip: "10.0.0.3", notReady: true}),
		endpointSlice("shop", "db", "2", epTCP),
	} {
		if _, err := slices.Update(t.Context(), slice, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	s.until("db.shop.svc.cluster.local.", "A 10.0.0.2")
}

func (s *server) until(name string, want ...string) {
	s.t.Helper()
	var last []string
	err := wait.PollUntilContextTimeout(s.t.Context(), 5*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		last = answers(s.ask(name, mdns.TypeA))
		return cmp.Diff(want, last) == "", nil
	})
	if err != nil {
		s.t.Fatalf("%s: answers %v, want %v", name, last, want)
	}
}

// Objects of shared informers are read by many. Upstream's conversion empties
// its argument.
func TestAnsweringLeavesTheObjectsAlone(t *testing.T) {
	s := serve(t, world())
	for range 3 {
		for name, n := range map[string]int{"web.shop.svc.cluster.local.": 1, "db.shop.svc.cluster.local.": 3} {
			if m := s.ask(name, mdns.TypeA); len(m.Answer) != n {
				t.Fatalf("%s: %d answers, want %d", name, len(m.Answer), n)
			}
		}
	}
}

func TestLargeAnswersAreTruncatedAndThenGivenOverTCP(t *testing.T) {
	var endpoints []endpoint
	for i := range 100 {
		endpoints = append(endpoints, endpoint{ip: fmt.Sprintf("10.0.1.%d", i)})
	}
	s := serve(t, []runtime.Object{
		namespace("shop"), service("shop", "many", corev1.ServiceSpec{ClusterIPs: []string{"None"}}),
		endpointSlice("shop", "many", "1", nil, endpoints...),
	})
	m := s.ask("many.shop.svc.cluster.local.", mdns.TypeA)
	m.Compress = true // as it came
	if !m.Truncated || len(m.Answer) == 0 || m.Len() > mdns.MinMsgSize {
		t.Errorf("over UDP: truncated %v, %d answers, %d bytes", m.Truncated, len(m.Answer), m.Len())
	}
	question := new(mdns.Msg).SetQuestion("many.shop.svc.cluster.local.", mdns.TypeA)
	if m = s.exchange(question, "tcp"); m.Truncated || len(m.Answer) != 100 {
		t.Errorf("over TCP: truncated %v, %d answers", m.Truncated, len(m.Answer))
	}
	if m = s.exchange(question.SetEdns0(4096, false), "udp"); m.Truncated || len(m.Answer) != 100 {
		t.Errorf("over UDP with EDNS: truncated %v, %d answers", m.Truncated, len(m.Answer))
	}
	if opt := m.IsEdns0(); opt == nil {
		t.Error("EDNS was not answered with EDNS")
	}
}

func TestAddressesOfAHeadlessServiceAreShuffled(t *testing.T) {
	s := serve(t, world())
	first := map[string]bool{}
	for range 200 {
		if m := s.ask("db.shop.svc.cluster.local.", mdns.TypeA); len(m.Answer) > 0 {
			first[m.Answer[0].String()] = true
		}
	}
	if len(first) < 2 {
		t.Errorf("the first address is always the same: %v", first)
	}
}

// Questions that come before the server runs wait for it.
func TestQuestionsWaitForTheServer(t *testing.T) {
	sockets, err := dns.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := mdns.Dial("udp", fmt.Sprintf("127.0.0.1:%d", sockets.Port()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.WriteMsg(new(mdns.Msg).SetQuestion("web.shop.svc.cluster.local.", mdns.TypeA)); err != nil {
		t.Fatal(err)
	}
	serveOn(t, sockets, world())
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	m, err := conn.ReadMsg()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(answers(m), "") != "A 10.96.1.1" {
		t.Errorf("got %v", m)
	}
}
