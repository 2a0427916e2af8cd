// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"
	"strings"

	"portico.dev/portico/rewrite/rules"
)

// Keys are labels and annotations, each a list of entries as in
// [rules.KeyGroup].
type Keys struct {
	Labels, Annotations []string
}

// keyset is a list of entries, ready to be asked.
type keyset struct {
	exact, domains, below set // "key", "domain/", "*.domain/"
	prefixes, suffixes    []string
}

func newKeyset(lists ...[]string) *keyset {
	s := &keyset{exact: set{}, domains: set{}, below: set{}}
	for _, entry := range slices.Concat(lists...) {
		rest, wide := strings.CutPrefix(entry, "*.")
		domain, isDomain := strings.CutSuffix(rest, "/")
		prefix, isPrefix := strings.CutSuffix(entry, "*")
		switch {
		case wide && isDomain:
			s.below.add(domain)
		case wide:
			s.suffixes = append(s.suffixes, rest)
		case isDomain:
			s.domains.add(domain)
		case isPrefix:
			s.prefixes = append(s.prefixes, prefix)
		default:
			s.exact.add(entry)
		}
	}
	return s
}

// has reports whether an entry stands for key.
func (s *keyset) has(key string) bool {
	if s.exact.has(key) {
		return true
	}
	if domain, _, ok := strings.Cut(key, "/"); ok {
		if s.domains.has(domain) {
			return true
		}
		for more := true; more; _, domain, more = strings.Cut(domain, ".") {
			if s.below.has(domain) {
				return true
			}
		}
	}
	return slices.ContainsFunc(s.prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) ||
		slices.ContainsFunc(s.suffixes, func(e string) bool { return key == e || strings.HasSuffix(key, "."+e) })
}

// passing says which labels, or which annotations, of a kind's tenants reach
// the host under their own keys.
type passing struct {
	never, allowed *keyset
	// held are the keys that do not pass, if all others do; nil if none does
	// that is not allowed.
	held *keyset
	// host are keys that only the host writes, except for those of placed, which
	// a scheduler inside writes as well.
	host   *keyset
	placed set
}

func (p *passing) passes(key string) bool {
	switch {
	case Reserved(key) || p.never.has(key):
		return false
	case p.placed.has(key):
		return true
	case p.host.has(key):
		return false
	}
	return p.allowed.has(key) || p.held != nil && !p.held.has(key)
}

// kindKeys are the rules for the two maps of a kind.
type kindKeys struct {
	labels, annotations passing
}

// kindsOfKeys are the rules of the kinds that reach the host.
func (c *Cluster) kindsOfKeys() map[string]*kindKeys {
	never := keysOf(rules.NeverKeys)
	never.Labels = append(never.Labels, c.MovedLabels...)
	never.Annotations = append(never.Annotations, c.HiddenAnnotations...)
	neverLabels, neverAnnotations := newKeyset(never.Labels), newKeyset(never.Annotations)
	of := func(kind string, passing Keys) *kindKeys {
		allowed, host := c.AllowedKeys[kind], newKeyset(rules.HostAnnotations[kind])
		k := &kindKeys{}
		k.labels.never, k.annotations.never = neverLabels, neverAnnotations
		k.labels.allowed = newKeyset(passing.Labels, allowed.Labels)
		k.annotations.allowed = newKeyset(passing.Annotations, allowed.Annotations)
		k.labels.host, k.annotations.host = newKeyset(), host
		if c.SchedulesInside {
			k.annotations.placed = setOf(rules.PlacementAnnotations[kind])
		}
		return k
	}
	kinds := map[string]*kindKeys{}
	for kind, groups := range rules.PassingKeys {
		kinds[kind] = of(kind, keysOf(groups))
	}
	pods := of("Pod", Keys{})
	held := rules.PodKeys
	if !c.PassNodeKeys {
		held = slices.Concat(held, rules.NodeKeys)
	}
	keys := keysOf(held)
	pods.labels.held, pods.annotations.held = newKeyset(keys.Labels), newKeyset(keys.Annotations)
	kinds["Pod"] = pods
	return kinds
}

// keysOf are the keys of some groups.
func keysOf(groups []rules.KeyGroup) Keys {
	var k Keys
	for _, g := range groups {
		k.Labels = slices.Concat(k.Labels, g.Keys, g.Labels)
		k.Annotations = slices.Concat(k.Annotations, g.Keys, g.Annotations)
	}
	return k
}

// movesLabel reports whether a label of a pod has another name on the host. A
// reserved key does too: asked for through the downward API or a selector, it
// must not find Portico's own label.
func (t *Translator) movesLabel(key string) bool { return !t.keys["Pod"].labels.passes(key) }
