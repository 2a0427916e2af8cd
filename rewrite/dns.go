// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The Service of a cluster's DNS, as kubeadm names it.
const (
	DNSNamespace = "kube-system"
	DNSName      = "kube-dns"
	// DNSServicePort is where resolvers ask.
	DNSServicePort = 53
)

// DNSLabels are the labels that kube-dns selects, or seems to.
func DNSLabels() map[string]string { return map[string]string{"k8s-app": DNSName} }

// DNS describes the target of the host Service of kube-system/kube-dns. The
// tenant sees an ordinary Service whose spec cannot be changed: a user who
// could change it would answer the questions of every pod of the cluster.
type DNS struct {
	// Selector of the host Service, in host labels. Nil means that the Service
	// has no selector; the installation writes its endpoints.
	Selector map[string]string
	// TargetPort is where the DNS listens, with UDP and with TCP.
	TargetPort int32
}

func (d *DNS) clone() *DNS {
	if d == nil {
		return nil
	}
	return &DNS{Selector: maps.Clone(d.Selector), TargetPort: d.TargetPort}
}

func (d *DNS) validate() error {
	if d != nil && (d.TargetPort < 1 || d.TargetPort > 65535) {
		return fmt.Errorf("dns.targetPort: %d is no port", d.TargetPort)
	}
	return nil
}

// OwnsDNS reports whether a virtual Service is the cluster's DNS, and ours.
func (t *Translator) OwnsDNS(namespace, name string) bool {
	return t.cluster.DNS != nil && namespace == DNSNamespace && name == DNSName
}

// DNSService returns the virtual Service of the cluster's DNS as it is made,
// with the address that pods have been given, where there is one.
func (t *Translator) DNSService() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: DNSNamespace, Name: DNSName,
			Labels: map[string]string{
				"k8s-app":                       DNSName,
				"kubernetes.io/cluster-service": "true",
				"kubernetes.io/name":            "CoreDNS",
			},
		},
		Spec: t.dnsSpec(),
	}
}

func (t *Translator) dnsSpec() corev1.ServiceSpec {
	spec := corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, Selector: DNSLabels()}
	if ip := t.cluster.DNSIP; ip != "" {
		spec.ClusterIP, spec.ClusterIPs = ip, []string{ip}
	}
	port := func(name string, protocol corev1.Protocol) {
		p := corev1.ServicePort{Name: name, Protocol: protocol, Port: DNSServicePort}
		if t.cluster.DNS != nil {
			p.TargetPort = intstr.FromInt32(t.cluster.DNS.TargetPort)
		}
		spec.Ports = append(spec.Ports, p)
	}
	port("dns", corev1.ProtocolUDP)
	port("dns-tcp", corev1.ProtocolTCP)
	return spec
}

// dnsServiceToHost gives the host Service the one spec that it may have: its
// present one, or, when it is made, one that leads to the DNS.
func (t *Translator) dnsServiceToHost(v *corev1.Service, in Inputs) (*corev1.Service, error) {
	v = v.DeepCopy()
	host, update := in.Host.(*corev1.Service)
	if update {
		seen, err := t.ServiceToVirtual(host)
		if seen == nil {
			return nil, err
		}
		v.Spec, v.Status, in.Seen = seen.Spec, seen.Status, nil
	} else {
		v.Spec = t.dnsSpec()
	}
	h, err := services.hostOf(t, v, in)
	if err != nil {
		return nil, err
	}
	if update {
		host.Spec.DeepCopyInto(&h.Spec)
	} else {
		h.Spec.Selector = maps.Clone(t.cluster.DNS.Selector)
	}
	return h, nil
}
