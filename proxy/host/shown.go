// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
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
}

// entry is one host object and the virtual name that it was last shown under.
type entry struct {
	virtual types.NamespacedName
	uid     types.UID
	rv      uint64
	proto   []byte
	// written is a digest of all that tenants write: everything but the host's status.
	// superseded are the latest revisions with the same, the newest last.
	written    uint64
	superseded []revision
	// corrupt: the overlay could not be read, and the tenant has got the Event.
	corrupt bool
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

// protobuf has the methods of every type of k8s.io/api.
type protobuf interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// encode packs a host object for keeping. Its managedFields are left behind:
// they are the host's, and no update looks at them.
func encode(h runtime.Object) ([]byte, error) {
	m, err := meta.Accessor(h)
	if err != nil {
		return nil, err
	}
	p, ok := h.(protobuf)
	if !ok {
		return nil, fmt.Errorf("%T has no protobuf form", h)
	}
	managed := m.GetManagedFields()
	m.SetManagedFields(nil)
	defer m.SetManagedFields(managed)
	return p.Marshal()
}

// decode unpacks a kept host object into an empty one.
func (e entry) decode(into runtime.Object) error {
	p, ok := into.(protobuf)
	if !ok {
		return fmt.Errorf("%T has no protobuf form", into)
	}
	return p.Unmarshal(e.proto)
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
	raw, err := encode(h)
	if err != nil {
		return false, err
	}
	written, err := digest(h)
	if err != nil {
		return false, err
	}
	return s.shown.put(m.GetName(), entry{
		virtual: types.NamespacedName{Namespace: v.GetNamespace(), Name: v.GetName()},
		uid:     m.GetUID(), rv: rv, proto: raw, written: written, corrupt: corrupt,
	}, s.cfg.Clock.Now()), nil
}
