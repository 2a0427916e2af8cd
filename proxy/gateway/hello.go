// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	// recordHandshake is the first byte of TLS.
	recordHandshake = 0x16
	// helloLimit is more than any client sends before it has an answer: Go's own
	// is below 2 KiB with post-quantum keys.
	helloLimit = 16 << 10
)

// Alerts of TLS, which are the only words for a client whose handshake is
// another's.
const (
	alertInternal     = 80
	alertUnrecognized = 112
)

var (
	errHello = errors.New("hello was read")
	errLong  = errors.New("hello is too long")
)

// readHello reads a ClientHello and returns the name in it, with all bytes that
// were read. The parser is that of the door, so that the two cannot differ about
// the name.
func readHello(from io.Reader) (name string, read []byte, err error) {
	r := &recorder{from: io.LimitReader(from, helloLimit)}
	err = tls.Server(r, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			name = hello.ServerName
			return nil, errHello
		},
	}).Handshake() //nolint:noctx // The reader has the deadline.
	switch {
	case errors.Is(err, errHello):
		return name, r.read, nil
	case len(r.read) >= helloLimit:
		return "", nil, errLong
	}
	return "", nil, fmt.Errorf("read a ClientHello: %w", err)
}

// recorder is a connection that keeps the bytes that are read, and writes none.
type recorder struct {
	from io.Reader
	read []byte
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.read = append(r.read, p[:n]...)
	return n, err
}

func (*recorder) Write(p []byte) (int, error)      { return len(p), nil }
func (*recorder) Close() error                     { return nil }
func (*recorder) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*recorder) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*recorder) SetDeadline(time.Time) error      { return nil }
func (*recorder) SetReadDeadline(time.Time) error  { return nil }
func (*recorder) SetWriteDeadline(time.Time) error { return nil }

// alert ends a handshake with a reason. It is written to the connection itself:
// the deadline of the hello is that of the answer, too.
func alert(to io.Writer, description byte) {
	const fatal = 2
	_, _ = to.Write([]byte{0x15, 3, 3, 0, 2, fatal, description})
}
