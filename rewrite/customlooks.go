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
	var paths []string
	k.undeclared(content, nil, nil, &paths)
	slices.Sort(paths)
	var errs field.ErrorList
	for _, path := range slices.Compact(paths) {
		errs = append(errs, field.Forbidden(fieldAt(path), "looks like a reference to other objects, and the operator of this cluster has not said how to translate it"))
	}
	return errs
}

// undeclared walks through a value. suspect is the closest field above that looks
// like a reference.
func (k *CustomKind) undeclared(value any, path, suspect CustomPath, found *[]string) {
	switch v := value.(type) {
	case map[string]any:
		for key, below := range v {
			at := path.with(key)
			switch {
			case k.declares(at):
			case LooksLikeReference(key):
				if k.declaresIn(at) {
					k.undeclared(below, at, nil, found)
				} else {
					k.undeclared(below, at, at, found)
				}
			default:
				k.undeclared(below, at, suspect, found)
			}
		}
	case []any:
		at := path.with(each)
		if k.declares(at) {
			return
		}
		for i := range v {
			k.undeclared(v[i], at, suspect, found)
		}
	case string:
		if suspect != nil && v != "" {
			*found = append(*found, path.String())
		}
	case bool:
		if suspect != nil && v {
			*found = append(*found, path.String())
		}
	}
}

// declares reports whether a rule is about a field or about one above it.
func (k *CustomKind) declares(path CustomPath) bool {
	return slices.ContainsFunc(k.declared(), path.inside)
}

// declaresIn reports whether a rule is about something in a field.
func (k *CustomKind) declaresIn(path CustomPath) bool {
	return slices.ContainsFunc(k.declared(), func(rule CustomPath) bool { return rule.inside(path) })
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
