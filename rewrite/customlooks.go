// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// No schema says which fields name other objects. A field that sounds like it and
// that no rule of the operator names stays inside, with its object: the host
// namespace has the keys of clusters, and objects of other tenants.

// Words by which a key sounds like a reference, in lower case.
var (
	referenceWords   = []string{"namespace", "selector", "secret", "configmap", "serviceaccount", "nodename", "claimname", "volumename"}
	referenceEndings = []string{"ref", "refs", "reference", "references"}
)

// LooksLikeReference reports whether a field of that name could name or select
// other objects.
func LooksLikeReference(key string) bool {
	lower := strings.ToLower(key)
	return slices.ContainsFunc(referenceWords, func(word string) bool { return strings.Contains(lower, word) }) ||
		slices.ContainsFunc(referenceEndings, func(end string) bool { return strings.HasSuffix(lower, end) })
}

// Undeclared are the fields of a content that look like references and that
// nothing in k is about. Only texts count, and switches that are on.
func (k *CustomKind) Undeclared(content map[string]any) field.ErrorList {
	look := looks{rules: k.declared()}
	look.into(content, nil, nil)
	slices.Sort(look.found)
	var errs field.ErrorList
	for _, path := range slices.Compact(look.found) {
		errs = append(errs, field.Forbidden(fieldAt(path), "looks like a reference to other objects, and the operator of this cluster has not said how to translate it"))
	}
	return errs
}

// declared are the fields that rules are about.
func (k *CustomKind) declared() []CustomPath {
	all := slices.Clone(k.Verbatim)
	for i := range k.References {
		r := &k.References[i]
		all = append(all, r.Path)
		for _, next := range []string{r.KindField, r.NamespaceField} {
			if next != "" {
				all = append(all, r.Path[:len(r.Path)-1].with(next))
			}
		}
	}
	return all
}

// looks finds the fields that look like references.
type looks struct {
	rules []CustomPath // the fields that rules are about
	found []string
}

// into walks through a value. suspect is the closest field above that looks like a
// reference.
func (l *looks) into(value any, path, suspect CustomPath) {
	switch v := value.(type) {
	case map[string]any:
		// A rule is about a field of this object: the others beside it are known. A
		// text in the place of the object is not.
		if l.declaresIn(path) {
			suspect = nil
		}
		for key, below := range v {
			at := path.with(key)
			switch {
			case l.declares(at):
			case LooksLikeReference(key):
				l.into(below, at, at)
			default:
				l.into(below, at, suspect)
			}
		}
	case []any:
		at := path.with(each)
		if l.declares(at) {
			return
		}
		for i := range v {
			l.into(v[i], at, suspect)
		}
	case string:
		if suspect != nil && v != "" {
			l.found = append(l.found, path.String())
		}
	case bool:
		if suspect != nil && v {
			l.found = append(l.found, path.String())
		}
	}
}

// declares reports whether a rule is about a field or about one above it.
func (l *looks) declares(path CustomPath) bool {
	return slices.ContainsFunc(l.rules, path.inside)
}

// declaresIn reports whether a rule is about something in a field.
func (l *looks) declaresIn(path CustomPath) bool {
	return slices.ContainsFunc(l.rules, func(rule CustomPath) bool { return rule.inside(path) })
}
