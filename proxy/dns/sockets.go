// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/miekg/dns"
)

// Sockets are one port, for UDP and for TCP.
type Sockets struct {
	udp net.PacketConn
	tcp net.Listener
}

// portTries is how often the kernel is asked for a port that both protocols
// have free.
const portTries = 20

// Listen opens both sockets at address, IP:port. Port 0 lets the kernel choose
// one. Questions that arrive from now on wait until a Server runs.
func Listen(ctx context.Context, address string) (*Sockets, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		s, err := listenBoth(ctx, at)
		if err != nil && at.Port() == 0 && try < portTries && errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		return s, err
	}
}

func listenBoth(ctx context.Context, at netip.AddrPort) (*Sockets, error) {
	var lc net.ListenConfig
	tcp, err := lc.Listen(ctx, "tcp", at.String())
	if err != nil {
		return nil, err
	}
	same, err := netip.ParseAddrPort(tcp.Addr().String())
	if err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	udp, err := lc.ListenPacket(ctx, "udp", netip.AddrPortFrom(at.Addr(), same.Port()).String())
	if err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	return &Sockets{udp: udp, tcp: tcp}, nil
}

// Port returns the port.
func (s *Sockets) Port() int32 { return int32(s.tcp.Addr().(*net.TCPAddr).Port) }

// Close closes both.
func (s *Sockets) Close() error { return errors.Join(s.udp.Close(), s.tcp.Close()) }

// HostResolvers returns the resolvers in a resolv.conf, which for a pod of the
// host is the host's DNS.
func HostResolvers(resolvConf string) ([]netip.AddrPort, error) {
	config, err := dns.ClientConfigFromFile(resolvConf)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", resolvConf, err)
	}
	var out []netip.AddrPort
	for _, server := range config.Servers {
		at, err := ParseUpstream(net.JoinHostPort(server, config.Port))
		if err != nil {
			return nil, fmt.Errorf("%s: nameserver %q: %w", resolvConf, server, err)
		}
		out = append(out, at)
	}
	return out, nil
}

// ParseUpstream reads the address of a resolver, an IP with or without a port.
func ParseUpstream(s string) (netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(ip, 53), nil
	}
	return netip.ParseAddrPort(s)
}
