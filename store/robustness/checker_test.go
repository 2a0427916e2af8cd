// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package robustness_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// checker judges one round after the other.
type checker struct {
	tip    int64 // the log is known up to here
	states map[int64]map[string]kv
	log    map[int64][]event
	// watched is where each watch has got to.
	watched []int64
	leases  map[int64]*lease
	ops     int // that were judged
}

type lease struct {
	ends    int64 // milliseconds, at the earliest
	revoked bool  // a client asked for it
}

func newChecker() *checker {
	return &checker{
		tip:     1,
		states:  map[int64]map[string]kv{1: {}},
		log:     map[int64][]event{},
		watched: make([]int64, len(watchRanges)),
		leases:  map[int64]*lease{},
	}
}

// round judges the lines written until a kill by the log that the next child
// found.
func (c *checker) round(said []line, found line) error {
	before := c.tip
	if err := c.extend(found); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	c.noteLeases(said)
	ops, err := c.operations(said, before, found.At)
	if err != nil {
		return err
	}
	if err := c.linearizable(ops, before); err != nil {
		return err
	}
	c.ops += len(ops)
	for _, l := range said {
		if l.Type != "watch" {
			continue
		}
		if err := c.delivered(l); err != nil {
			return fmt.Errorf("watch %d (%s): %w", l.Watch, watchRanges[l.Watch], err)
		}
	}
	c.prune()
	return nil
}

// extend takes the log that was found: dense, each change follows from the
// state before it, and together they give the state found.
func (c *checker) extend(found line) error {
	state := c.states[c.tip]
	for events := found.Events; len(events) > 0; {
		rev, n := events[0].rev(), 1
		for n < len(events) && events[n].rev() == rev {
			n++
		}
		if rev != c.tip+1 {
			return fmt.Errorf("revision %d follows %d", rev, c.tip)
		}
		state = maps.Clone(state)
		for _, e := range events[:n] {
			if err := follow(state, e); err != nil {
				return fmt.Errorf("revision %d, key %s: %w", rev, e.KV.Key, err)
			}
		}
		c.tip, c.states[rev], c.log[rev] = rev, state, events[:n]
		events = events[n:]
	}
	if c.tip != found.Rev {
		return fmt.Errorf("it ends at revision %d, the store is at %d", c.tip, found.Rev)
	}
	if got := byKey(found.KVs); !maps.Equal(got, state) {
		return fmt.Errorf("the store holds %v at revision %d, its log says %v", got, c.tip, state)
	}
	return nil
}

func byKey(kvs []kv) map[string]kv {
	out := map[string]kv{}
	for _, k := range kvs {
		out[k.Key] = k
	}
	return out
}

// follow applies a change, if it can come next.
func follow(state map[string]kv, e event) error {
	prev, existed := state[e.KV.Key]
	if existed != (e.Prev != nil) || existed && prev != *e.Prev {
		return fmt.Errorf("the previous value is said to be %v, and was %v", e.Prev, prev)
	}
	switch {
	case e.Deleted && !existed:
		return fmt.Errorf("deleted and was not there")
	case e.Deleted:
		delete(state, e.KV.Key)
		return nil
	case !existed && (e.KV.Version != 1 || e.KV.Create != e.rev()):
		return fmt.Errorf("created as %+v", e.KV)
	case existed && (e.KV.Version != prev.Version+1 || e.KV.Create != prev.Create):
		return fmt.Errorf("%+v follows %+v", e.KV, prev)
	}
	state[e.KV.Key] = e.KV
	return nil
}

func (c *checker) noteLeases(said []line) {
	asked := map[string]line{}
	for _, l := range said {
		switch {
		case l.Type == "call" && l.Op.Kind == revoke:
			if known := c.leases[l.Op.Lease]; known != nil {
				known.revoked = true
			}
		case l.Type == "call" && l.Op.Kind == grant:
			asked[l.Op.ID] = l
		case l.Type == "ret" && l.Res.Lease != 0:
			at := asked[l.Res.ID]
			c.leases[l.Res.Lease] = &lease{ends: at.At + at.Op.TTL*1000}
		}
	}
}

// operations pairs requests with answers and gives each revision of the log to
// the one that made it.
func (c *checker) operations(said []line, before, now int64) ([]porcupine.Operation, error) {
	end := int64(len(said) + 1)
	open := map[string]porcupine.Operation{}
	var done []porcupine.Operation
	made := map[int64]string{}
	for rev := before + 1; rev <= c.tip; rev++ {
		for _, e := range c.log[rev] {
			if !e.Deleted {
				made[rev] = writer(e.KV.Value)
			}
		}
	}
	byWriter := map[string]int64{}
	for rev, id := range made {
		if other, twice := byWriter[id]; twice {
			return nil, fmt.Errorf("request %s is in the log twice, at %d and %d", id, other, rev)
		}
		byWriter[id] = rev
	}
	for i, l := range said {
		switch l.Type {
		case "call":
			open[l.Op.ID] = porcupine.Operation{Input: *l.Op, Call: int64(i), Return: end}
		case "ret":
			o, asked := open[l.Res.ID]
			if !asked {
				return nil, fmt.Errorf("an answer to %s, which was not asked", l.Res.ID)
			}
			delete(open, l.Res.ID)
			if err := c.acknowledged(o.Input.(op), *l.Res, byWriter); err != nil {
				return nil, err
			}
			if o.Input.(op).Kind == revoke && len(c.log[l.Res.Rev]) > 0 && made[l.Res.Rev] == "" {
				made[l.Res.Rev] = l.Res.ID
			}
			o.Output, o.Return = *l.Res, int64(i)
			done = append(done, o)
		}
	}
	// A request without an answer has happened if the log says so.
	for id, o := range open {
		if rev, happened := byWriter[id]; happened {
			o.Output = result{ID: id, Rev: rev, OK: true, fromLog: true}
			done = append(done, o)
		}
	}
	asked := map[string]bool{}
	for _, o := range done {
		asked[o.Input.(op).ID] = true
	}
	for rev := before + 1; rev <= c.tip; rev++ {
		switch id := made[rev]; {
		case id == "":
			if err := c.mayExpire(rev, now); err != nil {
				return nil, fmt.Errorf("revision %d: %w", rev, err)
			}
			done = append(done, porcupine.Operation{Input: op{ID: fmt.Sprint("store", rev), Kind: expire}, Output: result{Rev: rev}, Return: end})
		case !asked[id]:
			return nil, fmt.Errorf("revision %d was written by %s, which nobody asked for", rev, id)
		}
	}
	return done, nil
}

// acknowledged finds an acknowledged write in the log.
func (c *checker) acknowledged(o op, r result, byWriter map[string]int64) error {
	if o.Value == "" || r.NoLease || (o.Kind == swap || o.Kind == swapAway) && !r.OK {
		return nil
	}
	rev, there := byWriter[o.ID]
	switch {
	case !there:
		return fmt.Errorf("acknowledged and lost: %+v at revision %d; the store is at %d", o, r.Rev, c.tip)
	case rev != r.Rev:
		return fmt.Errorf("%+v was acknowledged at revision %d and is at %d", o, r.Rev, rev)
	}
	return nil
}

// mayExpire reports whether the store itself may have deleted the keys that a
// revision deletes, because their leases ended.
func (c *checker) mayExpire(rev, now int64) error {
	for _, e := range c.log[rev] {
		id := e.Prev.LeaseID
		known := c.leases[id]
		switch {
		case id == 0:
			return fmt.Errorf("key %s vanished", e.KV.Key)
		case known == nil || known.revoked:
			// Granted or revoked without an answer.
		case now < known.ends:
			return fmt.Errorf("key %s vanished %d ms before its lease ends", e.KV.Key, known.ends-now)
		}
		if holds(c.states[rev], id) {
			return fmt.Errorf("lease %d is gone and still holds keys", id)
		}
	}
	return nil
}

func holds(state map[string]kv, lease int64) bool {
	for _, k := range state {
		if k.LeaseID == lease {
			return true
		}
	}
	return false
}

// linearizable asks porcupine. The state of its model is a revision: all else
// follows from the log, which is not a matter of opinion any more.
func (c *checker) linearizable(ops []porcupine.Operation, start int64) error {
	model := porcupine.Model{
		Init: func() any { return start },
		Step: func(state, in, out any) (bool, any) {
			legal, next := c.step(state.(int64), in.(op), out.(result))
			return legal, next
		},
	}
	switch porcupine.CheckOperationsTimeout(model, ops, 5*time.Minute) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("porcupine could not decide in time")
	default:
		return fmt.Errorf("not linearizable: %s", c.explain(ops, start))
	}
}

// explain names an answer that is wrong at every moment, if there is one.
func (c *checker) explain(ops []porcupine.Operation, start int64) string {
	for _, o := range ops {
		possible := false
		for rev := start; rev <= c.tip && !possible; rev++ {
			possible, _ = c.step(rev, o.Input.(op), o.Output.(result))
		}
		if !possible {
			return fmt.Sprintf("never right: %+v answered %+v", o.Input, o.Output)
		}
	}
	return "each answer is right at some moment, but not in one order"
}

// delivered judges one delivery of a watch.
func (c *checker) delivered(l line) error {
	events := l.Events
	for len(events) > 0 {
		rev := events[0].rev()
		if err := c.nothingUntil(l.Watch, rev-1); err != nil {
			return err
		}
		var want []event
		for _, e := range c.log[rev] {
			if inWatch(l.Watch, e.KV.Key) {
				want = append(want, e)
			}
		}
		if len(events) < len(want) || !slices.EqualFunc(events[:len(want)], want, sameEvent) || len(want) == 0 {
			return fmt.Errorf("revision %d was delivered as %s, and is %s", rev, show(events), show(want))
		}
		c.watched[l.Watch] = rev
		events = events[len(want):]
	}
	if l.Progress {
		if l.Rev > c.tip {
			return fmt.Errorf("progress at %d, and the store has only come to %d", l.Rev, c.tip)
		}
		if err := c.nothingUntil(l.Watch, l.Rev); err != nil {
			return fmt.Errorf("progress at %d: %w", l.Rev, err)
		}
		c.watched[l.Watch] = max(c.watched[l.Watch], l.Rev)
	}
	return nil
}

// nothingUntil sees that a watch has missed nothing up to a revision.
func (c *checker) nothingUntil(n int, rev int64) error {
	if rev < c.watched[n] {
		return fmt.Errorf("revision %d comes after %d", rev+1, c.watched[n])
	}
	for missed := c.watched[n] + 1; missed <= rev; missed++ {
		for _, e := range c.log[missed] {
			if inWatch(n, e.KV.Key) {
				return fmt.Errorf("%s was not delivered", show([]event{e}))
			}
		}
	}
	return nil
}

func sameEvent(a, b event) bool {
	return a.Deleted == b.Deleted && a.KV == b.KV && (a.Prev == nil) == (b.Prev == nil) && (a.Prev == nil || *a.Prev == *b.Prev)
}

func show(events []event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "[%d %s %s deleted=%v prev=%v]", e.rev(), e.KV.Key, e.KV.Value, e.Deleted, e.Prev)
	}
	return b.String()
}

// floor is the oldest revision that is still needed.
func (c *checker) floor() int64 { return min(c.tip, slices.Min(c.watched)) }

func (c *checker) prune() {
	floor := c.floor()
	for rev := range c.states {
		if rev < floor {
			delete(c.states, rev)
			delete(c.log, rev)
		}
	}
}
