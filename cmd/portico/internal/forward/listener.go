// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/streaming/pkg/httpstream"
)

// Dial opens a connection to a pod that serves the cluster.
type Dial func(ctx context.Context) (httpstream.Connection, error)

// Listener accepts connections on this machine and forwards each.
type Listener struct {
	listener net.Listener
	dial     Dial
	port     int // in the pod
	say      func(format string, args ...any)

	mu      sync.Mutex
	conn    httpstream.Connection
	request int
	users   map[httpstream.Connection]int // forwarded connections, by the shared one that they are on
}

// Listen opens the local end. With local 0, the kernel chooses the port.
func Listen(ctx context.Context, local, remote int, dial Dial, say func(format string, args ...any)) (*Listener, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(local)))
	if err != nil {
		return nil, fmt.Errorf("forward a port: %w", err)
	}
	return &Listener{listener: l, dial: dial, port: remote, say: say, users: map[httpstream.Connection]int{}}, nil
}

// Port is the local port.
func (l *Listener) Port() int { return l.listener.Addr().(*net.TCPAddr).Port }

// Serve forwards connections until the context ends.
func (l *Listener) Serve(ctx context.Context) error {
	defer l.drop(nil)
	defer context.AfterFunc(ctx, func() { _ = l.listener.Close() })()
	for {
		c, err := l.listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("forward a port: %w", err)
		}
		go func() {
			defer c.Close()
			if err := l.forward(ctx, c); err != nil && ctx.Err() == nil {
				l.say("a forwarded connection failed: %v", err)
			}
		}()
	}
}

// forward copies one connection to and from the pod.
func (l *Listener) forward(ctx context.Context, local net.Conn) error {
	s, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer l.release(s.conn)
	defer s.conn.RemoveStreams(s.failures, s.data)
	defer context.AfterFunc(ctx, func() { _ = local.Close() })()
	failed := make(chan error, 1)
	go func() {
		text, err := io.ReadAll(s.failures)
		if err == nil && len(text) > 0 {
			err = errors.New(string(text))
			l.retire(s.conn)
		}
		failed <- err
	}()
	up := make(chan struct{})
	go func() {
		defer close(up)
		_, _ = io.Copy(s.data, local) // The end of either side ends the connection.
		_ = s.data.Close()            // As above.
	}()
	_, _ = io.Copy(local, s.data) // As above.
	_ = local.Close()
	<-up
	_ = s.data.Reset() // It is over in any case.
	return <-failed
}

// streams are the two that make one forwarded connection.
type streams struct {
	conn           httpstream.Connection
	failures, data httpstream.Stream
}

// open opens the streams of a connection. If the shared connection turns out to
// be dead, one to another pod is tried.
func (l *Listener) open(ctx context.Context) (streams, error) {
	var err error
	for range 3 {
		var s streams
		var id int
		if s.conn, id, err = l.connection(ctx); err != nil {
			return s, err
		}
		header := http.Header{}
		header.Set(corev1.StreamType, corev1.StreamTypeError)
		header.Set(corev1.PortHeader, strconv.Itoa(l.port))
		header.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(id))
		if s.failures, err = s.conn.CreateStream(header); err == nil {
			_ = s.failures.Close() // Nothing is written to it.
			header.Set(corev1.StreamType, corev1.StreamTypeData)
			if s.data, err = s.conn.CreateStream(header); err == nil {
				return s, nil
			}
		}
		l.drop(s.conn)
		l.release(s.conn)
	}
	return streams{}, fmt.Errorf("open a stream to the pod: %w", err)
}

func (l *Listener) connection(ctx context.Context) (httpstream.Connection, int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		select {
		case <-l.conn.CloseChan():
			l.conn = nil
		default:
		}
	}
	if l.conn == nil {
		conn, err := l.dial(ctx)
		if err != nil {
			return nil, 0, err
		}
		l.conn = conn
	}
	l.request++
	l.users[l.conn]++
	return l.conn, l.request, nil
}

// retire has the next connections come by another shared one: the pod of this one
// may be gone, which nobody says but a kubelet, of each stream. Those that are on it
// may be well, and stay.
func (l *Listener) retire(conn httpstream.Connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == conn {
		l.conn = nil
	}
}

// release ends a use of a shared connection. The last use of a retired one closes it.
func (l *Listener) release(conn httpstream.Connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users[conn]--; l.users[conn] > 0 {
		return
	}
	delete(l.users, conn)
	if l.conn != conn {
		_ = conn.Close() // It is not used any more.
	}
}

// drop closes the shared connection, or, with nil, whichever there is.
func (l *Listener) drop(conn httpstream.Connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && (conn == nil || l.conn == conn) {
		_ = l.conn.Close() // It is not used any more.
		l.conn = nil
	}
}
