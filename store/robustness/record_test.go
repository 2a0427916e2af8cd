// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package robustness_test

import (
	"fmt"
	"hash/crc32"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// line is one line of a child's output.
type line struct {
	Type string // "open", "call", "ret", "watch", "error"
	At   int64  // milliseconds of the wall clock, for leases

	Op  *op     // of a call
	Res *result // of a ret

	Watch    int   // number of the watch
	Rev      int64 // of an open, a watch
	Progress bool
	Events   []event // of a watch; the log, of an open
	KVs      []kv    // the keys found, of an open
	Text     string  // of an error
}

// op is a request.
type op struct {
	ID       string
	Kind     kind
	Key      string
	Key2     string
	Expected int64  // revision, of a compare-and-swap
	Value    string // digest of the written value
	Lease    int64
	Rev      int64 // of a read in the past
	TTL      int64 // seconds
}

type kind string

const (
	put      kind = "put"
	putTwo   kind = "put two"
	swap     kind = "swap"
	swapAway kind = "swap away" // delete if unchanged
	deleteIn kind = "delete in" // a prefix
	get      kind = "get"
	list     kind = "list"
	listPast kind = "list past"
	grant    kind = "grant"
	revoke   kind = "revoke"
	// expire is done by the store itself.
	expire kind = "expire"
)

// result is an answer.
type result struct {
	ID      string
	Rev     int64
	OK      bool // of a compare-and-swap
	KVs     []kv // the keys found, or their state before
	Lease   int64
	NoLease bool // the lease is not there
	// fromLog: there was no answer, the log says that it happened.
	fromLog bool
}

// kv is a key, its value digested.
type kv struct {
	Key, Value                    string
	Create, Mod, Version, LeaseID int64
}

// event is a change.
type event struct {
	Deleted bool
	KV      kv
	Prev    *kv
}

func (e event) rev() int64 { return e.KV.Mod }

// makeValue returns a value that only one request writes.
func makeValue(id string, size int) []byte {
	return []byte(id + " " + strings.Repeat(id[len(id)-1:], size))
}

// digest distinguishes values without writing them down.
func digest(value []byte) string {
	id, _, _ := strings.Cut(string(value), " ")
	return fmt.Sprintf("%s/%d/%08x", id, len(value), crc32.ChecksumIEEE(value))
}

// writer returns the id of the request that wrote a digest.
func writer(d string) string {
	id, _, _ := strings.Cut(d, "/")
	return id
}

func toKV(in *mvccpb.KeyValue) kv {
	return kv{Key: string(in.Key), Value: digest(in.Value), Create: in.CreateRevision, Mod: in.ModRevision, Version: in.Version, LeaseID: in.Lease}
}

func toKVs(in ...*mvccpb.KeyValue) []kv {
	var out []kv
	for _, k := range in {
		if k != nil {
			out = append(out, toKV(k))
		}
	}
	return out
}

func toEvents(in []*clientv3.Event) []event {
	var out []event
	for _, e := range in {
		o := event{Deleted: e.Type == mvccpb.Event_DELETE, KV: toKV(e.Kv)}
		if o.Deleted {
			o.KV = kv{Key: string(e.Kv.Key), Mod: e.Kv.ModRevision}
		}
		if e.PrevKv != nil {
			prev := toKV(e.PrevKv)
			o.Prev = &prev
		}
		out = append(out, o)
	}
	return out
}

// watchRanges are the prefixes that are watched; the last is a single key.
var watchRanges = []string{"/k/", "/k/1", "/m/", "/k/05"}

func inWatch(n int, key string) bool {
	if n == len(watchRanges)-1 {
		return key == watchRanges[n]
	}
	return strings.HasPrefix(key, watchRanges[n])
}
