// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mvcc

import (
	"maps"
	"strings"
	"sync/atomic"
)

// prefixTable keeps the revision of the last change under each prefix that
// anyone asked about. There is one prefix per resource type, a hundred or so,
// so every change is simply compared with all of them.
type prefixTable struct {
	// byPrefix is replaced, never modified: lookups take no lock.
	byPrefix atomic.Pointer[map[string]*atomic.Int64]
}

func (t *prefixTable) init() { t.byPrefix.Store(&map[string]*atomic.Int64{}) }

// PrefixRevision returns the revision of the last change to a key with the
// prefix or, if that is not known, a later one at which the prefix had the same
// content. It is never 0.
func (x *Index) PrefixRevision(prefix string) int64 {
	if r, ok := (*x.prefixes.byPrefix.Load())[prefix]; ok {
		return r.Load()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.prefixes.register(prefix, x.Revision())
}

// register starts counting for a prefix from the current revision.
func (t *prefixTable) register(prefix string, rev int64) int64 {
	old := *t.byPrefix.Load()
	if r, ok := old[prefix]; ok {
		return r.Load()
	}
	next := maps.Clone(old)
	r := &atomic.Int64{}
	r.Store(rev)
	next[prefix] = r
	t.byPrefix.Store(&next)
	return rev
}

// advance takes note of changes.
func (t *prefixTable) advance(versions []*Version) {
	for prefix, r := range *t.byPrefix.Load() {
		for i := len(versions) - 1; i >= 0; i-- {
			if strings.HasPrefix(versions[i].key(), prefix) {
				r.Store(versions[i].KV.ModRevision)
				break
			}
		}
	}
}
