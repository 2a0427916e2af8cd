// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/edns"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	// maxConnections is how many TCP connections are open at a time, and
	// maxPerConnection how many questions one may ask.
	maxConnections   = 500
	maxPerConnection = 1000
	// udpSize is the largest question that is read. None that means anything
	// is larger.
	udpSize = 4096
)

// Config is what a Server needs.
type Config struct {
	// Informers of the virtual cluster's API.
	Informers informers.SharedInformerFactory
	// Domain of the cluster, such as "cluster.local".
	Domain string
	// Upstreams answer for names outside of the cluster. Without any, these are
	// answered SERVFAIL.
	Upstreams []netip.AddrPort
	// Clients may ask. All others are refused: a resolver that answers the
	// world is a tool of attacks on others.
	Clients []netip.Prefix
}

// Server answers questions about a virtual cluster. It only reads, so that
// every replica may run one.
type Server struct {
	cfg     Config
	records *records
	outside *outside
	chain   plugin.Handler
	// complaints limits what the log says of an upstream that fails.
	complaints rate.Sometimes
}

// New returns a Server. It registers with the informers, so it must be called
// before these are started.
func New(cfg Config) (*Server, error) {
	r, err := newRecords(cfg.Informers)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, records: r, outside: newOutside(cfg.Upstreams), complaints: rate.Sometimes{Interval: time.Minute}}
	if s.chain, err = newChain(cfg.Domain, r, s.outside); err != nil {
		return nil, err
	}
	return s, nil
}

// Run answers at the sockets as soon as the informers have synced, until ctx
// ends. It closes the sockets.
func (s *Server) Run(ctx context.Context, sockets *Sockets) error {
	defer s.outside.stop()
	s.cfg.Informers.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), s.records.HasSynced) {
		return sockets.Close() // ctx ended first
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) { s.serve(ctx, w, r) })
	servers := []*dns.Server{
		{PacketConn: sockets.udp, Handler: handler, UDPSize: udpSize},
		{Listener: netutil.LimitListener(sockets.tcp, maxConnections), Handler: handler, MaxTCPQueries: maxPerConnection},
	}
	serving, ctx := errgroup.WithContext(ctx)
	for _, server := range servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		ended := make(chan struct{})
		serving.Go(func() error {
			defer close(ended)
			if err := server.ActivateAndServe(); err != nil {
				return fmt.Errorf("serve DNS: %w", err)
			}
			return nil
		})
		serving.Go(func() error {
			select {
			case <-started:
				<-ctx.Done()
				return server.Shutdown()
			case <-ended: // with an error, or it would have started
				return nil
			}
		})
	}
	klog.FromContext(ctx).Info("DNS answers", "address", sockets.tcp.Addr().String(), "domain", s.cfg.Domain, "upstreams", s.cfg.Upstreams)
	return serving.Wait()
}

// serve answers one question, in the way of CoreDNS' own server.
func (s *Server) serve(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) {
	defer func() {
		if p := recover(); p != nil {
			utilruntime.HandleErrorWithContext(ctx, fmt.Errorf("panic: %v", p), "Answering a DNS question failed")
			reply(w, r, dns.RcodeServerFailure)
		}
	}()
	if rcode := s.refusal(w.RemoteAddr(), r); rcode != dns.RcodeSuccess {
		reply(w, r, rcode)
		return
	}
	if m, err := edns.Version(r); err != nil {
		_ = w.WriteMsg(m) // The client is gone, or not; nobody else wants to know.
		return
	}
	w = request.NewScrubWriter(r, w) // truncates
	rcode, err := s.chain.ServeDNS(ctx, w, r)
	if err != nil {
		s.complaints.Do(func() {
			klog.FromContext(ctx).Info("A DNS question could not be answered; there may be more of them", "err", err)
		})
	}
	if !plugin.ClientWrite(rcode) {
		reply(w, r, rcode)
	}
}

// refusal is the code for a question that is not asked further.
func (s *Server) refusal(from net.Addr, r *dns.Msg) int {
	switch {
	case !s.mayAsk(from):
		return dns.RcodeRefused
	case len(r.Question) != 1:
		return dns.RcodeFormatError
	case r.Opcode != dns.OpcodeQuery:
		return dns.RcodeNotImplemented
	case r.Question[0].Qclass != dns.ClassINET:
		return dns.RcodeRefused
	}
	switch r.Question[0].Qtype {
	case dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILA, dns.TypeMAILB:
		return dns.RcodeRefused
	}
	return dns.RcodeSuccess
}

func (s *Server) mayAsk(from net.Addr) bool {
	at, err := netip.ParseAddrPort(from.String())
	if err != nil {
		return false
	}
	ip := at.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(s.cfg.Clients, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// reply answers with a code and nothing else.
func reply(w dns.ResponseWriter, r *dns.Msg, rcode int) {
	_ = w.WriteMsg(new(dns.Msg).SetRcode(r, rcode)) // As above.
}
