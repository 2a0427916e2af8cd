// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/edns"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	// udpSize is the largest question that is read. None that means anything
	// is larger.
	udpSize = 4096
	// patience is how long a question of an unknown address waits for its
	// address to become known. A kubelet reports the address of a pod some
	// seconds after the pod's containers have begun to run. Resolvers ask again
	// after five seconds, and wait then once more.
	patience = 4 * time.Second
	// DefaultQueries and DefaultConnections are for Config.
	DefaultQueries     = 1000
	DefaultConnections = 50
)

// Config configures a Server.
type Config struct {
	// Informers of the virtual cluster's API.
	Informers informers.SharedInformerFactory
	// Domain of the cluster, such as "cluster.local".
	Domain string
	// Upstreams answer for names outside of the cluster. Without any, these are
	// answered SERVFAIL.
	Upstreams []netip.AddrPort
	// Clients may ask, besides the cluster's own pods and their nodes. All
	// others are refused: they would learn the names in the cluster, and a
	// resolver that answers the world is a tool of attacks on others.
	Clients []netip.Prefix
	// Queries is how many questions an address may ask in a second, and
	// Connections how many it may have open. Questions and connections above
	// these get no answer. Zero stands for DefaultQueries and
	// DefaultConnections.
	Queries, Connections int
	// Sealed are networks of the host, such as that of its ClusterIPs. Their
	// reverse names are answered from the cluster alone, as those of private
	// addresses always are.
	Sealed []netip.Prefix
	// Patience is how long a question of an unknown address waits for its
	// address to become known. Zero stands for four seconds.
	Patience time.Duration
}

// Server answers questions about a virtual cluster. It only reads, so that
// every replica may run one.
type Server struct {
	cfg     Config
	records *records
	outside *outside
	chain   plugin.Handler

	clients     *clients
	rates       *rates
	waiting     *room // questions of unknown addresses
	connections *room // of clients
	strangers   *room // connections of all others

	// complaints limits the log lines about an upstream that fails, refusals
	// those about strangers.
	complaints, refusals rate.Sometimes
}

// New returns a Server. It registers with the informers, so it must be called
// before these are started.
func New(cfg Config) (*Server, error) {
	cfg.Queries, cfg.Connections = cmp.Or(cfg.Queries, DefaultQueries), cmp.Or(cfg.Connections, DefaultConnections)
	cfg.Patience = cmp.Or(cfg.Patience, patience)
	r, err := newRecords(cfg.Informers)
	if err != nil {
		return nil, err
	}
	c, err := newClients(cfg.Informers, cfg.Clients)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, records: r, outside: newOutside(cfg), clients: c,
		rates: newRates(cfg.Queries), waiting: newRoom(maxWaiting, maxWaitingOf),
		connections: newRoom(maxConnections, cfg.Connections), strangers: newRoom(maxStrangers, maxOfStranger),
		complaints: rate.Sometimes{Interval: time.Minute}, refusals: rate.Sometimes{Interval: time.Minute},
	}
	if s.chain, err = newChain(cfg, r, s.outside); err != nil {
		return nil, err
	}
	return s, nil
}

// Run answers at the sockets as soon as the informers have synced, until ctx
// ends. It closes the sockets.
func (s *Server) Run(ctx context.Context, sockets *Sockets) error {
	defer s.outside.stop()
	s.cfg.Informers.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), append(s.clients.synced, s.records.HasSynced)...) {
		return sockets.Close() // ctx ended first
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) { s.serve(ctx, w, r) })
	servers := []*dns.Server{
		{PacketConn: sockets.udp, Handler: handler, UDPSize: udpSize},
		{Listener: &limitedListener{Listener: sockets.tcp, room: s.roomOf}, Handler: handler, MaxTCPQueries: maxPerConnection},
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
	switch s.admit(ctx, addressOfClient(w.RemoteAddr())) {
	case admitted:
	case refused:
		reply(w, r, dns.RcodeRefused)
		_ = w.Close() // A stranger's connection takes room from others.
		return
	case dropped:
		_ = w.Close() // Over UDP it does nothing.
		return
	}
	if rcode := refusal(r); rcode != dns.RcodeSuccess {
		reply(w, r, rcode)
		return
	}
	if m, err := edns.Version(r); err != nil {
		_ = w.WriteMsg(m) // If it fails, the client is gone.
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
func refusal(r *dns.Msg) int {
	switch {
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

// verdict is the fate of a question, by its client.
type verdict int

const (
	admitted verdict = iota
	refused          // gets the answer REFUSED
	dropped          // gets no answer: one would cost more than silence
)

// admit decides about a question by its address. One that is not known may
// become so in a moment.
func (s *Server) admit(ctx context.Context, ip netip.Addr) verdict {
	if !s.clients.known(ip) {
		if v := s.await(ctx, ip); v != admitted {
			return v
		}
	}
	if !s.rates.allow(s.client(ip)) {
		return dropped
	}
	return admitted
}

func (s *Server) await(ctx context.Context, ip netip.Addr) verdict {
	if !s.waiting.enter(ip) {
		return dropped
	}
	defer s.waiting.leave(ip)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Patience)
	defer cancel()
	if s.clients.wait(ctx, ip) {
		return admitted
	}
	s.refusals.Do(func() {
		klog.FromContext(ctx).Info("A DNS question was refused: its address is no pod's of this cluster and no node's that runs one, and not in coredns.clients; there may be more of them", "from", ip)
	})
	return refused
}

// client is the unit that counts as one client: an address, or a site of a
// configured network.
func (s *Server) client(ip netip.Addr) netip.Addr {
	if ip.Is6() && s.clients.configured(ip) {
		return netip.PrefixFrom(ip, siteBits).Masked().Addr()
	}
	return ip
}

// roomOf is where a connection is counted.
func (s *Server) roomOf(from net.Addr) (*room, netip.Addr) {
	ip := addressOfClient(from)
	if s.clients.known(ip) {
		return s.connections, s.client(ip)
	}
	return s.strangers, ip
}

// addressOfClient returns no address for one that cannot be read.
func addressOfClient(from net.Addr) netip.Addr {
	at, err := netip.ParseAddrPort(from.String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}

// reply answers with a code and nothing else.
func reply(w dns.ResponseWriter, r *dns.Msg, rcode int) {
	_ = w.WriteMsg(new(dns.Msg).SetRcode(r, rcode)) // As above.
}
