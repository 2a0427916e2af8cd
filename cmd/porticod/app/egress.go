// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"

	"k8s.io/client-go/rest"

	"portico.dev/portico/proxy/egress"
	"portico.dev/portico/proxy/egress/policy"
)

// egress returns the rules of connections to addresses that the tenant's
// objects name. It is called once all listeners are open: the kernel may have chosen
// their ports.
func (vc *virtualCluster) egress(listener net.Listener) (egress.Config, error) {
	allow, err := vc.config.Egress.Networks()
	if err != nil {
		return egress.Config{}, fmt.Errorf("egress.allow: %w", err)
	}
	served, err := netip.ParseAddrPort(listener.Addr().String())
	if err != nil {
		return egress.Config{}, fmt.Errorf("address of the listener: %w", err)
	}
	listeners := []netip.AddrPort{served, vc.at}
	if vc.dnsSockets != nil {
		// On whichever address of this machine: the port is the DNS's everywhere.
		port := uint16(vc.dnsSockets.Port())
		listeners = append(listeners, netip.AddrPortFrom(netip.IPv6Unspecified(), port), netip.AddrPortFrom(vc.at.Addr(), port))
	}
	if vc.metrics != nil {
		measurements, err := netip.ParseAddrPort(vc.metrics.Addr().String())
		if err != nil {
			return egress.Config{}, fmt.Errorf("address of the listener of measurements: %w", err)
		}
		listeners = append(listeners, measurements)
	}
	hostAPI, err := hostPort(vc.hostConfig)
	if err != nil {
		return egress.Config{}, err
	}
	return egress.Config{
		Policy:        policy.Policy{Allow: allow, Listeners: listeners},
		HostAPI:       hostAPI,
		ClusterDomain: vc.config.ClusterDomain,
	}, nil
}

// hostPort is where a client connects to.
func hostPort(c *rest.Config) (string, error) {
	u, _, err := rest.DefaultServerUrlFor(c)
	if err != nil {
		return "", fmt.Errorf("address of the host's API: %w", err)
	}
	return hostPortOf(u), nil
}

// hostPortOf completes the port of a URL's scheme.
func hostPortOf(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "http":
		port = "80"
	default:
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port)
}
