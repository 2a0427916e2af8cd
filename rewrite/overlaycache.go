// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import "sync"

const (
	// maxKnown bounds the texts of one generation of the cache, and with it the
	// memory: about five times as much, in two generations with the values that
	// were made of the texts. A pod has some 5 KB, so both together are 400
	// pods.
	maxKnown = 1 << 20
	// maxKnownOne bounds a single entry. A larger one would push out too many.
	maxKnownOne = maxKnown / 8
)

// overlayCache remembers the contents of annotations. One overlay is read again
// and again: in the host's answer to a write, in the event about it, in an
// event for each change of a status, and by the next write. It has the last
// ones used. The key is the whole text, so an entry is right for every caller.
//
// There are two generations. When the young one is full it becomes the old one,
// and the old one is forgotten: a used entry of it is young again.
type overlayCache struct {
	mu         sync.Mutex
	young, old map[string]*knownOverlay
	size       int // of young
}

// knownOverlay is the content of an annotation.
type knownOverlay struct {
	raw []byte

	once    sync.Once
	overlay *overlay
	err     error
}

// get returns the content of an annotation, or nil.
func (c *overlayCache) get(s string) *knownOverlay {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok := c.young[s]; ok {
		return k
	}
	k, ok := c.old[s]
	if ok {
		c.keep(s, k)
	}
	return k
}

// add makes raw, which may not be changed any more, the content of an
// annotation.
func (c *overlayCache) add(s string, raw []byte) *knownOverlay {
	k := &knownOverlay{raw: raw}
	if len(s)+len(raw) > maxKnownOne {
		return k
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if was, ok := c.young[s]; ok {
		return was
	}
	c.keep(s, k)
	return k
}

func (c *overlayCache) keep(s string, k *knownOverlay) {
	size := len(s) + len(k.raw)
	if c.young == nil || c.size+size > maxKnown {
		c.young, c.old, c.size = map[string]*knownOverlay{}, c.young, 0
	}
	c.young[s] = k
	c.size += size
}

// decode returns the overlay. The caller has the struct for itself, and nothing
// that it leads to.
func (k *knownOverlay) decode() (*overlay, error) {
	k.once.Do(func() { k.overlay, k.err = unpack(k.raw) })
	if k.err != nil {
		return nil, k.err
	}
	own := *k.overlay
	return &own, nil
}
