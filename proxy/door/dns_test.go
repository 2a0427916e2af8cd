// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/proxy/door"
	"portico.dev/portico/rewrite"
)

const hostDNS = "kube-dns-x-kube-system-x-vc"

// dnsHost gives Services addresses, as a host does, and counts them.
func dnsHost(addresses ...string) *fake.Clientset {
	client := fake.NewClientset()
	client.PrependReactor("create", "services", func(a clienttesting.Action) (bool, runtime.Object, error) {
		svc := a.(clienttesting.CreateAction).GetObject().(*corev1.Service)
		switch svc.Spec.ClusterIP {
		case "taken":
			return true, nil, apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, svc.Name, nil)
		case "":
			svc.Spec.ClusterIP, addresses = addresses[0], addresses[1:]
		}
		svc.Spec.ClusterIPs = []string{svc.Spec.ClusterIP}
		return false, nil, nil
	})
	return client
}

func dnsOptions(t *testing.T, at door.Options, port int32) door.DNSOptions {
	t.Helper()
	tr, err := rewrite.New(rewrite.Cluster{
		Name: "vc", HostNamespace: hostNamespace, DNS: &rewrite.DNS{Selector: at.DNSSelector(), TargetPort: port},
	})
	if err != nil {
		t.Fatal(err)
	}
	at.DNS = &door.DNSEndpoint{Service: hostDNS, Port: port}
	return door.DNSOptions{Door: at, Translator: tr}
}

// ensureDNS starts once more, and returns the address and the host's Service.
func ensureDNS(t *testing.T, client *fake.Clientset, o door.DNSOptions) (string, *corev1.Service) {
	t.Helper()
	d, err := door.EnsureService(t.Context(), client, o.Door)
	if err != nil {
		t.Fatal(err)
	}
	ip, err := door.EnsureDNS(t.Context(), client, o, d)
	if err != nil {
		t.Fatal(err)
	}
	svc, err := client.CoreV1().Services(hostNamespace).Get(t.Context(), hostDNS, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if svc.Spec.ClusterIP != ip {
		t.Errorf("said %s, and the Service has %s", ip, svc.Spec.ClusterIP)
	}
	return ip, svc
}

func TestEnsureDNSOutsideTheHost(t *testing.T) {
	client := dnsHost("10.96.0.1", "10.96.0.2")
	first, svc := ensureDNS(t, client, dnsOptions(t, outside, 1053))
	if svc.Spec.Selector != nil {
		t.Errorf("selector %v", svc.Spec.Selector)
	}
	moved := outside
	moved.Advertise = netip.MustParseAddr("192.0.2.8")
	again, svc := ensureDNS(t, client, dnsOptions(t, moved, 2053))
	if first != again || svc.Spec.Ports[0].TargetPort != intstr.FromInt32(2053) {
		t.Errorf("address was %s and is %s, ports %+v", first, again, svc.Spec.Ports)
	}
	slice, err := client.DiscoveryV1().EndpointSlices(hostNamespace).Get(t.Context(), "vc-dns", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var ports []string
	for _, p := range slice.Ports {
		ports = append(ports, *p.Name+"/"+string(*p.Protocol))
		if *p.Port != 2053 {
			t.Errorf("port %d, want 2053", *p.Port)
		}
	}
	if diff := cmp.Diff([]string{"dns/UDP", "dns-tcp/TCP"}, ports); diff != "" || slice.Endpoints[0].Addresses[0] != "192.0.2.8" {
		t.Errorf("leads to %v, ports (-want +got):\n%s", slice.Endpoints, diff)
	}
}

// A cluster with a long name has its DNS where an earlier version put it: pods
// have the address.
func TestEnsureDNSFindsTheServiceOfAnEarlierVersion(t *testing.T) {
	client := dnsHost("10.96.0.1", "10.96.0.2", "10.96.0.3")
	at := outside
	at.Cluster = strings.Repeat("c", 60)
	tr, err := rewrite.New(rewrite.Cluster{Name: at.Cluster, HostNamespace: hostNamespace, DNS: &rewrite.DNS{TargetPort: 1053}})
	if err != nil {
		t.Fatal(err)
	}
	names := tr.HostNames("Service", rewrite.DNSNamespace, rewrite.DNSName)
	former, err := tr.ServiceToHost(tr.DNSService(), rewrite.Inputs{})
	if err != nil {
		t.Fatal(err)
	}
	former.Name = names[1]
	if former, err = client.CoreV1().Services(hostNamespace).Create(t.Context(), former, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	at.DNS = &door.DNSEndpoint{Service: names[0], Port: 1053}
	d, err := door.EnsureService(t.Context(), client, at)
	if err != nil {
		t.Fatal(err)
	}
	ip, err := door.EnsureDNS(t.Context(), client, door.DNSOptions{Door: at, Translator: tr}, d)
	if err != nil || ip != former.Spec.ClusterIP {
		t.Errorf("the DNS is at %s (%v), want %s", ip, err, former.Spec.ClusterIP)
	}
	if _, err := client.CoreV1().Services(hostNamespace).Get(t.Context(), names[0], metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("there is a second Service (%v)", err)
	}
	slice, err := client.DiscoveryV1().EndpointSlices(hostNamespace).Get(t.Context(), at.Cluster+"-dns", metav1.GetOptions{})
	if err != nil || slice.Labels[discoveryv1.LabelServiceName] != names[1] {
		t.Errorf("the slice leads to %v (%v), want %s", slice.Labels, err, names[1])
	}
}

func TestEnsureDNSInsideTheHost(t *testing.T) {
	client := dnsHost("10.96.0.1", "10.96.0.2")
	ensureDNS(t, client, dnsOptions(t, outside, 1053))
	inside := outside
	inside.Advertise = netip.Addr{}
	_, svc := ensureDNS(t, client, dnsOptions(t, inside, 1053))
	// Nothing that a tenant can put on a pod.
	if diff := cmp.Diff(map[string]string{door.LabelDoor: "vc"}, svc.Spec.Selector); diff != "" {
		t.Errorf("selector (-want +got):\n%s", diff)
	}
	_, err := client.DiscoveryV1().EndpointSlices(hostNamespace).Get(t.Context(), "vc-dns", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("slice of the time before: %v, want not found", err)
	}
}

// Every pod has the address. It survives the Service, and porticod.
func TestTheAddressOfTheDNSStays(t *testing.T) {
	client := dnsHost("10.96.0.1", "10.96.0.2", "10.96.0.3")
	o := dnsOptions(t, outside, 1053)
	first, _ := ensureDNS(t, client, o)
	if err := client.CoreV1().Services(hostNamespace).Delete(t.Context(), hostDNS, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if again, _ := ensureDNS(t, client, o); again != first {
		t.Errorf("address was %s and is %s", first, again)
	}
}

func TestAnAddressThatTheHostGaveAwayIsGivenUp(t *testing.T) {
	client := dnsHost("10.96.0.1", "10.96.0.2")
	o := dnsOptions(t, outside, 1053)
	if _, err := door.EnsureService(t.Context(), client, o.Door); err != nil {
		t.Fatal(err)
	}
	svc, err := client.CoreV1().Services(hostNamespace).Get(t.Context(), "vc", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	svc.Annotations[door.AnnotationDNSIP] = "taken" // noted there before there was an anchor
	if _, err := client.CoreV1().Services(hostNamespace).Update(t.Context(), svc, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	ip, _ := ensureDNS(t, client, o)
	anchor, err := client.CoreV1().ConfigMaps(hostNamespace).Get(t.Context(), "vc.anchor", metav1.GetOptions{})
	if err != nil || ip == "taken" || anchor.Annotations[door.AnnotationDNSIP] != ip {
		t.Errorf("remembered %q, want %s (%v)", anchor.Annotations[door.AnnotationDNSIP], ip, err)
	}
}

// A tenant used the name while the DNS was off.
func TestEnsureDNSCorrectsWhatIsThere(t *testing.T) {
	for name, spec := range map[string]corev1.ServiceSpec{
		"headless":     {ClusterIP: "None", ClusterIPs: []string{"None"}, Selector: map[string]string{"app": "mine"}},
		"external":     {Type: corev1.ServiceTypeExternalName, ExternalName: "evil.example", ClusterIP: "10.96.0.9"},
		"external IPs": {ClusterIP: "10.96.0.9", ExternalIPs: []string{"192.0.2.1"}, Ports: []corev1.ServicePort{{Name: "x", Port: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			client := dnsHost("10.96.0.1", "10.96.0.2")
			off, err := rewrite.New(rewrite.Cluster{Name: "vc", HostNamespace: hostNamespace})
			if err != nil {
				t.Fatal(err)
			}
			// External IPs are refused by now; an earlier version let them through.
			before := spec.DeepCopy()
			before.ExternalIPs = nil
			own, err := off.ServiceToHost(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns"}, Spec: *before}, rewrite.Inputs{})
			if err != nil {
				t.Fatal(err)
			}
			own.Spec.ExternalIPs = spec.ExternalIPs
			if err := client.Tracker().Add(own); err != nil {
				t.Fatal(err)
			}
			_, svc := ensureDNS(t, client, dnsOptions(t, outside, 1053))
			if s := svc.Spec; s.ClusterIP == "None" || s.Selector != nil || s.ExternalName != "" || s.ExternalIPs != nil || len(s.Ports) != 2 {
				t.Errorf("spec %+v", s)
			}
		})
	}
}

func TestEnsureDNSTakesNothingOver(t *testing.T) {
	client := dnsHost("10.96.0.1")
	o := dnsOptions(t, outside, 1053)
	d, err := door.EnsureService(t.Context(), client, o.Door)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Tracker().Add(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: hostDNS}}); err != nil {
		t.Fatal(err)
	}
	if _, err := door.EnsureDNS(t.Context(), client, o, d); !errors.Is(err, door.ErrNotOurs) {
		t.Errorf("got %v, want ErrNotOurs", err)
	}
}
