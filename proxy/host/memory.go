// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Memory leads from one storage of a virtual cluster to the others. A new pod
// names claims, and the storage of these has nearly always seen them already:
// without it, each would be asked of the host.
//
// It is about as old as the host's own watch cache, which such questions go to
// otherwise, and says only that an object is there and is the cluster's. One
// that it does not know may be there all the same, and so may a foreign object
// of its name. The zero Memory cannot be used; a nil one knows nothing.
type Memory struct {
	mu       sync.RWMutex
	storages map[string]*Storage // by the name of the kind
	pulse    *pulse
}

// NewMemory returns the memory of one virtual cluster.
func NewMemory() *Memory { return &Memory{storages: map[string]*Storage{}} }

func (m *Memory) add(s *Storage) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.storages[s.kind.name] = s
}

// pulseOf returns the pulse of the host that all storages share.
func (m *Memory) pulseOf(cfg Config) *pulse {
	if m == nil {
		return newPulse(cfg.Clock, cfg.StaleBound)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pulse == nil {
		m.pulse = newPulse(cfg.Clock, cfg.StaleBound)
	}
	return m.pulse
}

// find returns the host name of a virtual object that its storage has seen. A
// storage without its host watch has not seen the changes since.
func (m *Memory) find(kind, namespace, name string) (hostName string, found bool) {
	if m == nil {
		return "", false
	}
	m.mu.RLock()
	s := m.storages[kind]
	m.mu.RUnlock()
	if s == nil || !s.health.connected() {
		return "", false
	}
	hostName, _, found = s.entry(key{namespace: namespace, name: name})
	return hostName, found
}

// Lag says how far the cache of a resource is behind the host.
type Lag struct {
	Resource string
	// Revisions of the host are between the newest write that this process knows
	// of and the newest state that the cache got. The host's revisions count
	// everything that it stores, so one write may be many.
	Revisions uint64
	// Behind is how long the cache has lacked a write, or its host watch.
	Behind time.Duration
}

// Lags are those of the storages, by resource.
func (m *Memory) Lags() []Lag {
	if m == nil {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	lags := make([]Lag, 0, len(m.storages))
	for _, s := range m.storages {
		lags = append(lags, s.lag())
	}
	slices.SortFunc(lags, func(a, b Lag) int { return strings.Compare(a.Resource, b.Resource) })
	return lags
}

func (s *Storage) lag() Lag {
	revisions, since := s.revisions.lag()
	if lost := s.health.since(); since.IsZero() || !lost.IsZero() && lost.Before(since) {
		since = lost
	}
	l := Lag{Resource: s.kind.resource, Revisions: revisions}
	if !since.IsZero() {
		l.Behind = s.cfg.Clock.Since(since)
	}
	return l
}
