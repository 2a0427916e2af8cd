// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net"
	"net/netip"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// CoreDNS is the DNS of the virtual cluster.
type CoreDNS struct {
	// Enabled gives the cluster a kube-system/kube-dns Service, and points its
	// pods there. Without it they use the host's DNS.
	Enabled bool `json:"enabled"`
	// Mode says who answers: "embedded", porticod itself, or "deployment", pods
	// of the virtual cluster.
	Mode string `json:"mode"`
	// Listen is where porticod answers, IP:port. Default: the IP of the API's
	// listener, with port 1053 inside of the host and one that the kernel
	// chooses outside.
	Listen string `json:"listen,omitempty"`
	// Upstream are the resolvers, IP or IP:port, of names outside of the
	// cluster. Default: those of porticod's, or its pods', /etc/resolv.conf.
	Upstream []string `json:"upstream,omitempty"`
	// Clients are the networks that may ask an embedded DNS, besides the
	// cluster's own pods and their nodes. Default: those of loopback.
	Clients []string `json:"clients,omitempty"`
	// QueriesPerSecond is how many questions one client may ask an embedded DNS
	// in a second, and Connections how many it may have open.
	QueriesPerSecond int `json:"queriesPerSecond"`
	Connections      int `json:"connections"`
	// Replicas and Image are for the mode "deployment".
	Replicas int    `json:"replicas"`
	Image    string `json:"image"`
}

// Values of CoreDNS.Mode.
const (
	CoreDNSEmbedded   = "embedded"
	CoreDNSDeployment = "deployment"
)

// dnsPort is not 53, which only a privileged process may have.
const dnsPort = "1053"

func defaultCoreDNS() CoreDNS {
	return CoreDNS{
		Enabled: true,
		Mode:    CoreDNSEmbedded,
		// A client with such an address is in porticod's own machine or pod.
		Clients:          []string{"127.0.0.0/8", "::1/128"},
		QueriesPerSecond: 1000,
		Connections:      50,
		Replicas:         1,
		// The one that kubeadm of the same Kubernetes installs.
		Image: "registry.k8s.io/coredns/coredns:v1.14.6",
	}
}

func (d *CoreDNS) complete(c *Config) {
	if d.Listen != "" {
		return
	}
	ip, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return // reported with listen
	}
	port := dnsPort
	if c.Host.Kubeconfig != "" {
		port = "0"
	}
	d.Listen = net.JoinHostPort(ip, port)
}

func (d *CoreDNS) validate(path *field.Path) field.ErrorList {
	errs := oneOf(path.Child("mode"), d.Mode, CoreDNSEmbedded, CoreDNSDeployment)
	if d.Listen != "" {
		errs = append(errs, address(path.Child("listen"), d.Listen, true)...)
	}
	for i, u := range d.Upstream {
		if _, err := netip.ParseAddr(u); err != nil {
			errs = append(errs, address(path.Child("upstream").Index(i), u, false)...)
		}
	}
	for i, c := range d.Clients {
		if _, err := netip.ParsePrefix(c); err != nil {
			errs = append(errs, field.Invalid(path.Child("clients").Index(i), c, "must be a network in CIDR notation"))
		}
	}
	errs = append(errs, positive(path.Child("queriesPerSecond"), d.QueriesPerSecond)...)
	errs = append(errs, positive(path.Child("connections"), d.Connections)...)
	errs = append(errs, positive(path.Child("replicas"), d.Replicas)...)
	if d.Image == "" {
		errs = append(errs, field.Required(path.Child("image"), "the pods need an image"))
	}
	return errs
}

func positive(path *field.Path, n int) field.ErrorList {
	if n > 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, n, "must be at least 1")}
}
