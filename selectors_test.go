// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package portico_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// otherSelectors are the functions that make a selector without a key of
// portico.dev, and why they may: none of these alone selects objects of tenants, or
// of the cluster, on the host.
var otherSelectors = map[string]string{
	"cmd/porticod/app nodesPart":      "nodes of the host, by the operator's choice",
	"cmd/porticod/config Shown":       "classes of the host, by the operator's choice",
	"cmd/porticod/config Pods":        "pods of the one cluster, which were listed by its keys, by the operator's choice",
	"proxy/apiserver namespaceLabels": "virtual namespaces",
	"proxy/apiserver addIdentityHook": "virtual leases",
	"proxy/host nodeFor":              "a node of the host, by the operator's choice",
	"proxy/nodeproxy on":              "virtual pods",
	"proxy/resourcemetrics selectors": "virtual pods and nodes, by the tenant's choice",
	"rewrite LabelSelector":           "virtual trust bundles, by the tenant's choice",
	"rewrite trustBundle":             "virtual trust bundles, by the tenant's choice",
	"rewrite resolve":                 "virtual namespaces, by the tenant's choice",
	"rewrite matches":                 "the namespace and the pod that the DNS seems to be, by the tenant's choice",
	"rewrite selectorText":            "objects of the tenant's, by their choice; the keys of their namespace are added",
	"sync/endpoints enqueueService":   "virtual slices",
	"sync/mapservices newFromHost":    "slices of the one Service of the host that the operator maps",
	"sync/mapservices showSlices":     "virtual slices",
	"sync/mapservices wantedSlices":   "slices of the one Service of the host that the operator maps",
	"sync/policies selectors":         "as a translated policy does, which has keys of portico.dev",
	"sync/certificates Due":           "virtual pods",
	"sync/nap running":                "virtual Jobs",
	"sync/nap runs":                   "virtual CronJobs",
	"sync/tokens Due":                 "virtual pods",
	"sync/pause stopped":              "virtual pods of one virtual workload",
	"sync/nodes NewMirror":            "nodes of the host, by the operator's choice",
	"sync/variables want":             "virtual Services",
}

// ownKeys are the expressions for keys and sets of portico.dev.
var ownKeys = []string{
	"rewrite.Label", "LabelCluster", "LabelComposed", "LabelDoor", "LabelFromHost",
	"ScopeLabels()", "ScopeSelector()", "ClusterScope()", "NamespaceSelector(", ".labels()",
}

// makers are functions that make a label selector, by package.
var makers = map[string][]string{
	"labels": {"SelectorFromSet", "SelectorFromValidatedSet", "ValidatedSelectorFromSet", "Parse", "ParseToRequirements", "NewRequirement", "Everything"},
	"metav1": {"LabelSelectorAsSelector", "LabelSelectorAsMap", "ParseToLabelSelector"},
}

// TestAttackObjectWithTheRightLabels: a user of the host gives an object the labels
// that Kubernetes knows, and Portico takes it for its own: a door, say. Each
// selector in the source, of objects on the host, has a key of portico.dev; those
// that select something else are listed here with the reason.
func TestAttackObjectWithTheRightLabels(t *testing.T) {
	found := map[string]bool{}
	for _, dir := range []string{"proxy", "sync", "rewrite", "certs", "store", "cmd/porticod/app", "cmd/porticod/config"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			for _, s := range selectorsIn(t, path) {
				place := filepath.ToSlash(filepath.Dir(path)) + " " + s.function
				if slices.ContainsFunc(ownKeys, func(key string) bool { return strings.Contains(s.source, key) }) {
					continue
				}
				found[place] = true
				if otherSelectors[place] == "" {
					t.Errorf("%s: %s selects without a key of portico.dev: %s", path, s.function, s.source)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for place := range otherSelectors {
		if !found[place] {
			t.Errorf("%s makes no such selector any more; take it off the list", place)
		}
	}
}

// selector is one place in the source that makes a selector.
type selector struct{ function, source string }

func selectorsIn(t *testing.T, path string) []selector {
	t.Helper()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []selector
	for _, decl := range f.Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		ast.Inspect(function, func(n ast.Node) bool {
			if !makesSelector(n) {
				return true
			}
			var source bytes.Buffer
			if err := printer.Fprint(&source, set, n); err != nil {
				t.Fatal(err)
			}
			out = append(out, selector{function: function.Name.Name, source: source.String()})
			return true
		})
	}
	return out
}

// makesSelector reports whether a node is a call of one of makers, the selector of
// a Service, or the text of a selector in list options.
func makesSelector(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CallExpr:
		called, ok := n.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		pkg, ok := called.X.(*ast.Ident)
		return ok && slices.Contains(makers[pkg.Name], called.Sel.Name)
	case *ast.AssignStmt: // svc.Spec.Selector = map[string]string{...}
		to, ok := n.Lhs[0].(*ast.SelectorExpr)
		_, literal := n.Rhs[0].(*ast.CompositeLit)
		return ok && literal && to.Sel.Name == "Selector"
	case *ast.KeyValueExpr: // LabelSelector: "key=value", in whichever words
		key, ok := n.Key.(*ast.Ident)
		if !ok || key.Name != "LabelSelector" {
			return false
		}
		_, text := n.Value.(*ast.BasicLit)
		_, sum := n.Value.(*ast.BinaryExpr)
		return text || sum
	}
	return false
}
