// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"context"
	"slices"
	"time"

	"k8s.io/klog/v2"
)

// pin makes a reference count as used while no informer has the pod that names it.
type pin struct {
	holders int       // calls of Ensure that are not settled
	until   time.Time // after the last pod that the host took
	made    bool      // the copy was made meanwhile, and the host has taken no pod with it since
}

// pinEnd is when a pin may be forgotten.
type pinEnd struct {
	of    reference
	until time.Time
}

// dropTimeout bounds the removal of copies that were brought for a refused pod,
// while the tenant waits for the refusal.
const dropTimeout = 10 * time.Second

// hold pins a reference until release. The pin comes before the lock of the
// reference is asked for: a removal that goes first is then repaired, one that
// comes later sees the pin.
func (c *Controller) hold(r reference) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pinned[r] == nil {
		c.pinned[r] = &pin{}
	}
	c.pinned[r].holders++
}

// noteMade notes that a copy was made for pods that are on their way only, if
// that is so.
func (c *Controller) noteMade(r reference) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if held := c.pinned[r]; held != nil && held.holders > 0 && !c.cfg.Clock.Now().Before(held.until) {
		held.made = true
	}
}

// release ends a hold. After a pod that was taken the pin stays for PinTime,
// until an informer has the pod. After one that was refused, the last holder
// removes a copy that was made for refused pods.
func (c *Controller) release(ctx context.Context, refs []reference, refused bool) {
	if !refused {
		for _, r := range refs {
			c.accepted(r)
		}
		return
	}
	// The refusal holds also when the tenant has gone meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	// A copy that cannot be removed now is queued.
	_ = each(refs, func(r reference) error {
		if c.refused(r) {
			c.dropRefused(ctx, r)
		}
		return nil
	})
}

func (c *Controller) accepted(r reference) {
	c.mu.Lock()
	now := c.cfg.Clock.Now()
	held := c.pinned[r]
	held.holders--
	held.made, held.until = false, now.Add(c.cfg.PinTime)
	c.endPins(now)
	c.ending = append(c.ending, pinEnd{r, held.until})
	c.mu.Unlock()
	// If the pod never comes, nothing else brings the reference back.
	c.again(r, c.cfg.PinTime)
}

// again asks for a look at a reference. In a replica that does not lead there is
// none: its pins end without, and the leader looks at the copies.
func (c *Controller) again(r reference, after time.Duration) {
	if c.loop.Begun() {
		c.loop.AddAfter(r, after)
	}
}

// endPins forgets the pins whose time is over. They are in the order of their
// ends, so that no more are kept than the pods of one PinTime have references.
// REQUIRES: mu held.
func (c *Controller) endPins(now time.Time) {
	over := 0
	for over < len(c.ending) && !now.Before(c.ending[over].until) {
		c.pinnedFor(c.ending[over].of, now)
		over++
	}
	c.ending = slices.Delete(c.ending, 0, over)
}

// refused reports whether the copy has lost its last holder, and was made for
// no other.
func (c *Controller) refused(r reference) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.pinned[r]
	if held.holders--; held.holders > 0 {
		return false
	}
	if !held.made {
		c.pinnedFor(r, c.cfg.Clock.Now()) // forgets it
	}
	return held.made
}

// dropRefused removes a copy that refused reported, unless it has come into use
// meanwhile.
func (c *Controller) dropRefused(ctx context.Context, r reference) {
	unlock, err := c.locks.lock(ctx, r)
	if err == nil {
		defer unlock()
	}
	if !c.abandoned(r) {
		return
	}
	if err != nil {
		c.again(r, 0)
		return
	}
	users, err := c.users(r)
	if err == nil && users {
		return // made for a pod that had been without it
	}
	if err == nil {
		err = c.kinds[r.kind].drop(ctx, r)
	}
	if err != nil {
		klog.FromContext(ctx).Info("Copy for a refused pod was not removed at once", "kind", r.kind, "namespace", r.namespace, "name", r.name, "err", err)
		c.again(r, 0)
	}
}

// abandoned forgets the pin of a reference that still has no holder, and
// reports whether that was so.
func (c *Controller) abandoned(r reference) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.pinned[r]
	if held == nil || held.holders > 0 || !held.made {
		return false // another call has it, or has removed it
	}
	delete(c.pinned, r)
	return true
}

// pinnedFor returns for how long a reference is still pinned, or when to look
// again, and forgets a pin that is over. REQUIRES: mu held.
func (c *Controller) pinnedFor(r reference, now time.Time) time.Duration {
	held := c.pinned[r]
	switch {
	case held == nil:
		return 0
	case held.holders > 0:
		return c.cfg.PinTime
	case now.Before(held.until):
		return held.until.Sub(now)
	case !held.made: // else dropRefused does
		delete(c.pinned, r)
	}
	return 0
}
