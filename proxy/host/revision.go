// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"portico.dev/portico/proxy/internal/watermark"
)

// goneWait bounds how long a read waits for the watch to report a deletion
// whose revision was not in the host's reply.
const goneWait = time.Second

// revisions knows how far a cache must have come to show every write that was
// acknowledged through this storage.
//
// The host's current revision would be a wrong answer: it moves with every
// write to anything on the host, and the cache learns of those only through
// bookmarks, once a minute. The last revision at which an object of ours
// changed is as good, and an event with that revision always arrives.
//
// INVARIANT: current is never below the revision that the cache was last
// filled at, or a watch from "now" would ask for the cache's past.
type revisions struct {
	acked watermark.Mark // by the replies to writes
	seen  watermark.Mark // by the list and the watch that feed the cache

	clock clock.Clock

	mu sync.Mutex
	// behindSince is when the cache was first known to lack a write that was
	// acknowledged; zero while it lacks none.
	behindSince time.Time
	// going are deleted objects whose last revision is not known: the host
	// deletes an object when the patch that removes its last finalizer
	// arrives, and answers with the object as it was.
	going map[types.UID]chan struct{}
	// went are deletions seen recently, for when the watch is faster than the
	// reply.
	went map[types.UID]time.Time
}

func newRevisions(c clock.Clock) *revisions {
	return &revisions{clock: c, going: map[types.UID]chan struct{}{}, went: map[types.UID]time.Time{}}
}

// current returns the revision a cache must have reached.
func (r *revisions) current() uint64 { return max(r.acked.Load(), r.seen.Load()) }

// ack notes the revision of a write before the client gets the answer.
func (r *revisions) ack(rv uint64) {
	r.acked.Raise(rv)
	r.compare()
}

// see notes a revision on its way to the cache.
func (r *revisions) see(rv uint64) {
	r.seen.Raise(rv)
	r.compare()
}

// compare notes when the cache begins to lack something, and when it has all.
func (r *revisions) compare() {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch behind := r.acked.Load() > r.seen.Load(); {
	case !behind:
		r.behindSince = time.Time{}
	case r.behindSince.IsZero():
		r.behindSince = r.clock.Now()
	}
}

// lag is by how many revisions the cache is behind the newest acknowledged
// write, and for how long it has been behind.
func (r *revisions) lag() (revisions uint64, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	acked, seen := r.acked.Load(), r.seen.Load()
	if acked <= seen {
		return 0, time.Time{}
	}
	return acked - seen, r.behindSince
}

// expectGone notes that uid is being deleted at an unknown revision.
func (r *revisions) expectGone(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, already := r.went[uid]; already {
		return
	}
	if r.going[uid] == nil {
		r.going[uid] = make(chan struct{})
	}
}

// gone notes that the watch has reported the deletion of uid. The caller has
// called see with the revision before.
func (r *revisions) gone(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.going[uid]; c != nil {
		close(c)
		delete(r.going, uid)
	}
	now := r.clock.Now()
	for id, at := range r.went {
		if now.Sub(at) > 2*goneWait {
			delete(r.went, id)
		}
	}
	r.went[uid] = now
}

// settle waits until every deletion of unknown revision has been seen. It
// reports false when that takes too long; the reader then asks the host.
func (r *revisions) settle(ctx context.Context) bool {
	r.mu.Lock()
	if len(r.going) == 0 {
		r.mu.Unlock()
		return true
	}
	waiting := make(map[types.UID]chan struct{}, len(r.going))
	for uid, c := range r.going {
		waiting[uid] = c
	}
	r.mu.Unlock()

	timer := r.clock.NewTimer(goneWait)
	defer timer.Stop()
	for _, c := range waiting {
		select {
		case <-c:
		case <-ctx.Done():
			return false
		case <-timer.C():
			// The next reader would wait as long in vain: the watch is away, or
			// the object survived after all.
			r.giveUp(waiting)
			return false
		}
	}
	return true
}

func (r *revisions) giveUp(on map[types.UID]chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for uid, c := range on {
		if r.going[uid] == c {
			delete(r.going, uid)
		}
	}
}
