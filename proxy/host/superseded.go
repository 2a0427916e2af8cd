// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"reflect"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/storage"
)

// A read of the newest state is answered from the cache, which may be some
// milliseconds behind a kubelet. A client that writes back the object which it
// read, with its revision, would then get a conflict that the host would not have
// given: there, the read would have shown the status that the kubelet has just
// written.
//
// Such a write is made all the same, if nothing but the status has changed since
// that revision, and the door showed it as the newest a moment ago. The status is
// the host's, but for conditions whose type has a domain, and these count as a
// change: neither write has a part of the other, so the outcome is the same
// as if the tenant's had come first, as they saw it. Writes of a status,
// deletions and evictions keep their conflict, for these may well depend on a
// status, and so does every write after a change of anything else.

const (
	// supersededFor is how long ago the newest revision may have stopped to be
	// it: the delay of a watch event on a busy machine.
	supersededFor = 500 * time.Millisecond
	// supersededMost is how many are remembered: a kubelet that starts a pod
	// writes a few in a row.
	supersededMost = 4
)

// revision is one that the door showed as the newest, until then.
type revision struct {
	rv    uint64
	until time.Time
}

// until returns the revisions that next supersedes.
func (e entry) until(next entry, now time.Time) []revision {
	switch {
	case next.rv == e.rv:
		return e.superseded
	case next.uid != e.uid || next.written != e.written:
		return nil
	}
	recent := slices.DeleteFunc(slices.Clone(e.superseded), func(r revision) bool { return now.Sub(r.until) > supersededFor })
	recent = append(recent, revision{rv: e.rv, until: now})
	return recent[max(0, len(recent)-supersededMost):]
}

// shownAs returns the revisions that were the newest a moment ago, the latest
// first.
func (e entry) shownAs(now time.Time) []uint64 {
	var out []uint64
	for _, r := range slices.Backward(e.superseded) {
		if now.Sub(r.until) <= supersededFor {
			out = append(out, r.rv)
		}
	}
	return out
}

// seed is of this process, and so are the digests that it makes.
var seed = maphash.MakeSeed()

// written returns a digest of the parts of h, which p was made of, that a write
// of its main part has: all but the host's in its status, its revision and its
// managers.
func (p packed) written(h runtime.Object) (uint64, error) {
	var d maphash.Hash
	d.SetSeed(seed)
	for _, part := range [][]byte{p.raw[:p.metadata], p.raw[p.metadata:p.spec]} {
		maphash.WriteComparable(&d, len(part))
		_, _ = d.Write(part) // It cannot fail.
	}
	all := reflect.ValueOf(h).Elem().FieldByName("Status").FieldByName("Conditions")
	if !all.IsValid() {
		return d.Sum64(), nil
	}
	// The conditions by which controllers of a tenant may agree: those whose type
	// has a domain (rules.Conditions).
	for i := range all.Len() {
		e := all.Index(i)
		if !strings.Contains(e.FieldByName("Type").String(), "/") {
			continue
		}
		raw, err := json.Marshal(e.Interface())
		if err != nil {
			return 0, err
		}
		_, _ = d.Write(raw)
	}
	return d.Sum64(), nil
}

// mayTakeFor reports whether a request is one that goes together with a change of
// the status.
func (s *Storage) mayTakeFor(ctx context.Context) bool {
	info, ok := request.RequestInfoFrom(ctx)
	if !ok || info.Verb != "update" && info.Verb != "patch" {
		return false
	}
	switch s.subresourceOf(ctx) {
	case subMain, subEphemeral, subResize:
		return true
	}
	return false
}

// named is the revision that the object of an update names: the request's, or that
// of the state if the request has none.
type named struct {
	rv    uint64
	known bool
}

type namedKey struct{}

// WithRevision lets the storage below know which revision an update names. note
// is called with the object that is to be written, each time that it is made.
// Without it, a conflict has each revision of a moment ago tried, and every try
// asks the tenant's admission webhooks again.
func WithRevision(ctx context.Context) (_ context.Context, note func(updated runtime.Object)) {
	n := &named{}
	return context.WithValue(ctx, namedKey{}, n), func(updated runtime.Object) {
		rv, err := storage.APIObjectVersioner{}.ObjectResourceVersion(updated)
		*n = named{rv: rv, known: err == nil}
	}
}

// candidates returns those of some revisions that n may be, which is all of them
// when it is not known.
func (n *named) candidates(of []uint64) []uint64 {
	switch {
	case n == nil || !n.known:
		return of
	case slices.Contains(of, n.rv):
		return []uint64{n.rv}
	}
	return nil
}

// tryShown is tryOnce that, on a conflict which the registry found, lets the
// request take the state for the revisions of a moment ago: for the one that it
// names, or else one after the other.
func (s *Storage) tryShown(ctx context.Context, k key, orig *state, destination runtime.Object,
	preconditions *storage.Preconditions, tryUpdate storage.UpdateFunc,
) (outcome, error) {
	names, _ := ctx.Value(namedKey{}).(*named)
	if names != nil {
		*names = named{} // of an earlier try
	}
	end, err := s.tryOnce(ctx, k, orig, destination, preconditions, tryUpdate)
	if end != failed || !apierrors.IsConflict(err) || !s.mayTakeFor(ctx) {
		return end, err
	}
	for _, rv := range names.candidates(orig.shownAs) {
		as := *orig
		as.virtual = orig.virtual.DeepCopyObject()
		if err := s.versioner.UpdateObject(as.virtual, rv); err != nil {
			return failed, err
		}
		taken, takenErr := s.tryOnce(ctx, k, &as, destination, preconditions, tryUpdate)
		if taken == failed && apierrors.IsConflict(takenErr) {
			continue
		}
		if taken == done && takenErr == nil && destination != nil {
			return s.revised(destination, rv, orig.rv)
		}
		return taken, takenErr
	}
	return end, err
}

// revised gives the answer to a write without changes the revision of the object:
// the host has given none.
func (s *Storage) revised(destination runtime.Object, taken, rv uint64) (outcome, error) {
	if got, err := s.versioner.ObjectResourceVersion(destination); err != nil || got != taken {
		return done, err
	}
	return done, s.versioner.UpdateObject(destination, rv)
}
