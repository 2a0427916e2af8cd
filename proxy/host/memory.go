// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import "sync"

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
