// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// model is a store without any thought of speed: a full copy of everything at
// each revision.
type model struct {
	states    []map[string]entry // by revision; [0] is not used
	events    []string           // by revision; a revision may have several, sorted
	compacted int64
	leases    []clientv3.LeaseID
}

type entry struct {
	value       string
	create, mod int64
	version     int64
	lease       clientv3.LeaseID
}

func newModel() *model {
	return &model{
		states: []map[string]entry{nil, {}},
		events: []string{"", ""},
	}
}

func (m *model) revision() int64           { return int64(len(m.states)) - 1 }
func (m *model) current() map[string]entry { return m.states[m.revision()] }

// commit makes the next revision of a changed copy of the current state.
func (m *model) commit(change func(map[string]entry, int64) []string) {
	next := maps.Clone(m.current())
	events := change(next, m.revision()+1)
	if len(events) == 0 {
		return
	}
	slices.Sort(events)
	m.states = append(m.states, next)
	m.events = append(m.events, strings.Join(events, ";"))
}

func (m *model) put(key, value string, lease clientv3.LeaseID) {
	m.commit(func(s map[string]entry, rev int64) []string {
		old, existed := s[key]
		e := entry{value: value, create: rev, mod: rev, version: 1, lease: lease}
		text := fmt.Sprintf("PUT %s=%s", key, value)
		if existed {
			e.create, e.version = old.create, old.version+1
			text += " was " + old.value
		}
		s[key] = e
		return []string{text}
	})
}

func (m *model) delete(keys ...string) {
	m.commit(func(s map[string]entry, _ int64) (events []string) {
		for _, key := range keys {
			if old, ok := s[key]; ok {
				events = append(events, fmt.Sprintf("DELETE %s was %s", key, old.value))
				delete(s, key)
			}
		}
		return events
	})
}

func (m *model) revoke(lease clientv3.LeaseID) {
	var keys []string
	for key, e := range m.current() {
		if e.lease == lease {
			keys = append(keys, key)
		}
	}
	m.delete(keys...)
	m.leases = slices.DeleteFunc(m.leases, func(id clientv3.LeaseID) bool { return id == lease })
}

// under returns the keys with a prefix at a revision, in order.
func (m *model) under(prefix string, rev int64) (keys []string) {
	for key := range m.states[rev] {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// describe is the form in which values of the store and of the model are
// compared.
func (m *model) describe(key string, rev int64) string {
	e, ok := m.states[rev][key]
	if !ok {
		return key + " absent"
	}
	return fmt.Sprintf("%s=%s create %d mod %d version %d lease %d", key, e.value, e.create, e.mod, e.version, e.lease)
}

func describeKV(key string, kv *mvccpb.KeyValue) string {
	if kv == nil {
		return key + " absent"
	}
	return fmt.Sprintf("%s=%s create %d mod %d version %d lease %d", kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease)
}

// describeEvents gives the events of one revision the form of model.events.
func describeEvents(events []*clientv3.Event) string {
	var texts []string
	for _, e := range events {
		text := fmt.Sprintf("%s %s", e.Type, e.Kv.Key)
		if e.Type == clientv3.EventTypePut {
			text += "=" + string(e.Kv.Value)
		}
		if e.PrevKv != nil {
			text += " was " + string(e.PrevKv.Value)
		}
		texts = append(texts, text)
	}
	slices.Sort(texts)
	return strings.Join(texts, ";")
}
