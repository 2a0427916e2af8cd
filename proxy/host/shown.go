// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"reflect"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// shown remembers the host objects behind the objects in the cache above, by
// host name. An update needs the host object that it changes, not only its
// virtual view (rewrite.Inputs.Host), and the cache has the view only. Asking
// the host would double the cost of every write.
//
// Objects are kept as protobuf, without the host's managedFields: about 2 KB
// for a pod, a fifth of its decoded size. Replies to writes are kept too, so an
// entry is never behind a write that was acknowledged.
type shown struct {
	mu      sync.Mutex
	entries map[string]entry

	// paired are the latest pairs, in a ring of which next is the oldest.
	paired [maxPairs]struct {
		hostName string
		pair     *pair
	}
	next int
}

// maxPairs bounds the pairs of a kind: a write comes back as an event within
// milliseconds, and the next write of the same object often soon after. The
// objects of a pair are some 20 KB for a pod.
const maxPairs = 128

// pair is an object in both forms, of which others may have a part: nothing in
// it ever changes.
type pair struct{ host, virtual runtime.Object }

// entry is one host object and the virtual name that it was last shown under.
type entry struct {
	virtual types.NamespacedName
	uid     types.UID
	rv      uint64
	packed  packed
	// written is a digest of all that tenants write: everything but the host's status.
	// superseded are the latest revisions with the same, the newest last.
	written    uint64
	superseded []revision
	// corrupt: the overlay could not be read, and the tenant has got the Event.
	corrupt bool

	pair *pair // of the latest entries only, and of none that is corrupt
}

func newShown() *shown { return &shown{entries: map[string]entry{}} }

func (s *shown) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

// retain forgets the objects that a complete list taken at rv no longer has.
func (s *shown) retain(rv uint64, items []item) {
	listed := make(map[string]bool, len(items))
	for _, it := range items {
		listed[it.hostName] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, e := range s.entries {
		if e.rv <= rv && !listed[name] {
			delete(s.entries, name)
		}
	}
}

// put keeps e unless something newer is there. It reports whether the overlay
// of this object was found corrupt for the first time.
func (s *shown) put(hostName string, e entry, now time.Time) (newlyCorrupt bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	prior, ok := s.entries[hostName]
	if ok && prior.rv > e.rv {
		return false
	}
	if ok {
		e.superseded = prior.until(e, now)
	}
	if ok && prior.uid == e.uid && prior.rv == e.rv {
		e.pair = prior.pair
	}
	s.entries[hostName] = e
	return e.corrupt && (!ok || prior.uid != e.uid || !prior.corrupt)
}

// get returns the entry of a host name.
func (s *shown) get(hostName string) (entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[hostName]
	return e, ok
}

// addPair gives the entry of a host object at a revision its pair, in the place
// of the oldest.
func (s *shown) addPair(hostName string, uid types.UID, rv uint64, p pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[hostName]
	if !ok || e.uid != uid || e.rv != rv || e.corrupt || e.pair != nil {
		return
	}
	oldest := &s.paired[s.next]
	if was, ok := s.entries[oldest.hostName]; ok && was.pair == oldest.pair {
		was.pair = nil
		s.entries[oldest.hostName] = was
	}
	e.pair = &p
	s.entries[hostName] = e
	oldest.hostName, oldest.pair = hostName, e.pair
	s.next = (s.next + 1) % maxPairs
}

// until returns the uids of the objects that were last shown at rv or before.
func (s *shown) until(rv uint64) []types.UID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var uids []types.UID
	for _, e := range s.entries {
		if e.rv <= rv {
			uids = append(uids, e.uid)
		}
	}
	return uids
}

// remove forgets a host object that was deleted or became unreadable, and
// returns the virtual name under which it was shown.
func (s *shown) remove(hostName string) (types.NamespacedName, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[hostName]
	delete(s.entries, hostName)
	return e.virtual, ok
}

// removeIf is remove for a host object that was shown under that virtual name.
func (s *shown) removeIf(hostName, namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[hostName]; e.virtual == (types.NamespacedName{Namespace: namespace, Name: name}) {
		delete(s.entries, hostName)
	}
}

// packed is a host object as protobuf, part by part: in this form the digest of
// some parts costs no second encoding.
type packed struct {
	raw            []byte // metadata, spec, status
	metadata, spec int    // where these end in raw
}

// protobuf has the methods of every type of k8s.io/api.
type protobuf interface {
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
	Unmarshal([]byte) error
}

// parts are the metadata, the spec and the status of a host object.
func parts(h runtime.Object) (metadata *metav1.ObjectMeta, spec, status protobuf, err error) {
	v := reflect.ValueOf(h).Elem()
	m, ok := h.(metav1.ObjectMetaAccessor)
	if !ok {
		return nil, nil, nil, fmt.Errorf("%T has no metadata", h)
	}
	if metadata, ok = m.GetObjectMeta().(*metav1.ObjectMeta); !ok {
		return nil, nil, nil, fmt.Errorf("%T has other metadata", h)
	}
	for name, part := range map[string]*protobuf{"Spec": &spec, "Status": &status} {
		f := v.FieldByName(name)
		if !f.IsValid() {
			return nil, nil, nil, fmt.Errorf("%T has no %s", h, name)
		}
		if *part, ok = f.Addr().Interface().(protobuf); !ok {
			return nil, nil, nil, fmt.Errorf("%s of %T has no protobuf form", name, h)
		}
	}
	return metadata, spec, status, nil
}

// pack packs a host object for keeping. Its managedFields are left behind, for
// they are the host's, and no update looks at them; and so is its revision,
// which the entry has.
func pack(h runtime.Object) (packed, error) {
	metadata, spec, status, err := parts(h)
	if err != nil {
		return packed{}, err
	}
	kept := *metadata
	kept.ManagedFields, kept.ResourceVersion = nil, ""
	p := packed{metadata: kept.Size()}
	p.spec = p.metadata + spec.Size()
	p.raw = make([]byte, p.spec+status.Size())
	for _, part := range []struct {
		of protobuf
		to []byte
	}{{&kept, p.raw[:p.metadata]}, {spec, p.raw[p.metadata:p.spec]}, {status, p.raw[p.spec:]}} {
		if _, err := part.of.MarshalToSizedBuffer(part.to); err != nil {
			return packed{}, fmt.Errorf("pack %T: %w", h, err)
		}
	}
	return p, nil
}

// unpack makes an empty host object the kept one.
func (e entry) unpack(into runtime.Object) error {
	metadata, spec, status, err := parts(into)
	if err != nil {
		return err
	}
	p := e.packed
	for _, part := range []struct {
		to   protobuf
		from []byte
	}{{metadata, p.raw[:p.metadata]}, {spec, p.raw[p.metadata:p.spec]}, {status, p.raw[p.spec:]}} {
		if err := part.to.Unmarshal(part.from); err != nil {
			return fmt.Errorf("unpack %T: %w", into, err)
		}
	}
	metadata.ResourceVersion = formatRV(e.rv)
	return nil
}

// remember keeps a host object that is shown as v.
func (s *Storage) remember(h runtime.Object, v metav1.Object, corrupt bool) (newlyCorrupt bool, err error) {
	m, err := meta.Accessor(h)
	if err != nil {
		return false, err
	}
	rv, err := s.versioner.ParseResourceVersion(m.GetResourceVersion())
	if err != nil {
		return false, err
	}
	p, err := pack(h)
	if err != nil {
		return false, err
	}
	written, err := p.written(h)
	if err != nil {
		return false, err
	}
	return s.shown.put(m.GetName(), entry{
		virtual: types.NamespacedName{Namespace: v.GetNamespace(), Name: v.GetName()},
		uid:     m.GetUID(), rv: rv, packed: p, written: written, corrupt: corrupt,
	}, s.cfg.Clock.Now()), nil
}

// pairOf returns both forms of the host object of which m is the metadata, if they
// are at hand. There is one object of a uid and a revision.
func (s *Storage) pairOf(m metav1.Object) *pair {
	rv, err := s.versioner.ParseResourceVersion(m.GetResourceVersion())
	if err != nil {
		return nil
	}
	if e, ok := s.shown.get(m.GetName()); ok && e.uid == m.GetUID() && e.rv == rv {
		return e.pair
	}
	return nil
}

// pair keeps both forms of a remembered host object, of which m is the metadata,
// at hand, unless the virtual one depends on more than that. Neither may change
// from now on.
func (s *Storage) pair(m metav1.Object, p pair) {
	rv, err := s.versioner.ParseResourceVersion(m.GetResourceVersion())
	if err != nil || s.kind.complete != nil {
		return
	}
	m.SetManagedFields(nil) // as in a packed one
	s.shown.addPair(m.GetName(), m.GetUID(), rv, p)
}
