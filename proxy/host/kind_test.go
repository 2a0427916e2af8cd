// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestKindsAreToldApartInOnePlace: only the files of a kind's hooks ask which
// kind they have before them, by the Go type of an object or by the name of the
// kind.
func TestKindsAreToldApartInOnePlace(t *testing.T) {
	hooks := []string{"pod.go", "service.go", "resourceclaim.go", "volumeclaim.go"}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if asksForKind(n) {
				found[e.Name()] = true
				if !slices.Contains(hooks, e.Name()) {
					t.Errorf("%s tells kinds apart: make it a hook of kind", fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
	// Or the search finds nothing because it is blind.
	for _, name := range hooks {
		if !found[name] {
			t.Errorf("no question for a kind found in %s", name)
		}
	}
}

// asksForKind reports whether n is a type assertion or a case of a type switch
// to a type of the API, or compares the name or the resource of a kind.
func asksForKind(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.TypeAssertExpr:
		return isAPIType(n.Type)
	case *ast.CaseClause:
		return slices.ContainsFunc(n.List, isAPIType)
	case *ast.BinaryExpr:
		return (n.Op == token.EQL || n.Op == token.NEQ) && (isKindName(n.X) || isKindName(n.Y))
	}
	return false
}

func isAPIType(e ast.Expr) bool {
	star, ok := e.(*ast.StarExpr)
	if !ok {
		return false
	}
	of, ok := star.X.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := of.X.(*ast.Ident)
	return ok && (pkg.Name == "corev1" || pkg.Name == "resourcev1")
}

// isKindName matches s.kind.resource and the like.
func isKindName(e ast.Expr) bool {
	field, ok := e.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"name", "resource", "group"}, field.Sel.Name) {
		return false
	}
	of, ok := field.X.(*ast.SelectorExpr)
	return ok && of.Sel.Name == "kind"
}
