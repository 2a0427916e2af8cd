// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/attacks.md instead of comparing it")

const (
	root = "../.."
	page = root + "/docs/attacks.md"
)

// attackers are the sections of the page, by the place of a test.
var attackers = []struct{ prefix, title string }{
	{"test/attacks/admin", "The tenant's administrator"},
	{"test/attacks/pod", "A pod of the tenant"},
	{"test/attacks/neighbour", "A neighbour on the host"},
	{"test/attacks/hostreader", "A reader of the host namespace"},
	{"test/e2e/", "With a real kubelet"},
	{"rewrite/", "Against the translation"},
	{"", "Against single parts"},
}

// attack is one test that plays an attacker.
type attack struct{ name, comment, file string }

// TestPageOfAttacks: docs/attacks.md lists every attack of the tree, and every
// attack describes its attempt.
func TestPageOfAttacks(t *testing.T) {
	all := findAttacks(t)
	want := render(all)
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("docs/attacks.md does not list the attacks of the tree; run: go test ./test/attacks -run TestPageOfAttacks -update")
	}
}

// findAttacks returns all tests of the tree that are named after an attack.
func findAttacks(t *testing.T) []attack {
	t.Helper()
	var all []attack
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "TestAttack") {
				continue
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			a := attack{name: fn.Name.Name, comment: sentence(fn), file: filepath.ToSlash(rel)}
			if a.comment == "" {
				t.Errorf("%s in %s has no comment: say what the attacker tries and what must happen", a.name, a.file)
			}
			all = append(all, a)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b attack) int { return strings.Compare(a.file+a.name, b.file+b.name) })
	return all
}

// sentence is the comment of a test in one line, without the test's own name.
func sentence(fn *ast.FuncDecl) string {
	s := strings.Join(strings.Fields(fn.Doc.Text()), " ")
	s = strings.TrimLeft(strings.TrimPrefix(s, fn.Name.Name), ": ")
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// words are those of a test's name, in lower case but for abbreviations.
func words(name string) string {
	var all []string
	start := 0
	for i := 1; i <= len(name); i++ {
		upper := func(i int) bool { return i < len(name) && name[i] >= 'A' && name[i] <= 'Z' }
		switch {
		case i == len(name), upper(i) && !upper(i-1), upper(i) && i+1 < len(name) && !upper(i+1):
			w := name[start:i]
			if len(w) < 2 || strings.ToUpper(w) != w {
				w = strings.ToLower(w)
			}
			all, start = append(all, w), i
		}
	}
	return strings.ReplaceAll(strings.Join(all, " "), "i ps", "IPs")
}

func render(all []attack) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Attacks that are tried with every change

%d tests play an attacker. This page is written from their names and comments
(`+"`go test ./test/attacks -run TestPageOfAttacks -update`"+`);
[SECURITY.md](../SECURITY.md) lists the measures that they test.
`, len(all))
	for i, section := range attackers {
		var rows []attack
		for _, a := range all {
			if sectionOf(a.file) == i {
				rows = append(rows, a)
			}
		}
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n| attack | the attempt, and its end | test |\n|---|---|---|\n", section.title)
		for _, a := range rows {
			fmt.Fprintf(&b, "| %s | %s | `%s` |\n", words(strings.TrimPrefix(a.name, "TestAttack")), strings.ReplaceAll(a.comment, "|", `\|`), a.file)
		}
	}
	return b.Bytes()
}

func sectionOf(file string) int {
	return slices.IndexFunc(attackers, func(s struct{ prefix, title string }) bool { return strings.HasPrefix(file, s.prefix) })
}
