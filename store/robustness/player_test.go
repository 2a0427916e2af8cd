// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package robustness_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"
)

// player chooses and sends the requests of one client.
type player struct {
	*child
	client int
	rand   *rand.Rand
	stale  *kv // for a store that is broken on purpose
}

const keyCount = 24

// next chooses a request.
func (p *player) next(n int) (op, []byte) {
	o := op{
		ID:  fmt.Sprintf("r%dc%dn%d", p.Round, p.client, n),
		Key: fmt.Sprintf("/k/%02d", p.rand.IntN(keyCount)),
	}
	size := p.rand.IntN(3000)
	if p.rand.IntN(100) == 0 {
		size = 100_000 + p.rand.IntN(200_000)
	}
	value := makeValue(o.ID, size)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch d := p.rand.IntN(100); {
	case d < 25:
		o.Kind = swap
		o.Expected = p.current(o.Key)
	case d < 40:
		o.Kind = put
		if p.rand.IntN(4) == 0 && len(p.leases) > 0 {
			o.Lease = p.leases[p.rand.IntN(len(p.leases))]
		}
	case d < 50:
		o.Kind = putTwo
		o.Key2 = fmt.Sprintf("/k/%02d", keyCount+p.rand.IntN(4))
	case d < 65:
		o.Kind = swapAway
		o.Expected = p.current(o.Key)
	case d < 68:
		o.Kind = deleteIn
		o.Key = o.Key[:4]
	case d < 82:
		o.Kind = get
	case d < 92:
		o.Kind, o.Key = list, o.Key[:3+p.rand.IntN(2)]
	case d < 96:
		o.Kind, o.Key, o.Rev = listPast, "/k/", p.engine.Index().Revision()
		o.Rev -= p.rand.Int64N(o.Rev - p.found + 1)
	case d < 98 || len(p.leases) == 0:
		o.Kind, o.TTL = grant, 1
	default:
		i := p.rand.IntN(len(p.leases))
		o.Kind, o.Lease = revoke, p.leases[i]
		p.leases = slices.Delete(p.leases, i, i+1)
	}
	switch o.Kind {
	case put, putTwo, swap, swapAway, deleteIn:
		o.Value = digest(value)
	}
	return o, value
}

// current returns the key's revision as a client could have just read it;
// others may have changed the key since.
func (p *player) current(key string) int64 {
	if kv := p.engine.Index().View().Get(key); kv != nil {
		return kv.ModRevision
	}
	return 0
}

func (p *player) learn(o op, r result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.Kind == grant {
		p.leases = append(p.leases, r.Lease)
	}
}

// do sends a request.
func (p *player) do(ctx context.Context, o op, value []byte) (r result, err error) {
	c := p.child.client
	marker := clientv3.OpPut(fmt.Sprintf("/m/%d", p.client), string(value))
	switch o.Kind {
	case put:
		if p.Broken == "early answers" && o.Lease == 0 {
			// Answered before it is written, as a store does that does not sync.
			go func() { _, _ = c.KV.Put(ctx, o.Key, string(value)) }()
			return result{Rev: p.engine.Index().Revision() + 1}, nil
		}
		resp, err := c.KV.Put(ctx, o.Key, string(value), clientv3.WithLease(clientv3.LeaseID(o.Lease)), clientv3.WithPrevKV())
		if err != nil {
			return r, err
		}
		return result{Rev: resp.Header.Revision, KVs: toKVs(resp.PrevKv)}, nil
	case putTwo:
		resp, err := c.KV.Txn(ctx).Then(clientv3.OpPut(o.Key, string(value)), clientv3.OpPut(o.Key2, string(value))).Commit()
		if err != nil {
			return r, err
		}
		return result{Rev: resp.Header.Revision}, nil
	case swap:
		resp, err := c.Kubernetes.OptimisticPut(ctx, o.Key, value, o.Expected, etcdk8s.PutOptions{GetOnFailure: true, LeaseID: clientv3.LeaseID(o.Lease)})
		if err != nil {
			return r, err
		}
		return result{Rev: resp.Revision, OK: resp.Succeeded, KVs: toKVs(resp.KV)}, nil
	case swapAway:
		resp, err := c.KV.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(o.Key), "=", o.Expected)).
			Then(clientv3.OpDelete(o.Key, clientv3.WithPrevKV()), marker).Else(clientv3.OpGet(o.Key)).Commit()
		if err != nil {
			return r, err
		}
		r = result{Rev: resp.Header.Revision, OK: resp.Succeeded}
		if resp.Succeeded {
			r.KVs = toKVs(resp.Responses[0].GetResponseDeleteRange().PrevKvs...)
		} else {
			r.KVs = toKVs(resp.Responses[0].GetResponseRange().Kvs...)
		}
		return r, nil
	case deleteIn:
		resp, err := c.KV.Txn(ctx).Then(clientv3.OpDelete(o.Key, clientv3.WithPrefix(), clientv3.WithPrevKV()), marker).Commit()
		if err != nil {
			return r, err
		}
		return result{Rev: resp.Header.Revision, KVs: toKVs(resp.Responses[0].GetResponseDeleteRange().PrevKvs...)}, nil
	default:
		return p.read(ctx, o)
	}
}

// read sends a request that writes no key, except by ending a lease.
func (p *player) read(ctx context.Context, o op) (r result, err error) {
	c := p.child.client
	switch o.Kind {
	case get:
		resp, err := c.Kubernetes.Get(ctx, o.Key, etcdk8s.GetOptions{})
		if err != nil {
			return r, err
		}
		r = result{Rev: resp.Revision, KVs: toKVs(resp.KV)}
		if p.Broken == "stale reads" && p.stale != nil {
			r.KVs = []kv{*p.stale}
		}
		if len(r.KVs) > 0 && p.rand.IntN(10) == 0 {
			p.stale = &r.KVs[0]
		}
		return r, nil
	case list:
		resp, err := c.KV.Get(ctx, o.Key, clientv3.WithPrefix())
		if err != nil {
			return r, err
		}
		return result{Rev: resp.Header.Revision, KVs: toKVs(resp.Kvs...)}, nil
	case listPast:
		resp, err := c.Kubernetes.List(ctx, o.Key, etcdk8s.ListOptions{Revision: o.Rev})
		if err != nil {
			return r, err
		}
		return result{Rev: resp.Revision, KVs: toKVs(resp.Kvs...)}, nil
	case grant:
		resp, err := c.Grant(ctx, o.TTL)
		if err != nil {
			return r, err
		}
		return result{Rev: resp.Revision, Lease: int64(resp.ID)}, nil
	case revoke:
		resp, err := c.Revoke(ctx, clientv3.LeaseID(o.Lease))
		if err != nil {
			return r, err
		}
		return result{Rev: resp.Header.Revision}, nil
	default:
		return r, fmt.Errorf("unknown request %q", o.Kind)
	}
}
