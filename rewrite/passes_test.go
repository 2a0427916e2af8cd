// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"portico.dev/portico/rewrite/rules"
)

// TestEveryPassIsThere: the pass that a row names is a function of this
// package, and the row's field is used by it or by a function that it calls. A
// row is no proof that its field is rewritten, but one that names nothing, or a
// pass that has never heard of the field, would be an empty claim.
func TestEveryPassIsThere(t *testing.T) {
	source := readSource(t)
	passes := 0
	for typ, table := range tables() {
		for _, rule := range table.Rules {
			if (rule.Action == rules.Pass) != (rule.Pass != "") {
				t.Errorf("%s: the row of %s has the action %q and the pass %q", table.Kind, rule.Path, rule.Action, rule.Pass)
			}
			if rule.Pass == "" {
				continue
			}
			passes++
			for _, path := range alternatives(rule.Path) {
				if fields := goFields(typ, path); !source.uses(rule.Pass, fields) {
					t.Errorf("%s: no pass %s that uses %v, for the row of %s", table.Kind, rule.Pass, fields, path)
				}
			}
		}
	}
	if passes == 0 {
		t.Error("no row has a pass")
	}
	for pass, field := range map[string]string{"gone": "Priority", "network": "Priority", "priority": "Subdomain"} {
		if source.uses(pass, []string{field}) {
			t.Errorf("%s is said to use %s", pass, field)
		}
	}
}

// source has, for each function of the package by its name, the fields that it
// selects and the functions that it calls. Methods of the same name, as a pass
// and its inverse, are one.
type source map[string]*function

type function struct{ selects, calls map[string]bool }

func readSource(t *testing.T) source {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	s := source{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				s.add(f)
			}
		}
	}
	return s
}

func (s source) add(f *ast.FuncDecl) {
	in := s[f.Name.Name]
	if in == nil {
		in = &function{selects: map[string]bool{}, calls: map[string]bool{}}
		s[f.Name.Name] = in
	}
	ast.Inspect(f.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			in.selects[n.Sel.Name] = true
		case *ast.CallExpr:
			switch called := n.Fun.(type) {
			case *ast.Ident:
				in.calls[called.Name] = true
			case *ast.SelectorExpr:
				in.calls[called.Sel.Name] = true
			}
		}
		return true
	})
}

// uses reports whether a function, or one that it leads to, selects one of the
// fields.
func (s source) uses(name string, fields []string) bool {
	seen := map[string]bool{}
	var look func(name string) bool
	look = func(name string) bool {
		f := s[name]
		if f == nil || seen[name] {
			return false
		}
		seen[name] = true
		if slices.ContainsFunc(fields, func(field string) bool { return f.selects[field] }) {
			return true
		}
		for called := range f.calls {
			if look(called) {
				return true
			}
		}
		return false
	}
	return look(name)
}

// goFields returns the names in Go of the last field of a path, and of the list
// that it is in: a pass may take an element as a whole.
func goFields(typ reflect.Type, path string) []string {
	var names []string
	for _, part := range strings.Split(path, ".") {
		part, list := strings.CutSuffix(part, "[]")
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		for _, f := range reflect.VisibleFields(typ) {
			if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == part {
				typ = f.Type
				if names = append(names, f.Name); list {
					names = []string{f.Name}
				}
				break
			}
		}
	}
	if strings.HasSuffix(path[:strings.LastIndex(path, ".")+1], "[].") {
		return names
	}
	return names[len(names)-1:]
}
