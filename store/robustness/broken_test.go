// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package robustness_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
)

// A store that is broken is found out, within a few kills.
func TestBrokenStoreIsNoticed(t *testing.T) {
	for _, broken := range []string{"early answers", "stale reads", "watch loses", "watch repeats", "watch reorders", "early progress"} {
		t.Run(broken, func(t *testing.T) {
			r := newRunner(t, 1, broken)
			for round := range 30 {
				// Long ones, so that the fault has its chance.
				if err := r.run(round, 1500, false); err != nil {
					t.Logf("at kill %d: %.300v", round, err)
					return
				}
			}
			t.Error("not noticed")
		})
	}
}

// recording holds the answers of a good store in one life, and the log found
// after it.
type recording struct {
	start line // found by the first child
	said  []line
	found line
}

// record runs a child that nothing is wrong with.
func record(t *testing.T) recording {
	t.Helper()
	var rec recording
	r := newRunner(t, 7, "")
	if err := r.run(0, 2000, false); err != nil {
		t.Fatal(err)
	}
	rec.said = slices.Clone(r.said)
	keep := r.checker.tip
	if err := r.run(1, 1, false); err != nil {
		t.Fatal(err)
	}
	if keep != 1 {
		t.Fatalf("a new store is at revision %d", keep)
	}
	rec.start = line{Type: "open", Rev: 1}
	rec.found = line{Type: "open", Rev: r.checker.tip, At: rec.said[len(rec.said)-1].At}
	rec.found.Events = r.lastLog
	rec.found.KVs = state(rec.found.Events)
	return rec
}

// state returns the keys that remain after a log's events.
func state(events []event) (kvs []kv) {
	now := map[string]kv{}
	for _, e := range events {
		if e.Deleted {
			delete(now, e.KV.Key)
		} else {
			now[e.KV.Key] = e.KV
		}
	}
	return slices.Collect(maps.Values(now))
}

func (rec recording) judge() error {
	c := newChecker()
	if err := c.round(nil, rec.start); err != nil {
		return err
	}
	return c.round(rec.said, rec.found)
}

// clone copies a recording, to be tampered with.
func (rec recording) clone(t *testing.T) (out recording) {
	t.Helper()
	for from, into := range map[any]any{&rec.start: &out.start, &rec.found: &out.found, &rec.said: &out.said} {
		text, err := json.Marshal(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// The checker fails when it should: a good history with one thing changed is
// refused.
func TestCheckerCanFail(t *testing.T) {
	good := record(t)
	if err := good.judge(); err != nil {
		t.Fatalf("the good history is refused: %v", err)
	}
	for name, tamper := range map[string]func(*recording) bool{
		"acknowledged write lost": func(r *recording) bool {
			// The store comes back without the last write that was answered.
			var cut int64
			for _, l := range r.said {
				if l.Type == "ret" && kindOf(r, l) == putTwo {
					cut = max(cut, l.Res.Rev-1)
				}
			}
			r.found.Events = slices.DeleteFunc(r.found.Events, func(e event) bool { return e.rev() > cut })
			r.found.Rev, r.found.KVs = cut, state(r.found.Events)
			r.said = slices.DeleteFunc(r.said, func(l line) bool { return l.Type == "watch" })
			return true
		},
		"revision used again": func(r *recording) bool {
			l := findLine(r, func(l line) bool { return l.Type == "ret" && kindOf(r, l) == putTwo })
			for i := range r.found.Events {
				if e := &r.found.Events[i]; e.rev() == l.Res.Rev {
					e.KV.Value = "r9c9n9/1/00000000"
				}
			}
			r.found.KVs = state(r.found.Events)
			return relink(r)
		},
		"key vanished": func(r *recording) bool {
			i := slices.IndexFunc(r.found.KVs, func(k kv) bool { return k.LeaseID == 0 })
			prev := r.found.KVs[i]
			e := event{Deleted: true, KV: kv{Key: prev.Key, Mod: r.found.Rev + 1}, Prev: &prev}
			r.found.Events = append(r.found.Events, e)
			r.found.Rev, r.found.KVs = e.rev(), state(r.found.Events)
			return true
		},
		"stale read": func(r *recording) bool {
			// A list returns the answer of an earlier one.
			var first *result
			for i := range r.said {
				l := &r.said[i]
				if l.Type != "ret" || kindOf(r, *l) != list || keyOf(r, *l) != "/k/" {
					continue
				}
				if first != nil && l.Res.Rev > first.Rev+20 {
					l.Res.Rev, l.Res.KVs = first.Rev, first.KVs
					return true
				}
				if first == nil {
					first = l.Res
				}
			}
			return false
		},
		"compare-and-swap that should fail": func(r *recording) bool {
			l := findLine(r, func(l line) bool { return l.Type == "ret" && kindOf(r, l) == swap && !l.Res.OK })
			l.Res.OK = true
			return true
		},
		"half a transaction": func(r *recording) bool {
			l := findLine(r, func(l line) bool { return l.Type == "ret" && kindOf(r, l) == putTwo })
			for i, e := range r.found.Events {
				if e.rev() == l.Res.Rev {
					r.found.Events = slices.Delete(r.found.Events, i, i+1)
					r.found.KVs = state(r.found.Events)
					return relink(r)
				}
			}
			return false
		},
		"watch has a gap": func(r *recording) bool {
			l := findLine(r, func(l line) bool { return l.Type == "watch" && len(l.Events) > 0 })
			l.Events = nil
			return true
		},
		"watch repeats": func(r *recording) bool {
			l := findLine(r, func(l line) bool { return l.Type == "watch" && len(l.Events) > 0 })
			l.Events = append(l.Events, l.Events...)
			return true
		},
		"watch is out of order": func(r *recording) bool {
			l := findLine(r, func(l line) bool {
				return l.Type == "watch" && len(l.Events) > 1 && l.Events[0].rev() != l.Events[len(l.Events)-1].rev()
			})
			slices.Reverse(l.Events)
			return true
		},
		"watch splits a revision": func(r *recording) bool {
			l := findLine(r, func(l line) bool {
				return l.Type == "watch" && len(l.Events) > 1 && l.Events[0].rev() == l.Events[1].rev()
			})
			l.Events = l.Events[1:]
			return true
		},
		"wrong previous value": func(r *recording) bool {
			l := findLine(r, func(l line) bool { return l.Type == "watch" && len(l.Events) > 0 && l.Events[0].Prev != nil })
			l.Events[0].Prev = nil
			return true
		},
		"watch shows what was not kept": func(r *recording) bool {
			last := *findLine(r, func(l line) bool { return l.Type == "watch" && l.Watch == 2 && len(l.Events) > 0 })
			e := last.Events[0]
			e.KV.Mod = r.found.Rev + 1
			r.said = append(r.said, line{Type: "watch", Watch: 2, Rev: e.KV.Mod, Events: []event{e}})
			return true
		},
		"progress too early": func(r *recording) bool {
			i := slices.IndexFunc(r.said, func(l line) bool { return l.Type == "watch" && len(l.Events) > 0 })
			early := line{Type: "watch", Watch: r.said[i].Watch, Progress: true, Rev: r.said[i].Events[0].rev()}
			r.said = slices.Insert(r.said, i, early)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			bad := good.clone(t)
			for tries := 0; !tamper(&bad); tries++ {
				if tries == 20 {
					t.Fatal("nothing to tamper with")
				}
				bad = record(t) // Not every history has a place for the fault.
			}
			if err := bad.judge(); err == nil {
				t.Error("not noticed")
			} else {
				t.Logf("%.200v", err)
			}
		})
	}
}

// relink makes previous values and versions follow from each other again, so
// that only the intended change is wrong.
func relink(r *recording) bool {
	now := map[string]kv{}
	for i := range r.found.Events {
		e := &r.found.Events[i]
		e.Prev = nil
		prev, existed := now[e.KV.Key]
		if existed {
			e.Prev = &prev
		}
		if e.Deleted {
			delete(now, e.KV.Key)
			continue
		}
		if existed {
			e.KV.Create, e.KV.Version = prev.Create, prev.Version+1
		} else {
			e.KV.Create, e.KV.Version = e.rev(), 1
		}
		now[e.KV.Key] = e.KV
	}
	r.found.KVs = slices.Collect(maps.Values(now))
	return true
}

func findLine(r *recording, match func(line) bool) *line {
	i := slices.IndexFunc(r.said, match)
	if i < 0 {
		return &line{Res: &result{}}
	}
	return &r.said[i]
}

func opOf(r *recording, l line) op {
	for _, c := range r.said {
		if c.Type == "call" && c.Op.ID == l.Res.ID {
			return *c.Op
		}
	}
	return op{}
}

func kindOf(r *recording, l line) kind  { return opOf(r, l).Kind }
func keyOf(r *recording, l line) string { return opOf(r, l).Key }
