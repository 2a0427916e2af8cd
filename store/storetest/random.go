// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store"
)

// Reopen returns the store of a test. The second time it closes the store first
// and opens it again, with its content.
type Reopen func() store.Backend

// RunModel plays random operations against a store and against a model of it,
// and compares answers, whole states at random revisions, and at the end the
// events of a watch. The same seed plays the same operations.
func RunModel(t *testing.T, seed uint64, steps int, reopen Reopen) {
	t.Helper()
	p := &player{
		t:      t,
		rand:   rand.New(rand.NewPCG(seed, 0)),
		model:  newModel(),
		reopen: reopen,
	}
	p.open()
	defer func() {
		if t.Failed() {
			t.Logf("seed %d, after %d steps", seed, p.step)
		}
	}()
	for p.step = 0; p.step < steps && !t.Failed(); p.step++ {
		p.play(t.Context())
	}
	if !t.Failed() {
		p.compareWatch(t.Context())
	}
}

// player holds a store and its model.
type player struct {
	t       *testing.T
	rand    *rand.Rand
	model   *model
	reopen  Reopen
	backend store.Backend
	client  *etcdk8s.Client
	step    int
}

func (p *player) open() {
	p.backend = p.reopen()
	p.client = p.backend.Client()
}

// play makes one random step.
func (p *player) play(ctx context.Context) {
	m := p.model
	key := fmt.Sprintf("/%c/%d", 'a'+rune(p.rand.IntN(3)), p.rand.IntN(8))
	value := fmt.Sprintf("v%d", p.step)
	switch n := p.rand.IntN(1000); {
	case n < 300:
		p.swap(ctx, key, value, m.current()[key].mod, p.lease())
	case n < 400: // one that fails, unless the key was last written then
		p.swap(ctx, key, value, p.rand.Int64N(m.revision()+2), 0)
	case n < 550:
		p.swapDelete(ctx, key, m.current()[key].mod)
	case n < 580:
		p.swapDelete(ctx, key, p.rand.Int64N(m.revision()+2))
	case n < 620:
		p.deleteRange(ctx, key[:3])
	case n < 660:
		p.transaction(ctx, key, value)
	case n < 700:
		p.grantOrRevoke(ctx)
	case n < 710:
		p.compact(ctx)
	case n < 715:
		p.open()
	case n < 850:
		p.compareGet(ctx, key)
	default:
		p.compareList(ctx, key[:1+p.rand.IntN(3)])
	}
	if e, ok := p.backend.(store.Exclusive); ok {
		if got := e.PrefixRevision("/a/"); got <= 0 || got > m.revision() {
			p.t.Errorf("prefix revision %d at revision %d", got, m.revision())
		}
	}
}

func (p *player) check(what string, err error) bool {
	if err != nil {
		p.t.Errorf("%s: %v", what, err)
	}
	return err == nil
}

func (p *player) expect(what string, got, want any) {
	if diff := cmp.Diff(want, got); diff != "" {
		p.t.Errorf("step %d, %s (-model +store):\n%s", p.step, what, diff)
	}
}

// lease returns a lease, or none.
func (p *player) lease() clientv3.LeaseID {
	if n := p.rand.IntN(9); n < len(p.model.leases) {
		return p.model.leases[n]
	}
	return 0
}

func (p *player) swap(ctx context.Context, key, value string, expected int64, lease clientv3.LeaseID) {
	m := p.model
	old, existed := m.current()[key]
	want := old.mod == expected
	resp, err := p.client.Kubernetes.OptimisticPut(ctx, key, []byte(value), expected, etcdk8s.PutOptions{GetOnFailure: true, LeaseID: lease})
	if !p.check("put", err) {
		return
	}
	if want {
		m.put(key, value, lease)
	} else {
		p.expect("value of a failed put", resp.KV != nil, existed)
		p.expect("value of a failed put", describeKV(key, resp.KV), m.describe(key, m.revision()))
	}
	p.expect("put", []any{resp.Succeeded, resp.Revision}, []any{want, m.revision()})
}

func (p *player) swapDelete(ctx context.Context, key string, expected int64) {
	m := p.model
	want := m.current()[key].mod == expected
	resp, err := p.client.Kubernetes.OptimisticDelete(ctx, key, expected, etcdk8s.DeleteOptions{GetOnFailure: true})
	if !p.check("delete", err) {
		return
	}
	if want {
		m.delete(key)
	}
	p.expect("delete", []any{resp.Succeeded, resp.Revision}, []any{want, m.revision()})
}

func (p *player) deleteRange(ctx context.Context, prefix string) {
	m := p.model
	keys := m.under(prefix, m.revision())
	resp, err := p.client.KV.Delete(ctx, prefix, clientv3.WithPrefix())
	if !p.check("delete range", err) {
		return
	}
	m.delete(keys...)
	p.expect("delete range", []any{resp.Deleted, resp.Header.Revision}, []any{int64(len(keys)), m.revision()})
}

// transaction moves a key to another place if it exists, all at one revision.
func (p *player) transaction(ctx context.Context, key, value string) {
	m := p.model
	to := key + "/moved"
	old, exists := m.current()[key]
	resp, err := p.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", old.create)).
		Then(clientv3.OpDelete(key), clientv3.OpPut(to, value)).Commit()
	if !p.check("transaction", err) {
		return
	}
	moved, movedExists := m.current()[to]
	m.commit(func(s map[string]entry, rev int64) []string {
		e := entry{value: value, create: rev, mod: rev, version: 1}
		put := fmt.Sprintf("PUT %s=%s", to, value)
		if movedExists {
			e.create, e.version = moved.create, moved.version+1
			put += " was " + moved.value
		}
		s[to] = e
		if !exists {
			return []string{put}
		}
		delete(s, key)
		return []string{put, fmt.Sprintf("DELETE %s was %s", key, old.value)}
	})
	p.expect("transaction", []any{resp.Succeeded, resp.Header.Revision}, []any{true, m.revision()})
}

func (p *player) grantOrRevoke(ctx context.Context) {
	m := p.model
	if len(m.leases) < 3 {
		resp, err := p.client.Grant(ctx, 100000)
		if p.check("grant", err) {
			m.leases = append(m.leases, resp.ID)
		}
		return
	}
	id := m.leases[p.rand.IntN(len(m.leases))]
	if _, err := p.client.Revoke(ctx, id); p.check("revoke", err) {
		m.revoke(id)
	}
}

func (p *player) compact(ctx context.Context) {
	m := p.model
	// Mostly a little, so that there is a past to read.
	rev := m.compacted + p.rand.Int64N(max((m.revision()-m.compacted)/4, 1))
	if p.rand.IntN(8) == 0 {
		rev = p.rand.Int64N(m.revision() + 2)
	}
	_, err := p.client.KV.Compact(ctx, rev)
	switch {
	case rev <= m.compacted:
		p.expect("compaction of the compacted", errors.Is(err, rpctypes.ErrCompacted), true)
	case rev > m.revision():
		p.expect("compaction of the future", errors.Is(err, rpctypes.ErrFutureRev), true)
	case p.check("compaction", err):
		m.compacted = rev
	}
	p.expect("compact revision", p.backend.CompactRevision(), m.compacted)
}

// revision returns a revision to read at, and the error to expect.
func (p *player) revision() (rev int64, want error) {
	low := max(p.model.compacted-2, 0)
	switch rev = low + p.rand.Int64N(p.model.revision()+2-low); {
	case rev == 0:
		return 0, nil
	case rev < p.model.compacted:
		return rev, rpctypes.ErrCompacted
	case rev > p.model.revision():
		return rev, rpctypes.ErrFutureRev
	}
	return rev, nil
}

func (p *player) compareGet(ctx context.Context, key string) {
	rev, want := p.revision()
	resp, err := p.client.Kubernetes.Get(ctx, key, etcdk8s.GetOptions{Revision: rev})
	if want != nil {
		p.expect(fmt.Sprintf("get at %d: %v instead of %v", rev, err, want), errors.Is(err, want), true)
		return
	}
	if p.check("get", err) {
		p.expect(fmt.Sprintf("get at %d", rev), describeKV(key, resp.KV), p.model.describe(key, p.at(rev)))
		p.expect("revision of a get", resp.Revision, p.model.revision())
	}
}

func (p *player) at(rev int64) int64 {
	if rev == 0 {
		return p.model.revision()
	}
	return rev
}

func (p *player) compareList(ctx context.Context, prefix string) {
	rev, want := p.revision()
	limit := p.rand.Int64N(6)
	resp, err := p.client.Kubernetes.List(ctx, prefix, etcdk8s.ListOptions{Revision: rev, Limit: limit})
	if want != nil {
		p.expect(fmt.Sprintf("list at %d: %v instead of %v", rev, err, want), errors.Is(err, want), true)
		return
	}
	if !p.check("list", err) {
		return
	}
	keys := p.model.under(prefix, p.at(rev))
	count := int64(len(keys))
	if limit > 0 && count > limit {
		keys = keys[:limit]
	}
	var expected, got []string
	for _, key := range keys {
		expected = append(expected, p.model.describe(key, p.at(rev)))
	}
	for _, kv := range resp.Kvs {
		got = append(got, describeKV(string(kv.Key), kv))
	}
	p.expect(fmt.Sprintf("list of %q at %d", prefix, rev), got, expected)
	p.expect("count", resp.Count, count)
}

// compareWatch watches everything from the compact revision on.
func (p *player) compareWatch(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	m := p.model
	at := m.compacted + 1
	if at > m.revision() {
		return
	}
	at = max(at, 2)
	for r := range p.client.Watch(ctx, "/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithRev(at)) {
		if !p.check("watch", r.Err()) {
			return
		}
		for events := r.Events; len(events) > 0; {
			n := 1
			for n < len(events) && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
				n++
			}
			p.expect("revision of an event", events[0].Kv.ModRevision, at)
			p.expect("events", describeEvents(events[:n]), m.events[at])
			events = events[n:]
			if at++; at > m.revision() || p.t.Failed() {
				return
			}
		}
	}
	p.t.Errorf("the watch ended before revision %d", at)
}
