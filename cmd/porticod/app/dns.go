// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"maps"
	"net/netip"

	"k8s.io/klog/v2"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/proxy/dns"
	"portico.dev/portico/proxy/door"
	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/kubedns"
)

// resolvConf names the resolvers of the host.
const resolvConf = "/etc/resolv.conf"

// prepareDNS makes the Service of the cluster's DNS on the host, and notes its
// address in c for the translations. An embedded DNS has its sockets from here
// on: questions of pods wait while the cluster starts.
func (vc *virtualCluster) prepareDNS(ctx context.Context, c *rewrite.Cluster, entrance door.Door, at netip.AddrPort) error {
	cfg := vc.config.CoreDNS
	if !cfg.Enabled {
		return nil
	}
	selector := map[string]string{rewrite.LabelCluster: c.Name, rewrite.LabelNamespace: rewrite.DNSNamespace}
	maps.Copy(selector, rewrite.DNSLabels())
	c.DNS = &rewrite.DNS{Selector: selector, TargetPort: kubedns.Port}
	if cfg.Mode == config.CoreDNSEmbedded {
		sockets, err := dns.Listen(ctx, cfg.Listen)
		if err != nil {
			return fmt.Errorf("listen for DNS on %s: %w", cfg.Listen, err)
		}
		vc.dnsSockets = sockets
		c.DNS = &rewrite.DNS{Selector: vc.doorOptions(at).DNSSelector(), TargetPort: sockets.Port()}
	}
	translator, err := rewrite.New(*c)
	if err != nil {
		return err
	}
	if vc.dnsSockets != nil {
		vc.dns = &door.DNSEndpoint{Service: translator.ServiceName(rewrite.DNSNamespace, rewrite.DNSName), Port: vc.dnsSockets.Port()}
	}
	c.DNSIP, err = door.EnsureDNS(ctx, vc.hostClient, door.DNSOptions{Door: vc.doorOptions(at), Translator: translator}, entrance)
	return err
}

// closeDNS closes the sockets if there are any; a server that runs closes them
// itself.
func (vc *virtualCluster) closeDNS() {
	if vc.dnsSockets != nil {
		_ = vc.dnsSockets.Close()
	}
}

// upstreams are the resolvers that are configured, or the host's. Without any
// the cluster's own names still resolve.
func upstreams(configured []string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, u := range configured {
		at, err := dns.ParseUpstream(u)
		if err != nil {
			klog.ErrorS(err, "Resolver is left out", "upstream", u) // cannot be: it was validated
			continue
		}
		out = append(out, at)
	}
	if len(configured) > 0 {
		return out
	}
	out, err := dns.HostResolvers(resolvConf)
	if err != nil {
		klog.ErrorS(err, "Names outside of the cluster will not resolve: no coredns.upstream, and no resolvers of the host")
	}
	return out
}
