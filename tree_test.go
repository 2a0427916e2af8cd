// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package portico_test holds what is true of the tree as a whole.
package portico_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "portico.dev/portico/"

// forbidden says which imports the architecture rules out: packages under the
// first path must not import packages under the second, because of the third.
var forbidden = []struct{ of, imported, because string }{
	{"rewrite", "k8s.io/client-go", "rewrite is pure"},
	{"rewrite", "k8s.io/klog", "rewrite is pure"},
	{"rewrite", module, "rewrite is a leaf"},
	{"certs", module, "certs is a leaf"},
	{"store", module + "rewrite", "leaves do not know one another"},
	{"store", module + "proxy", "a leaf does not know its users"},
	{"proxy", module + "sync", "proxy and sync meet only in cmd"},
	{"proxy", module + "cmd", "nothing imports cmd"},
	{"proxy/door", "k8s.io/apiserver", "a gateway finds doors without an API server"},
	{"sync", module + "proxy", "proxy and sync meet only in cmd"},
	{"sync", module + "store", "sync speaks to the API"},
	{"sync", module + "cmd", "nothing imports cmd"},
	{"", module + "sync/internal/harness", "only tests use fixtures of tests"},
	{"", "k8s.io/kubernetes", "upstream's internals are relied on in two packages only"},
}

// allowed are the exceptions to forbidden.
var allowed = map[string][]string{
	"rewrite":          {module + "rewrite"},
	"proxy/apiserver":  {"k8s.io/kubernetes"},
	"sync/controllers": {"k8s.io/kubernetes"},
}

func TestImportsFollowTheArchitecture(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module)
		for _, imported := range fields[1:] {
			for _, f := range forbidden {
				if under(pkg, f.of) && under(imported, strings.TrimSuffix(f.imported, "/")) && !excepted(pkg, imported) {
					t.Errorf("%s imports %s: %s", pkg, imported, f.because)
				}
			}
		}
	}
}

// lean are packages that a command line tool can use: together with all that
// they import they link none of heavy.
var (
	lean  = []string{"./cmd/porticod/config", "./cmd/porticod/rights"}
	heavy = []string{"k8s.io/kubernetes", "k8s.io/apiserver", "github.com/k3s-io/kine", "github.com/mattn/go-sqlite3", "google.golang.org/grpc", "go.etcd.io"}
)

func TestLeanPackagesLinkNoServer(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps"}, lean...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for imported := range strings.Lines(string(out)) {
		for _, h := range heavy {
			if under(strings.TrimSpace(imported), h) {
				t.Errorf("%v link %s", lean, strings.TrimSpace(imported))
			}
		}
	}
}

func excepted(pkg, imported string) bool {
	for of, list := range allowed {
		for _, a := range list {
			if under(pkg, of) && under(imported, a) {
				return true
			}
		}
	}
	return false
}

func under(path, dir string) bool {
	return dir == "" || path == dir || strings.HasPrefix(path, dir+"/")
}

func TestEveryFileHasItsHeaderAndEveryPackageItsDoc(t *testing.T) {
	packages := map[string]bool{} // whether the package has a doc comment
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() && path != "." {
			// Modules of their own only pin tools.
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
				return fs.SkipDir
			}
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(content, []byte("// Copyright The Portico Authors\n// SPDX-License-Identifier: Apache-2.0\n\n")) {
			t.Errorf("%s lacks the license header", path)
		}
		if strings.HasSuffix(path, "_test.go") {
			return nil
		}
		dir := filepath.Dir(path)
		packages[dir] = packages[dir] || bytes.Contains(content, []byte("\n// Package ")) || bytes.Contains(content, []byte("\n// Command "))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, documented := range packages {
		if !documented {
			t.Errorf("package in %s has no package comment", dir)
		}
	}
}
