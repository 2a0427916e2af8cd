// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// Limits are the connections that may be open at a time.
type Limits struct {
	Connections int // of the process
	PerClient   int // of an IPv4 address or an IPv6 /64
	PerCluster  int
}

// Timeouts say how long a peer may take.
type Timeouts struct {
	Hello time.Duration // from the first byte until it is known where to
	Dial  time.Duration // for a door
	Stall time.Duration // for a peer that does not read
	Idle  time.Duration // without a byte in either direction
	Wake  time.Duration // for a cluster that sleeps, until its door answers
}

// DefaultLimits hold the memory of idle tunnels below 256 MiB.
var DefaultLimits = Limits{Connections: 4096, PerClient: 256, PerCluster: 1024}

// DefaultTimeouts let a watch be silent for longer than any client lets it.
var DefaultTimeouts = Timeouts{Hello: 10 * time.Second, Dial: 5 * time.Second, Stall: time.Minute, Idle: time.Hour, Wake: 55 * time.Second}

// Doors finds clusters. A Directory does.
type Doors interface {
	Door(types.NamespacedName) (netip.AddrPort, error)
}

// Reviewer says where a token leads. Tokens do.
type Reviewer interface {
	Review(ctx context.Context, token string) (Pass, error)
}

// Waker wakes clusters. A Workloads does.
type Waker interface {
	// Wake wakes a cluster if it sleeps. It reports whether its door is worth
	// waiting for: an awake one answers or never does.
	Wake(ctx context.Context, cluster types.NamespacedName) (waits bool, err error)
	// Look is as Wake, and returns ErrAsleep for a cluster that sleeps.
	Look(cluster types.NamespacedName) (waits bool, err error)
}

// Options describe a gateway.
type Options struct {
	Doors Doors
	// Waker wakes clusters that sleep. Nil: none is woken.
	Waker Waker
	// Domains are suffixes of cluster names besides ServiceSuffix.
	Domains []string

	// Reviewer and TLS are for CONNECT. Without a Reviewer there is no such way;
	// with one and without TLS, none but over plain HTTP.
	Reviewer Reviewer
	TLS      *tls.Config
	// Plain permits CONNECT over plain HTTP, which shows tokens to the network.
	Plain bool

	Limits   Limits
	Timeouts Timeouts

	// ProxyFrom are the networks of load balancers whose connections begin with a
	// header of the PROXY protocol, which says who the client is. From all others
	// such a header is noise.
	ProxyFrom []netip.Prefix
	// ProxyToDoors begins each connection to a door with such a header.
	ProxyToDoors bool

	// Dial connects to a door; nil is the network.
	Dial func(context.Context, netip.AddrPort) (net.Conn, error)
}

// Gateway leads clients to doors.
type Gateway struct {
	options  Options
	suffixes suffixes
	counts   *counts
	http     *http.Server
	handoff  *handoff
	tls      *tls.Config

	mu       sync.Mutex
	open     map[*client]struct{}
	draining chan struct{} // closed when no more are accepted
	drain    func()
	gone     chan struct{} // receives when a connection has ended
}

// New returns a gateway. Zero limits and time-outs are the defaults.
func New(o Options) *Gateway {
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits
	}
	if o.Timeouts == (Timeouts{}) {
		o.Timeouts = DefaultTimeouts
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return (&net.Dialer{Timeout: o.Timeouts.Dial}).DialContext(ctx, "tcp", to.String())
		}
	}
	registerMetrics()
	g := &Gateway{
		options: o, suffixes: suffixesOf(o.Domains), counts: newCounts(o.Limits),
		open: map[*client]struct{}{}, draining: make(chan struct{}), gone: make(chan struct{}, 1),
	}
	g.drain = sync.OnceFunc(func() { close(g.draining) })
	g.handoff = &handoff{conns: make(chan net.Conn), closed: g.draining}
	g.http = g.newServer()
	if o.TLS != nil {
		g.tls = o.TLS.Clone()
		g.tls.NextProtos = []string{"http/1.1"} // A client that is offered h2 sends a CONNECT of HTTP/1.1 all the same.
	}
	return g
}

// Serve accepts connections until Shutdown, or until the listener fails. It
// returns while connections are still open.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, g.drain)()
	go func() {
		<-g.draining
		_ = l.Close()
	}()
	go func() { _ = g.http.Serve(g.handoff) }()
	for {
		conn, err := l.Accept()
		if err != nil {
			select {
			case <-g.draining:
				return nil
			default:
			}
			if t, ok := err.(interface{ Temporary() bool }); ok && t.Temporary() {
				time.Sleep(acceptPause) // Out of file descriptors, for example.
				continue
			}
			g.drain()
			return fmt.Errorf("accept a connection: %w", err)
		}
		c, err := g.admit(conn)
		if err != nil {
			_ = conn.Close()
			count(wayNone, resultTooMany)
			continue
		}
		go func() {
			// The address may be known to a header, which is read here and has a
			// limit of its own.
			release, err := g.counts.client(addressOf(c))
			if err != nil {
				_ = c.Close()
				count(wayNone, resultTooMany)
				return
			}
			c.counts(release)
			g.handle(context.WithoutCancel(ctx), c)
		}()
	}
}

// acceptPause is how long a listener rests that cannot accept.
const acceptPause = 50 * time.Millisecond

// Shutdown accepts no more connections and waits for those that are open. When
// ctx is done, they are closed.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.drain()
	g.http.SetKeepAlivesEnabled(false)
	for g.Open() > 0 {
		select {
		case <-g.gone:
			continue
		case <-ctx.Done():
		}
		g.mu.Lock()
		left := make([]*client, 0, len(g.open))
		for c := range g.open {
			left = append(left, c)
		}
		g.mu.Unlock()
		for _, c := range left {
			_ = c.Close()
		}
		_ = g.http.Close()
		return fmt.Errorf("%d connections were cut off: %w", len(left), ctx.Err())
	}
	return g.http.Close()
}

// Open returns the number of open connections.
func (g *Gateway) Open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.open)
}

// admit counts a connection from here to its Close.
func (g *Gateway) admit(conn net.Conn) (*client, error) {
	release, err := g.counts.connection()
	if err != nil {
		return nil, err
	}
	if trusted(conn, g.options.ProxyFrom) {
		conn = headed(conn, g.options.Timeouts.Hello)
	}
	c := &client{Conn: conn, stall: g.options.Timeouts.Stall}
	c.done = sync.OnceFunc(func() {
		c.counts(nil)
		release()
		g.mu.Lock()
		delete(g.open, c)
		g.mu.Unlock()
		connections.Dec()
		select {
		case g.gone <- struct{}{}:
		default:
		}
	})
	connections.Inc()
	g.mu.Lock()
	g.open[c] = struct{}{}
	g.mu.Unlock()
	return c, nil
}

// handle finds out which way a client goes. It closes c, or the next owner
// does.
func (g *Gateway) handle(ctx context.Context, c *client) {
	logger := klog.FromContext(ctx).WithValues("client", c.RemoteAddr().String())
	ctx = klog.NewContext(ctx, logger)
	if err := c.SetDeadline(time.Now().Add(g.options.Timeouts.Hello)); err != nil {
		_ = c.Close()
		return
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		_ = c.Close()
		return // A probe of a load balancer, most of the time.
	}
	c.again = first
	if first[0] != recordHandshake {
		g.plain(c)
		return
	}
	name, read, err := readHello(c)
	c.again = read
	if err != nil {
		logger.V(4).Info("Refused a connection", "reason", err)
		count(wayNone, resultMalformed)
		alert(c.Conn, alertInternal)
		_ = c.Close()
		return
	}
	if cluster, ok := g.suffixes.cluster(name); ok {
		g.passThrough(ctx, c, cluster)
		return
	}
	if g.tls == nil || g.options.Reviewer == nil {
		count(wayName, resultUnknown)
		alert(c.Conn, alertUnrecognized)
		_ = c.Close()
		return
	}
	g.hand(c, tls.Server(c, g.tls))
}

// plain answers a client that does not speak TLS.
func (g *Gateway) plain(c *client) {
	if g.options.Plain && g.options.Reviewer != nil {
		g.hand(c, c)
		return
	}
	count(wayNone, resultMalformed)
	_, _ = io.WriteString(c.Conn, "HTTP/1.1 400 this port speaks TLS\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	_ = c.Close()
}

// hand gives a connection to the HTTP server, which has time-outs of its own.
func (g *Gateway) hand(c *client, conn net.Conn) {
	if err := c.SetDeadline(time.Time{}); err != nil || !g.handoff.give(conn) {
		_ = conn.Close()
		_ = c.Close()
	}
}

// dial connects to a cluster's door. The connection counts for the cluster until
// it is closed.
func (g *Gateway) dial(ctx context.Context, cluster types.NamespacedName, from net.Addr, wakes bool) (*far, error) {
	to, err := g.options.Doors.Door(cluster)
	if err != nil {
		return nil, err
	}
	release, err := g.counts.cluster(cluster)
	if err != nil {
		return nil, err
	}
	conn, err := g.reach(ctx, cluster, to, wakes)
	if err != nil {
		release()
		return nil, err
	}
	t := g.options.Timeouts
	if g.options.ProxyToDoors {
		if err := introduce(conn, from, to, t.Dial); err != nil {
			_ = conn.Close()
			release()
			return nil, errors.Join(errSilent, err)
		}
	}
	return newFar(conn, t.Idle, t.Stall, release), nil
}

// reach connects to a door. It wakes the cluster behind it if that sleeps and may
// be woken.
func (g *Gateway) reach(ctx context.Context, cluster types.NamespacedName, to netip.AddrPort, wakes bool) (net.Conn, error) {
	waits := false
	if w := g.options.Waker; w != nil {
		var err error
		if wakes {
			waits, err = w.Wake(ctx, cluster)
		} else {
			waits, err = w.Look(cluster)
		}
		if err != nil {
			return nil, err
		}
	}
	if !waits {
		conn, err := g.options.Dial(ctx, to)
		if err != nil {
			return nil, errors.Join(errSilent, err)
		}
		return conn, nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.options.Timeouts.Wake)
	defer cancel()
	ticker := time.NewTicker(knockPause)
	defer ticker.Stop()
	for {
		conn, err := g.knock(ctx, to)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(errStarting, err)
		case <-g.draining:
			return nil, errors.Join(errStarting, err)
		case <-ticker.C:
		}
	}
}

// The attempts at the door of a cluster that wakes: their distance, and how long
// one lasts where the network says nothing about a Service that leads nowhere.
const (
	knockPause = 100 * time.Millisecond
	knockLimit = time.Second
)

func (g *Gateway) knock(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, knockLimit)
	defer cancel()
	return g.options.Dial(ctx, to)
}

// errStarting is returned for a cluster that has been woken and does not answer
// in time.
var errStarting = errors.New("the virtual cluster is still starting")

// errSilent is returned for a cluster whose door does not answer.
var errSilent = errors.New("the virtual cluster does not answer")

// addressOf returns the address of a peer, without the port.
func addressOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr()
	}
	return netip.Addr{}
}

// handoff is the listener of the HTTP server.
type handoff struct {
	conns  chan net.Conn
	closed <-chan struct{}
}

func (h *handoff) give(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.closed:
		return false
	}
}

func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (*handoff) Close() error   { return nil }
func (*handoff) Addr() net.Addr { return &net.TCPAddr{} }
