// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"errors"
	"fmt"
	"net"
)

// refusedError says that nothing may be dialled on a tenant's word.
type refusedError struct{ subject string }

// Error names only the text that the tenant wrote.
func (e *refusedError) Error() string {
	return e.subject + " is not an address of this cluster and not in egress.allow"
}

func refused(format string, args ...any) error {
	return &refusedError{subject: fmt.Sprintf(format, args...)}
}

// unaddressed removes from an error of the network the addresses of both ends:
// ours, and the one that a name led to. It stays a net.Error.
func unaddressed(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) {
		return err
	}
	return &net.OpError{Op: op.Op, Net: op.Net, Err: op.Err}
}

// conn is a connection whose errors name no addresses.
type conn struct{ net.Conn }

// Read implements net.Conn.
func (c conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, unaddressed(err)
}

// Write implements net.Conn.
func (c conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, unaddressed(err)
}
