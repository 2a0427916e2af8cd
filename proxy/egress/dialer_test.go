// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"

	"portico.dev/portico/proxy/egress/policy"
)

const refusal = "is not an address of this cluster and not in egress.allow"

// world is a cluster, a network and a resolver.
type world struct {
	*Dialer
	names  map[string][][]string // answers by name, one after the other; the last stays
	asked  []string
	dialed []string
	fails  error
}

func newWorld(t *testing.T, cfg Config, objects ...runtime.Object) *world {
	t.Helper()
	shared := informers.NewSharedInformerFactory(fake.NewClientset(objects...), 0)
	getter, err := proxy.NewEndpointSliceIndexerGetter(shared.Discovery().V1().EndpointSlices())
	if err != nil {
		t.Fatal(err)
	}
	view, err := NewView(shared, getter)
	if err != nil {
		t.Fatal(err)
	}
	shared.StartWithContext(t.Context())
	shared.WaitForCacheSyncWithContext(t.Context())
	t.Cleanup(shared.Shutdown)
	if cfg.ClusterDomain == "" {
		cfg.ClusterDomain = "cluster.local"
	}
	w := &world{Dialer: New(cfg, view), names: map[string][][]string{}}
	w.machine = func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("10.0.0.5")}, nil }
	w.lookup = func(_ context.Context, name string) ([]netip.Addr, error) {
		w.asked = append(w.asked, name)
		answers := w.names[name]
		if len(answers) == 0 {
			return nil, &net.DNSError{Err: "no such host", Name: name, Server: "10.96.0.10:53", IsNotFound: true}
		}
		if len(answers) > 1 {
			w.names[name] = answers[1:]
		}
		var out []netip.Addr
		for _, s := range answers[0] {
			out = append(out, netip.MustParseAddr(s))
		}
		return out, nil
	}
	w.connect = func(_ context.Context, _, address string) (net.Conn, error) {
		w.dialed = append(w.dialed, address)
		if w.fails != nil {
			return nil, w.fails
		}
		near, far := net.Pipe()
		_ = far.Close()
		return near, nil
	}
	return w
}

// dial returns the dialled addresses.
func (w *world) dial(t *testing.T, address string) (string, error) {
	t.Helper()
	w.dialed = nil
	c, err := w.DialContext(t.Context(), "tcp", address)
	if c != nil {
		_ = c.Close()
	}
	return strings.Join(w.dialed, " "), err
}

func pod(name string, phase corev1.PodPhase, ips ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}, Status: corev1.PodStatus{Phase: phase}}
	for _, ip := range ips {
		p.Status.PodIP, p.Status.PodIPs = ip, append(p.Status.PodIPs, corev1.PodIP{IP: ip})
	}
	return p
}

func service(name, clusterIP string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: clusterIP, ClusterIPs: []string{clusterIP}, Ports: []corev1.ServicePort{{Name: "https", Port: 443}}},
	}
}

func external(name, to string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: to},
	}
}

func slice(of string, port int32, addresses ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "a", Name: of + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: of}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("https"), Port: ptr.To(port)}},
	}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	return s
}

// objects of most tests: Services of a pod, of addresses that the tenant wrote,
// and of names.
func objects() []runtime.Object {
	balanced := service("balanced", "10.96.0.3")
	balanced.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "198.51.100.80"}}
	return []runtime.Object{
		pod("runs", corev1.PodRunning, "10.244.0.7"), pod("done", corev1.PodSucceeded, "10.244.0.8"), pod("failed", corev1.PodFailed, "10.244.0.9"),
		service("good", "10.96.0.1"), slice("good", 8443, "10.244.0.7"),
		service("written", "10.96.0.2"), slice("written", 8443, "203.0.113.1"),
		service("mixed", "10.96.0.4"), slice("mixed", 8443, "203.0.113.1", "10.244.0.7"),
		service("ended", "10.96.0.5"), slice("ended", 8443, "10.244.0.8"),
		service("empty", "10.96.0.6"),
		balanced, slice("balanced", 8443, "10.244.0.7"),
		external("inside", "good.a.svc.cluster.local"), external("outside", "hook.example.com"), external("circle", "circle.a.svc"), external("loop", "127.0.0.1"),
	}
}

func TestDialedAddress(t *testing.T) {
	cfg := Config{Policy: policy.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}, HostAPI: "198.51.100.6:6443"}
	w := newWorld(t, cfg, objects()...)
	w.names["hook.example.com."] = [][]string{{"127.0.0.1", "198.51.100.9"}}
	w.names["pod.example.com."] = [][]string{{"::ffff:10.244.0.7"}}
	w.names["vip.example.com."] = [][]string{{"10.96.0.1"}}
	w.names["private.example.com."] = [][]string{{"10.1.2.3"}}
	w.names["good.a.svc.cluster.local."] = [][]string{{"203.0.113.66"}}
	w.names["2130706433."] = [][]string{{"127.0.0.1"}}
	for address, want := range map[string]string{ // "" means refused
		"10.244.0.7:443":               "10.244.0.7:443",
		"[::ffff:10.244.0.7]:443":      "10.244.0.7:443",
		"10.244.0.8:443":               "", // ended
		"10.244.0.9:443":               "",
		"10.96.0.1:443":                "10.244.0.7:8443", // never the ClusterIP
		"198.51.100.80:443":            "10.244.0.7:8443",
		"198.51.100.9:443":             "198.51.100.9:443",
		"198.51.100.6:443":             "198.51.100.6:443",
		"198.51.100.6:6443":            "", // the host's API
		"hook.example.com:443":         "198.51.100.9:443",
		"HOOK.example.com.:443":        "198.51.100.9:443",
		"pod.example.com:443":          "10.244.0.7:443",
		"vip.example.com:443":          "10.244.0.7:8443",
		"private.example.com:443":      "",
		"absent.example.com:443":       "",
		"good.a.svc:443":               "10.244.0.7:8443",
		"good.a.svc.cluster.local:443": "10.244.0.7:8443",
		"inside.a.svc:443":             "10.244.0.7:8443",
		"outside.a.svc:443":            "198.51.100.9:443",
		"circle.a.svc:443":             "",
		"loop.a.svc:443":               "",
		"good.b.svc:443":               "",
		"good.a.pod.cluster.local:443": "",
		"10.0.0.5:443":                 "",
		"127.0.0.1:443":                "",
		"2130706433:443":               "",
		"0x7f.1:443":                   "",
		"10.244.0.7:0":                 "",
		"10.244.0.7:https":             "",
		"10.244.0.7:65979":             "",
		"10.244.0.7":                   "",
		":443":                         "",
	} {
		got, err := w.dial(t, address)
		if got != want {
			t.Errorf("%s: dialled %q, want %q", address, got, want)
		}
		if want == "" && (err == nil || !strings.Contains(err.Error(), refusal)) {
			t.Errorf("%s: %v, want a refusal", address, err)
		}
		if want != "" && err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, name := range w.asked {
		if strings.Contains(name, ".svc") || strings.Contains(name, "cluster.local") || !strings.HasSuffix(name, ".") {
			t.Errorf("the host's resolver was asked for %q", name)
		}
	}
}

func TestOnlyTCPIsDialed(t *testing.T) {
	w := newWorld(t, Config{}, objects()...)
	if _, err := w.DialContext(t.Context(), "unix", "10.244.0.7:443"); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("unix: %v, want a refusal", err)
	}
}

// A tenant writes addresses that are not their pods' into the EndpointSlice of a
// Service without selector, and names the Service, its ClusterIP or an external
// name of it. No packet goes to the ClusterIP or to these addresses.
func TestAttackWrittenEndpointsBehindClusterIP(t *testing.T) {
	w := newWorld(t, Config{}, objects()...)
	for _, address := range []string{"10.96.0.2:443", "written.a.svc:443", "10.96.0.5:443", "[::ffff:10.96.0.2]:443"} {
		got, err := w.dial(t, address)
		if got != "" || err == nil || !strings.Contains(err.Error(), refusal) || strings.Contains(err.Error(), "203.0.113.1") {
			t.Errorf("%s: dialled %q, %v, want a refusal", address, got, err)
		}
	}
	for range 20 { // the choice is random
		if got, err := w.dial(t, "10.96.0.4:443"); got != "10.244.0.7:8443" || err != nil {
			t.Errorf("dialled %q, %v, want the pod", got, err)
		}
	}
}

// The name of a webhook leads to a pod of the tenant when it is checked and to
// porticod's loopback when it is asked for again. It is asked for once, and the
// checked address is dialled.
func TestAttackRebindingBetweenCheckAndDial(t *testing.T) {
	w := newWorld(t, Config{}, objects()...)
	w.names["rebinds.example.com."] = [][]string{{"10.244.0.7"}, {"127.0.0.1"}}
	if got, err := w.dial(t, "rebinds.example.com:443"); got != "10.244.0.7:443" || err != nil || len(w.asked) != 1 {
		t.Errorf("dialled %q after %d lookups, %v", got, len(w.asked), err)
	}
	if got, err := w.dial(t, "rebinds.example.com:443"); got != "" || err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("dialled %q, %v, want a refusal", got, err)
	}
}

// A tenant tries names of the host's network to learn which exist and where they
// lead. A name that does not exist and one that leads to a refused address give
// the same error, and no error has an address.
func TestAttackErrorsAsResolver(t *testing.T) {
	w := newWorld(t, Config{Policy: policy.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}})
	w.names["there.example.com."] = [][]string{{"10.1.2.3"}}
	_, there := w.dial(t, "there.example.com:443")
	_, where := w.dial(t, "where.example.com:443")
	if there == nil || where == nil || strings.Replace(there.Error(), "there", "where", 1) != where.Error() {
		t.Errorf("a name that exists: %v, that does not: %v", there, where)
	}
	w.names["open.example.com."] = [][]string{{"198.51.100.9"}}
	w.fails = &net.OpError{Op: "dial", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 5)}, Addr: &net.TCPAddr{IP: net.IPv4(198, 51, 100, 9), Port: 443}, Err: syscall.ECONNREFUSED}
	_, err := w.dial(t, "open.example.com:443")
	if err == nil || !errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(err.Error(), "198.51.100.9") || strings.Contains(err.Error(), "10.0.0.5") {
		t.Errorf("%v, want a refused connection and no address", err)
	}
}

func TestUnknownMachineRefusesAll(t *testing.T) {
	w := newWorld(t, Config{}, objects()...)
	w.machine = func() ([]netip.Addr, error) { return nil, syscall.EMFILE }
	for _, address := range []string{"10.244.0.7:443", "good.a.svc:443"} {
		if got, err := w.dial(t, address); got != "" || !errors.Is(err, syscall.EMFILE) {
			t.Errorf("dialled %q, %v", got, err)
		}
	}
}

func TestHostAPIByNameIsRefused(t *testing.T) {
	w := newWorld(t, Config{Policy: policy.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}, HostAPI: "api.example.com:6443"})
	w.names["api.example.com"] = [][]string{{"198.51.100.6"}}
	if got, err := w.dial(t, "198.51.100.6:6443"); got != "" || err == nil {
		t.Errorf("dialled %q", got)
	}
	if got, err := w.dial(t, "198.51.100.7:6443"); got == "" || err != nil {
		t.Errorf("the neighbour of the host's API: %v", err)
	}
	delete(w.names, "api.example.com")
	if got, err := w.dial(t, "198.51.100.7:6443"); got != "" || err == nil {
		t.Errorf("dialled %q while the host's API may be anywhere", got)
	}
}

func TestResolver(t *testing.T) {
	w := newWorld(t, Config{}, objects()...)
	r := w.Resolver()
	for name, want := range map[string]string{
		"good": "10.244.0.7:8443", "outside": "hook.example.com:443",
		"written": "error: no endpoint of Service a/written is usable: each " + refusal,
		"empty":   `error: no endpoints available for service "empty"`,
		"absent":  `error: service "absent" not found`,
	} {
		got := ""
		if u, err := r.ResolveEndpoint("a", name, 443); err != nil {
			got = fmt.Sprint("error: ", err)
		} else {
			got = u.Host
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if _, err := r.ResolveEndpoint("a", "good", 444); err == nil {
		t.Error("a port that the Service does not have resolves")
	}
	r = w.UnproxiedResolver()
	for _, through := range []*url.URL{nil, {Scheme: "http", Host: "proxy.example.com:3128"}} {
		r.proxy = func(*http.Request) (*url.URL, error) { return through, nil }
		for _, name := range []string{"good", "outside"} {
			if _, err := r.ResolveEndpoint("a", name, 443); errors.Is(err, errProxied) != (through != nil) {
				t.Errorf("%s through the proxy %v: %v", name, through, err)
			}
		}
	}
}

// A tenant keeps pods that have ended, whose status still shows addresses that
// other tenants' pods have by now, and names them. Only running pods count.
func TestAttackAddressOfAnEndedPod(t *testing.T) {
	w := newWorld(t, Config{}, objects()...)
	for _, address := range []string{"10.244.0.8:443", "10.244.0.9:443", "ended.a.svc:443", "10.96.0.5:443"} {
		if got, err := w.dial(t, address); got != "" || err == nil || !strings.Contains(err.Error(), refusal) {
			t.Errorf("%s: dialled %q, %v, want a refusal", address, got, err)
		}
	}
	if got, err := w.dial(t, "10.244.0.7:443"); got == "" || err != nil {
		t.Errorf("the running pod: %v", err)
	}
}
