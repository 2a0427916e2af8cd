// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package dns_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"

	"portico.dev/portico/proxy/dns"
)

// server is a running Server on an API in memory.
type server struct {
	t       *testing.T
	api     *fake.Clientset
	address string
}

type option func(*dns.Config)

func upstream(at netip.AddrPort) option {
	return func(c *dns.Config) { c.Upstreams = append(c.Upstreams, at) }
}

func serve(t *testing.T, objects []runtime.Object, options ...option) *server {
	t.Helper()
	sockets, err := dns.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, sockets, objects, options...)
}

func serveOn(t *testing.T, sockets *dns.Sockets, objects []runtime.Object, options ...option) *server {
	t.Helper()
	s := &server{t: t, api: fake.NewClientset(objects...)}
	cfg := dns.Config{
		Informers: informers.NewSharedInformerFactory(s.api, 0),
		Domain:    "cluster.local",
		Clients:   []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	for _, o := range options {
		o(&cfg)
	}
	d, err := dns.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(int(sockets.Port())))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx, sockets) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
		cfg.Informers.Shutdown()
	})
	return s
}

// ask puts a question, over UDP.
func (s *server) ask(name string, qtype uint16) *mdns.Msg {
	s.t.Helper()
	return s.exchange(new(mdns.Msg).SetQuestion(name, qtype), "udp")
}

func (s *server) exchange(m *mdns.Msg, network string) *mdns.Msg {
	s.t.Helper()
	reply, err := s.exchangeFrom("", m, network)
	if err != nil {
		s.t.Fatalf("ask for %v: %v", m.Question, err)
	}
	return reply
}

// exchangeFrom asks from an address of this machine, or any if it is empty.
func (s *server) exchangeFrom(ip string, m *mdns.Msg, network string) (*mdns.Msg, error) {
	// The first answer comes when the informers have synced.
	c := mdns.Client{Net: network, Timeout: patience, Dialer: &net.Dialer{}}
	if from := net.ParseIP(ip); from != nil && network == "udp" {
		c.Dialer.LocalAddr = &net.UDPAddr{IP: from}
	} else if from != nil {
		c.Dialer.LocalAddr = &net.TCPAddr{IP: from}
	}
	reply, _, err := c.ExchangeContext(s.t.Context(), m, s.address)
	return reply, err
}

// answers are the answers of a reply in a short form, sorted.
func answers(m *mdns.Msg) []string {
	var out []string
	for _, rr := range m.Answer {
		fields := strings.Fields(rr.String()) // name ttl class type data...
		if rr.Header().Name != m.Question[0].Name {
			out = append(out, strings.Join(append([]string{fields[0]}, fields[3:]...), " "))
			continue
		}
		out = append(out, strings.Join(fields[3:], " "))
	}
	slices.Sort(out)
	return out
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func service(namespace, name string, spec corev1.ServiceSpec) *corev1.Service {
	if len(spec.ClusterIPs) > 0 {
		spec.ClusterIP = spec.ClusterIPs[0]
	}
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec}
}

// endpoint is one address of a slice.
type endpoint struct {
	ip, hostname string
	notReady     bool
}

func endpointSlice(namespace, service, suffix string, ports []discoveryv1.EndpointPort, endpoints ...endpoint) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: service + "-" + suffix,
			Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       ports,
	}
	for _, e := range endpoints {
		if strings.Contains(e.ip, ":") {
			slice.AddressType = discoveryv1.AddressTypeIPv6
		}
		ready := !e.notReady
		out := discoveryv1.Endpoint{Addresses: []string{e.ip}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
		if e.hostname != "" {
			out.Hostname = &e.hostname
		}
		slice.Endpoints = append(slice.Endpoints, out)
	}
	return slice
}

func port(name string, protocol corev1.Protocol, number int32) discoveryv1.EndpointPort {
	return discoveryv1.EndpointPort{Name: &name, Protocol: &protocol, Port: &number}
}
