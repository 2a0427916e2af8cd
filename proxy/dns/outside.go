// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/coredns/coredns/plugin"
	cacheplugin "github.com/coredns/coredns/plugin/cache"
	"github.com/coredns/coredns/plugin/forward"
	"github.com/coredns/coredns/plugin/pkg/proxy"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/miekg/dns"
)

const (
	// outsideTTL is how long an answer of the host's resolver is kept here and
	// by clients, kubeadm's "cache 30".
	outsideTTL = 30
	// maxOutside is how many questions may wait for the host's resolver, as
	// kubeadm's max_concurrent.
	maxOutside = 1000
	// readTimeout is for one try, outsideTimeout for all. Resolvers give up
	// after five seconds.
	readTimeout    = 2 * time.Second
	outsideTimeout = 4 * time.Second
	// maxFails is how many failed health checks in a row mean that an upstream
	// is down. They begin with the first question that it does not answer, and
	// end when it answers.
	maxFails = 2
)

var (
	errNoUpstream   = errors.New("no resolver for names outside of the cluster")
	errUpstreamDown = errors.New("no resolver for names outside of the cluster answers")
	errTooMany      = errors.New("too many questions wait for names outside of the cluster")
)

// outside answers names that are not the cluster's: from the cache, or by the
// host's resolver.
type outside struct {
	domain  string         // of the cluster, with a dot at its end
	sealed  []netip.Prefix // whose reverse names stay inside, besides private ones
	cache   plugin.Handler
	forward *forward.Forward
	waiting chan struct{}
}

func newOutside(cfg Config) *outside {
	f := forward.New()
	for _, u := range cfg.Upstreams {
		p := proxy.NewProxy("forward", u.String(), transport.DNS)
		p.SetReadTimeout(readTimeout)
		f.SetProxy(p)
	}
	o := &outside{domain: dns.CanonicalName(cfg.Domain), sealed: cfg.Sealed, forward: f, waiting: make(chan struct{}, maxOutside)}
	c := cacheplugin.New()
	c.Next = plugin.HandlerFunc(o.ask)
	o.cache = c
	return o
}

// stop ends the connections and health checks of upstreams.
func (o *outside) stop() { _ = o.forward.OnShutdown() } // It has nothing to report.

func (o *outside) Name() string { return "outside" }

// ServeDNS is the one way out, so questions that must not leave end here.
func (o *outside) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	name := r.Question[0].Name
	if dns.IsSubDomain(o.domain, name) || isReverse(name) && !mayLeave(name, o.sealed) {
		return dns.RcodeNameError, w.WriteMsg(new(dns.Msg).SetRcode(r, dns.RcodeNameError))
	}
	return o.cache.ServeDNS(ctx, w, r)
}

// ask sends a question to the host's resolver. It does not wait for one of
// which it is known that it does not answer.
func (o *outside) ask(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if o.forward.Len() == 0 {
		return dns.RcodeServerFailure, errNoUpstream
	}
	if !slices.ContainsFunc(o.forward.List(), func(p *proxy.Proxy) bool { return !p.Down(maxFails) }) {
		return dns.RcodeServerFailure, errUpstreamDown
	}
	select {
	case o.waiting <- struct{}{}:
		defer func() { <-o.waiting }()
	default:
		return dns.RcodeServerFailure, errTooMany
	}
	ctx, cancel := context.WithTimeout(ctx, outsideTimeout)
	defer cancel()
	return o.forward.ServeDNS(ctx, &shortened{w}, r)
}

// shortened limits the time for which an answer may be kept. A reverse answer
// that names a Service becomes NXDOMAIN: it is a Service of the host, or of
// another cluster, at an address that looks like a public one.
type shortened struct{ dns.ResponseWriter }

func (s *shortened) WriteMsg(m *dns.Msg) error {
	if len(m.Question) == 1 && isReverse(m.Question[0].Name) && namesService(m) {
		m = &dns.Msg{MsgHdr: m.MsgHdr, Question: m.Question}
		m.Rcode = dns.RcodeNameError
	}
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				h.Ttl = min(h.Ttl, outsideTTL)
			}
		}
	}
	return s.ResponseWriter.WriteMsg(m)
}
