// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/plugin"
	anyplugin "github.com/coredns/coredns/plugin/any"
	kubeplugin "github.com/coredns/coredns/plugin/kubernetes"
	"github.com/coredns/coredns/plugin/pkg/fall"
	"github.com/coredns/coredns/plugin/pkg/nonwriter"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// stanza is kubeadm's configuration of the kubernetes plugin.
const stanza = `kubernetes %s in-addr.arpa ip6.arpa {
	pods insecure
	fallthrough in-addr.arpa ip6.arpa
	ttl 30
}`

// newChain puts the plugins together: a question passes them until one answers.
func newChain(cfg Config, r *records, outside plugin.Handler) (plugin.Handler, error) {
	controller := &caddy.Controller{Dispenser: caddyfile.NewDispenser("embedded", strings.NewReader(fmt.Sprintf(stanza, cfg.Domain)))}
	controller.Next() // the plugin's name
	k, err := kubeplugin.ParseStanza(controller)
	if err != nil {
		return nil, fmt.Errorf("configure the kubernetes plugin: %w", err)
	}
	k.APIConn = r
	k.Upstream = lookup{outside}
	k.Next = outside
	sealed := *k
	sealed.Fall = fall.Zero
	return &anyplugin.Any{Next: &inside{open: k, sealed: &sealed, networks: cfg.Sealed}}, nil
}

// inside asks the kubernetes plugin. Reverse names that may not leave end here:
// the host's resolver would answer with the names of other Services of the
// host, and no other resolver knows them (RFC 6303).
type inside struct {
	open, sealed *kubeplugin.Kubernetes
	networks     []netip.Prefix // see Config.Sealed
}

func (i *inside) Name() string { return "inside" }

func (i *inside) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if name := r.Question[0].Name; isReverse(name) && !mayLeave(name, i.networks) {
		return i.sealed.ServeDNS(ctx, w, r)
	}
	return i.open.ServeDNS(ctx, w, r)
}

// lookup resolves the targets of ExternalName Services outside of the cluster.
// Those inside the plugin resolves itself, so that no loop can arise here.
type lookup struct{ outside plugin.Handler }

// Lookup implements the plugin's Upstreamer.
func (l lookup) Lookup(ctx context.Context, state request.Request, name string, typ uint16) (*dns.Msg, error) {
	question := state.NewWithQuestion(name, typ)
	w := nonwriter.New(state.W)
	rcode, err := l.outside.ServeDNS(ctx, w, question.Req)
	if err != nil {
		return nil, err
	}
	if w.Msg == nil {
		return nil, fmt.Errorf("resolve %s: %s", name, dns.RcodeToString[rcode])
	}
	return w.Msg, nil
}
