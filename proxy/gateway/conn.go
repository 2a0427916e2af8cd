// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// buffer is how much of a direction is under way in this process. Two of them
// are the better part of an idle tunnel's memory.
const buffer = 16 << 10

// client is the connection of a client. Bytes that were read to find its way
// are read again.
type client struct {
	net.Conn
	stall time.Duration
	again []byte // REQUIRES: no concurrent Read
	done  func()

	mu      sync.Mutex
	gone    bool
	counted func() // ends its count among the connections of its client
}

// counts has release called at the end, or now if that was before. Nil is the end.
func (c *client) counts(release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if release == nil {
		release, c.gone = c.counted, true
	} else if !c.gone {
		c.counted = release
		return
	}
	if release != nil {
		release()
	}
}

func (c *client) Read(p []byte) (int, error) {
	if len(c.again) > 0 {
		n := copy(p, c.again)
		c.again = c.again[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// Write gives up when the client does not read.
func (c *client) Write(p []byte) (int, error) { return writeWithin(c.Conn, p, c.stall) }

func (c *client) Close() error {
	err := c.Conn.Close()
	c.done()
	return err
}

// far is the connection to a door, and the pulse of its tunnel: all bytes of both
// directions pass through it.
type far struct {
	net.Conn
	idle, stall time.Duration
	last        atomic.Int64 // when a byte passed
	closing     sync.Once
	done        func()
}

func newFar(c net.Conn, idle, stall time.Duration, done func()) *far {
	f := &far{Conn: c, idle: idle, stall: stall, done: done}
	f.touch()
	return f
}

func (f *far) touch() { f.last.Store(time.Now().UnixNano()) }

// Read ends with the deadline's error when nothing has passed for too long in
// either direction.
func (f *far) Read(p []byte) (int, error) {
	for {
		last := time.Unix(0, f.last.Load())
		if err := f.SetReadDeadline(last.Add(f.idle)); err != nil {
			return 0, err
		}
		n, err := f.Conn.Read(p)
		if n > 0 {
			f.touch()
		}
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && time.Unix(0, f.last.Load()).After(last) {
			continue // The other direction is alive.
		}
		return n, err
	}
}

func (f *far) Write(p []byte) (int, error) {
	f.touch()
	n, err := writeWithin(f.Conn, p, f.stall)
	f.touch()
	return n, err
}

func (f *far) Close() error {
	err := f.Conn.Close()
	f.closing.Do(f.done)
	return err
}

func writeWithin(c net.Conn, p []byte, limit time.Duration) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return 0, err
	}
	return c.Write(p)
}

// join passes bytes between the two until one of them ends, and closes both. A
// direction has no end of its own: TLS says by itself where its data ends.
func join(near, door net.Conn) {
	var both sync.WaitGroup
	pass := func(to, from net.Conn) {
		// Only Read and Write: neither splice nor ReadFrom knows our limits.
		_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, buffer))
		_ = to.Close()
		_ = from.Close()
	}
	both.Go(func() { pass(door, near) })
	both.Go(func() { pass(near, door) })
	both.Wait()
}
