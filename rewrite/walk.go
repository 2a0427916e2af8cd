// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"portico.dev/portico/rewrite/rules"
)

// A walker visits the fields of one Go type that the rules name. The paths of
// all rules are merged into one tree when the Translator is made, so an object
// is walked once, and only where it has something.
type walker struct {
	root *node
}

// node is one step of the tree. Exactly one of fields, keys and elem is used,
// by the kind of the type; rule is set where a path ends.
type node struct {
	fields []edge
	keys   []key
	elem   *node
	rule   *rules.Rule
}

type edge struct {
	index []int // of the field, through embedded structs
	node  *node
	// optional is the index of a sibling field "optional", if there is one.
	optional []int
}

type key struct {
	name string
	node *node
}

// leaf is a field that a rule names, in one object.
type leaf struct {
	rule *rules.Rule
	// value is the field, with pointers followed. It can be set, unless it is
	// the value of a map, for which there is set.
	value    reflect.Value
	set      func(string)
	optional bool
}

// text returns the value of a string field.
func (l leaf) text() string { return l.value.String() }

// setText changes a string field.
func (l leaf) setText(s string) {
	if l.set != nil {
		l.set(s)
		return
	}
	l.value.SetString(s)
}

// compile merges the rules of a table into a tree over typ, and adds the types
// on the way to fields.
func compile(fields fieldTable, typ reflect.Type, table rules.Table) (*walker, error) {
	w := &walker{root: &node{}}
	for i := range table.Rules {
		rule := &table.Rules[i]
		if rule.Action == rules.Pass {
			continue
		}
		for _, path := range expand(rule.Path) {
			end, err := w.root.grow(fields, typ, path)
			if err != nil {
				return nil, fmt.Errorf("path %s: %w", path, err)
			}
			end.rule = rule
		}
	}
	return w, nil
}

// expand resolves every "{a,b}" of a path.
func expand(path string) []string {
	open := strings.IndexByte(path, '{')
	if open < 0 {
		return []string{path}
	}
	end := open + strings.IndexByte(path[open:], '}')
	var out []string
	for name := range strings.SplitSeq(path[open+1:end], ",") {
		out = append(out, expand(path[:open]+name+path[end+1:])...)
	}
	return out
}

// grow adds a path below n, which stands for a value of type typ, and returns
// the node of its end.
func (n *node) grow(fields fieldTable, typ reflect.Type, path string) (*node, error) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	path = strings.TrimPrefix(path, ".")
	switch {
	case path == "":
		return n, nil
	case strings.HasPrefix(path, "[]"):
		if typ.Kind() != reflect.Slice {
			return nil, fmt.Errorf("%s is no list", typ)
		}
		if n.elem == nil {
			n.elem = &node{}
		}
		return n.elem.grow(fields, typ.Elem(), path[2:])
	case strings.HasPrefix(path, "['"):
		name, rest, ok := strings.Cut(path[2:], "']")
		if !ok || typ.Kind() != reflect.Map {
			return nil, fmt.Errorf("%s has no keys", typ)
		}
		n.keys = append(n.keys, key{name: name, node: &node{}})
		return n.keys[len(n.keys)-1].node.grow(fields, typ.Elem(), rest)
	}
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		end = len(path)
	}
	if typ.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%s has no field %s", typ, path[:end])
	}
	f, ok := fields.add(typ).json[path[:end]]
	if !ok {
		return nil, fmt.Errorf("%s has no field %s", typ, path[:end])
	}
	return n.child(fields[typ], f).grow(fields, typ.FieldByIndex(f.index).Type, path[end:])
}

// child returns the node of a field of a struct, which other paths may have made
// already.
func (n *node) child(of *structFields, f structField) *node {
	for _, e := range n.fields {
		if slices.Equal(e.index, f.index) {
			return e.node
		}
	}
	e := edge{index: f.index, node: &node{}}
	if opt, ok := of.json["optional"]; ok {
		e.optional = opt.index
	}
	n.fields = append(n.fields, e)
	return e.node
}

// visit calls do for each field of obj, a pointer to the walker's type, that
// has a rule and is there.
func (w *walker) visit(obj any, do func(leaf)) {
	w.root.visit(reflect.ValueOf(obj).Elem(), false, nil, do)
}

func (n *node) visit(v reflect.Value, optional bool, set func(string), do func(leaf)) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if n.rule != nil {
		do(leaf{rule: n.rule, value: v, set: set, optional: optional || n.rule.Optional})
		return
	}
	if n.elem != nil {
		for i := range v.Len() {
			n.elem.visit(v.Index(i), false, nil, do)
		}
	}
	for _, k := range n.keys {
		name := reflect.ValueOf(k.name)
		if e := v.MapIndex(name); e.IsValid() {
			k.node.visit(e, false, func(s string) { v.SetMapIndex(name, reflect.ValueOf(s)) }, do)
		}
	}
	for _, e := range n.fields {
		var opt bool
		if e.optional != nil {
			p := v.FieldByIndex(e.optional)
			opt = p.Kind() == reflect.Pointer && !p.IsNil() && p.Elem().Kind() == reflect.Bool && p.Elem().Bool()
		}
		e.node.visit(v.FieldByIndex(e.index), opt, nil, do)
	}
}
