// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"errors"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// mostRemoved bounds the memory of removed. The view is rarely more than one
// removal behind.
const mostRemoved = 256

// removed remembers the uids of the copies that this process removed last. A
// view that is behind still has them, and would have the next pod believe that
// its copy is there.
type removed struct {
	mu   sync.Mutex
	uids []types.UID
}

// note is called before a removal, whose event may come before its answer.
func (r *removed) note(uid types.UID) {
	if uid == "" {
		return // says nothing
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.uids) == mostRemoved {
		r.uids = slices.Delete(r.uids, 0, 1)
	}
	r.uids = append(r.uids, uid)
}

// forget is called when a removal failed.
func (r *removed) forget(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uids = slices.DeleteFunc(r.uids, func(u types.UID) bool { return u == uid })
}

func (r *removed) has(uid types.UID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.uids, uid)
}

var errRemoved = errors.New("it was removed a moment ago")

// unlessRemoved hides removed copies from a reader of the view.
func unlessRemoved[T metav1.Object](r *removed, get func(name string) (T, error)) func(name string) (T, error) {
	return func(name string) (T, error) {
		seen, err := get(name)
		if err == nil && r.has(seen.GetUID()) {
			err = errRemoved
		}
		return seen, err
	}
}
