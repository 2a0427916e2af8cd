// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"context"

	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store"
)

// Meter knows how many bytes are used. It is asked at every write.
type Meter interface {
	// Used returns the bytes of all keys and their present values, and false as
	// long as they are not known.
	Used() (bytes int64, known bool)
}

// Options of a limit.
type Options struct {
	// Bytes is the limit. It is positive.
	Bytes int64
	// Meter knows the bytes of the backend. Nil means a Counter of the keys below
	// Prefix, which ends with the backend.
	Meter  Meter
	Prefix string
	// Essential says whether the write of a context may use the reserve. Nil
	// means that none may.
	Essential func(ctx context.Context) bool
	// Refused is called for each refused write. It may be nil.
	Refused func()
}

// Biggest and share of the reserve.
const (
	maxReserve   = 64 << 20
	reserveShare = 16
)

// New returns a backend, which is a Meter as well, whose client refuses to
// write more than the limit. It is an Exclusive if the given one is. The
// context bounds nothing; its logger is kept.
func New(ctx context.Context, b store.Backend, o Options) store.Backend {
	stop := func() {}
	if o.Meter == nil {
		c := NewCounter(ctx, b.Client(), o.Prefix)
		o.Meter, stop = c, c.Close
	}
	client := *b.Client()
	client.Kubernetes = &gate{Interface: client.Kubernetes, options: o, most: o.Bytes + min(o.Bytes/reserveShare, maxReserve)}
	if e, ok := b.(store.Exclusive); ok {
		return &exclusive{e, &client, o.Meter, stop}
	}
	return &shared{b, &client, o.Meter, stop}
}

type shared struct {
	store.Backend
	client *etcdk8s.Client
	meter  Meter
	stop   func()
}

// Client implements store.Backend.
func (s *shared) Client() *etcdk8s.Client { return s.client }

// Used implements Meter.
func (s *shared) Used() (bytes int64, known bool) { return s.meter.Used() }

// Close implements store.Backend.
func (s *shared) Close() error {
	s.stop()
	return s.Backend.Close()
}

type exclusive struct {
	store.Exclusive
	client *etcdk8s.Client
	meter  Meter
	stop   func()
}

var (
	_ store.Backend   = (*shared)(nil)
	_ store.Exclusive = (*exclusive)(nil)
	_ Meter           = (*shared)(nil)
	_ Meter           = (*exclusive)(nil)
)

// Client implements store.Backend.
func (e *exclusive) Client() *etcdk8s.Client { return e.client }

// Used implements Meter.
func (e *exclusive) Used() (bytes int64, known bool) { return e.meter.Used() }

// Close implements store.Backend.
func (e *exclusive) Close() error {
	e.stop()
	return e.Exclusive.Close()
}
