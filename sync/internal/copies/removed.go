// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package copies

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// mostRemoved bounds the memory of Removed. An informer is rarely more than one
// removal behind.
const mostRemoved = 256

// Removed remembers the uids of the objects that this process removed last. An
// informer that is behind still has them, and must not be believed. Kinds that
// write the same objects share one; nil remembers nothing.
type Removed struct {
	mu   sync.Mutex
	uids []types.UID
}

// note is called before a removal, whose event may come before its answer.
func (r *Removed) note(uid types.UID) {
	if r == nil || uid == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.uids) == mostRemoved {
		r.uids = slices.Delete(r.uids, 0, 1)
	}
	r.uids = append(r.uids, uid)
}

// forget is called when a removal failed.
func (r *Removed) forget(uid types.UID) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uids = slices.DeleteFunc(r.uids, func(u types.UID) bool { return u == uid })
}

func (r *Removed) has(uid types.UID) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.uids, uid)
}
