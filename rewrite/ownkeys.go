// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"crypto/sha256"
	"encoding/base64"
)

// A key of a host object has one owner. It is the tenant's while it has the
// value that the last translation put there, and the host's otherwise, who then
// keeps it: an update neither changes nor removes it. A tenant who insists on
// another value has it for itself, in the overlay. So two controllers, one on
// each side, that both insist on a key are both content after one write each.

// ring holds the facts about the labels or the annotations of a host object
// that is about to be changed. All of it is empty on create.
type ring struct {
	rules *passing
	host  map[string]string // as they are on the host
	seen  map[string]string // as the tenant sees them
	own   map[string]string // the tenant's values that it has for itself
	// passed has the digests of the last translation, if it left any.
	passed   map[string]string
	recorded bool
}

func (c *translation) labelsOf(m *hostMeta) *ring {
	r := &ring{rules: &c.t.keys[c.kind].labels, host: m.host.Labels, seen: m.seen.Labels, own: map[string]string{}}
	for _, k := range c.prior.Labels {
		if v, ok := m.host.Labels[movedLabelKey(k)]; ok {
			r.own[k] = v
		}
	}
	for k, v := range c.prior.OwnLabels {
		r.own[k] = v
	}
	if c.prior.Passed != nil {
		r.passed, r.recorded = c.prior.Passed.Labels, true
	}
	return r
}

func (c *translation) annotationsOf(m *hostMeta) *ring {
	r := &ring{rules: &c.t.keys[c.kind].annotations, host: m.host.Annotations, seen: m.seen.Annotations, own: c.prior.Annotations}
	if c.prior.Passed != nil {
		r.passed, r.recorded = c.prior.Passed.Annotations, true
	}
	return r
}

// passed returns the overlay's new record of the owners of keys.
func (c *translation) passed() *passed {
	if c.overlay.Passed == nil {
		c.overlay.Passed = &passed{}
	}
	return c.overlay.Passed
}

// belongsToHost reports whether a key that is on the host is not the tenant's. Where
// nothing is recorded, it is the tenant's if it can be: before owners were
// recorded, tenants could change every key that they saw on the host.
func (r *ring) belongsToHost(key string) bool {
	v, ok := r.host[key]
	switch {
	case !ok || Reserved(key):
		return false
	case r.recorded:
		d, ours := r.passed[key]
		return !ours || d != digest(v)
	}
	_, apart := r.own[key]
	return apart || r.rules.host.has(key)
}

// ofHost are the keys that an update leaves as they are: the host's, and those
// of other parts of Portico.
func (r *ring) ofHost() map[string]string {
	out := make(map[string]string, len(r.host)+4)
	for k, v := range r.host {
		if foreign(k) || r.belongsToHost(k) {
			out[k] = v
		}
	}
	return out
}

// parts are the tenant's keys by where they go. A key of the host's that the
// tenant only sees is in neither map.
type parts struct {
	pass, aside map[string]string
	// digests are to be recorded for the keys that passed. Keys that the host
	// has removed are in it with none.
	digests map[string]string
}

// split says which of the tenant's keys go to the host, and which stay with the
// tenant.
func (r *ring) split(virtual map[string]string) parts {
	p := parts{pass: make(map[string]string, len(virtual)), aside: map[string]string{}, digests: map[string]string{}}
	for k := range r.passed {
		_, seen := r.seen[k]
		if _, wanted := virtual[k]; r.removed(k) && seen == wanted {
			p.digests[k] = ""
		}
	}
	for k, v := range virtual {
		seen, known := r.seen[k]
		unchanged := known && seen == v
		own, had := r.own[k]
		switch {
		case r.belongsToHost(k):
			if unchanged && had {
				p.aside[k] = own
			} else if !unchanged {
				p.aside[k] = v
			}
		case !r.rules.passes(k):
			p.aside[k] = v
		case r.removed(k) && !r.rules.placed.has(k):
			p.aside[k], p.digests[k] = v, ""
		default:
			if was, ok := r.host[k]; ok && unchanged {
				v = was // which the tenant may see in other words
			}
			p.pass[k], p.digests[k] = v, digest(v)
		}
	}
	return p
}

// removed reports whether the host took a key away that the tenant gave it.
func (r *ring) removed(key string) bool {
	_, gave := r.passed[key]
	_, there := r.host[key]
	return gave && !there
}

// digest stands for a value. It is too long for a tenant to find a second value
// with it, who could then pass off the host's value as their own.
func digest(value string) string {
	sum := sha256.Sum256([]byte(value))
	return base64.RawStdEncoding.EncodeToString(sum[:12])
}
