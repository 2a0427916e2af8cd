// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"portico.dev/portico/proxy/egress/policy"
)

// Config configures a Dialer; some of it comes from the operator, some from the
// process.
type Config struct {
	policy.Policy

	// HostAPI is the address of the host's API, "host:port". It is refused,
	// also if the Policy permits it.
	HostAPI string

	// ClusterDomain is the DNS domain of the virtual cluster. Names in it are
	// looked up in the cluster alone.
	ClusterDomain string
}

const (
	// connectTimeout bounds one attempt, as in http.DefaultTransport.
	connectTimeout = 30 * time.Second
	// maxAliases bounds how often one ExternalName leads to another.
	maxAliases = 8
)

// Dialer connects to addresses and names in a tenant's objects. It is safe for
// concurrent use.
type Dialer struct {
	cfg  Config
	view *View

	lookup  func(ctx context.Context, name string) ([]netip.Addr, error)
	machine func() ([]netip.Addr, error)
	connect func(ctx context.Context, network, address string) (net.Conn, error)
}

// New returns a Dialer for the cluster of view.
func New(cfg Config, view *View) *Dialer {
	return &Dialer{
		cfg: cfg, view: view,
		lookup: func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		},
		machine: interfaceAddresses,
		connect: (&net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}).DialContext,
	}
}

// interfaceAddresses are the addresses of this machine at this moment.
func interfaceAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of this machine: %w", err)
	}
	var out []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap().WithZone(""))
		}
	}
	return out, nil
}

// DialContext connects to address, "host:port", if one of the addresses that
// host leads to is permitted, and to that address.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, refused("a target of network %q", network)
	}
	host, port, err := split(address)
	if err != nil {
		return nil, err
	}
	candidates, err := d.candidates(ctx, host, port, 0)
	if err != nil {
		return nil, err
	}
	permitted, err := d.permitted(ctx, candidates)
	if err != nil {
		return nil, err
	}
	if len(permitted) == 0 {
		return nil, refused("%s", address)
	}
	for _, at := range permitted {
		var c net.Conn
		if c, err = d.connect(ctx, network, at.String()); err == nil {
			return conn{c}, nil
		}
	}
	return nil, fmt.Errorf("connect to %s: %w", address, unaddressed(err))
}

func split(address string) (string, uint16, error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, refused("%q", address)
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil || port == 0 || host == "" {
		return "", 0, refused("%q", address)
	}
	return host, uint16(port), nil
}

// candidates are the addresses that a host leads to. A host that leads nowhere
// has none: an error would reveal that it does not exist.
func (d *Dialer) candidates(ctx context.Context, host string, port uint16, aliases int) ([]netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return d.behind([]netip.Addr{ip}, port)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if namespace, service, inside := d.serviceOf(name); inside {
		s, err := d.view.services.Services(namespace).Get(service)
		if err != nil || aliases > maxAliases {
			return nil, nil //nolint:nilerr // see above
		}
		if s.Spec.Type == corev1.ServiceTypeExternalName {
			return d.candidates(ctx, s.Spec.ExternalName, port, aliases+1)
		}
		return d.endpointOf(s, port)
	}
	// The final dot keeps the search path of porticod's pod out, which would
	// complete a short name to one of the host's Services.
	found, err := d.lookup(ctx, name+".")
	if err != nil {
		return nil, ctx.Err()
	}
	return d.behind(found, port)
}

// behind puts endpoints in the place of addresses of Services.
func (d *Dialer) behind(found []netip.Addr, port uint16) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	for _, ip := range found {
		s := d.view.serviceAt(ip)
		if s == nil {
			out = append(out, netip.AddrPortFrom(ip, port))
			continue
		}
		at, err := d.endpointOf(s, port)
		if err != nil {
			return nil, err
		}
		out = append(out, at...)
	}
	return out, nil
}

func (d *Dialer) endpointOf(s *corev1.Service, port uint16) ([]netip.AddrPort, error) {
	at, err := d.endpoint(s, int32(port))
	if err != nil {
		return nil, err
	}
	return []netip.AddrPort{at}, nil
}

// endpoint chooses an endpoint of s that is permitted. Its port is judged when
// it is dialled.
func (d *Dialer) endpoint(s *corev1.Service, port int32) (netip.AddrPort, error) {
	machine, err := d.machine()
	if err != nil {
		return netip.AddrPort{}, err
	}
	return d.view.endpoint(s, port, func(ip netip.Addr) bool {
		return d.cfg.Permits(netip.AddrPortFrom(ip, anyPort), d.view.isPod(ip), machine)
	})
}

// anyPort is one that no listener has: it is reserved for TCP.
const anyPort = 1

// serviceOf reports whether a name is in the cluster's domain, and of which
// Service. Other names of the domain lead to no Service, and are not looked up
// elsewhere: the host's domain may have the same name.
func (d *Dialer) serviceOf(name string) (namespace, service string, inside bool) {
	rest, found := strings.CutSuffix(name, "."+d.cfg.ClusterDomain)
	if !found {
		rest = name
	}
	parts := strings.Split(rest, ".")
	if len(parts) == 3 && parts[2] == "svc" {
		return parts[1], parts[0], true
	}
	return "", "", found || parts[len(parts)-1] == "svc" || name == d.cfg.ClusterDomain
}

// permitted are those of candidates that may be dialled.
func (d *Dialer) permitted(ctx context.Context, candidates []netip.AddrPort) ([]netip.AddrPort, error) {
	if len(candidates) == 0 {
		return nil, nil
	}
	machine, err := d.machine()
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, at := range candidates {
		if d.cfg.Permits(at, d.view.isPod(at.Addr()), machine) && !d.isHostAPI(ctx, at) {
			out = append(out, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
		}
	}
	return out, nil
}

// isHostAPI reports whether the host's API is at an address, or could be: a
// name that does not resolve now may be anywhere.
func (d *Dialer) isHostAPI(ctx context.Context, at netip.AddrPort) bool {
	host, port, err := split(d.cfg.HostAPI)
	if err != nil || port != at.Port() {
		return false
	}
	ip := at.Addr().Unmap()
	inner, carries := policy.Translated(ip)
	same := func(a netip.Addr) bool { return a.Unmap() == ip || carries && a.Unmap() == inner }
	if literal, err := netip.ParseAddr(host); err == nil {
		return same(literal)
	}
	all, err := d.lookup(ctx, host)
	return err != nil || slices.ContainsFunc(all, same)
}
