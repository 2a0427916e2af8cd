// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package portico_test holds the rules of the tree as a whole.
package portico_test

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	{"store", module + "sync", "a leaf does not know its users"},
	{"store", module + "cmd", "nothing imports cmd"},
	{"store", "k8s.io/apiserver", "tests of the store build in seconds"},
	{"proxy", module + "sync", "proxy and sync meet only in cmd"},
	{"proxy", module + "cmd", "nothing imports cmd"},
	{"proxy/tracing", module, "tracing knows none of the parts that it shows"},
	{"proxy/door", "k8s.io/apiserver", "a gateway finds doors without an API server"},
	{"proxy/gateway", module + "proxy", "a gateway knows doors by their Services alone"},
	{"sync", module + "proxy", "proxy and sync meet only in cmd"},
	{"sync", module + "store", "sync speaks to the API"},
	{"sync", module + "cmd", "nothing imports cmd"},
	{"sync", module + "sync", "parts of sync do not know one another"},
	{"cmd/portico/convert", "k8s.io", "convert is pure"},
	{"cmd/portico/convert", module, "convert is pure"},
	{"", module + "sync/internal/harness", "only tests use fixtures of tests"},
	{"", "k8s.io/kubernetes", "upstream's internals are relied on in two packages only"},
}

// allowed are the exceptions to forbidden.
var allowed = map[string][]string{
	"rewrite":             {module + "rewrite"},
	"proxy/apiserver":     {"k8s.io/kubernetes"},
	"cmd/portico/convert": {module + "cmd/internal/suggest"},
	"store/storetest":     {"k8s.io/apiserver"}, // upstream's suites
	"sync":                {module + "sync/internal", module + "sync/kinds"},
	"sync/controllers":    {"k8s.io/kubernetes"},
	"sync/nodes":          {module + "sync/occupancy"},
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
	lean  = []string{"./cmd/portico/convert", "./cmd/porticod/config", "./cmd/porticod/rights", "./cmd/portico-gateway"}
	heavy = []string{"k8s.io/kubernetes", "k8s.io/apiserver", "github.com/k3s-io/kine", "github.com/mattn/go-sqlite3", "google.golang.org/grpc", "go.etcd.io"}
)

func TestLeanPackagesLinkNoServer(t *testing.T) {
	linksNone(t, lean, heavy)
}

// The command line tool links no server either, and no store. Helm makes one
// exception: a table of deprecated API versions, which is a leaf of the API
// server's module.
func TestTheCommandLineToolLinksNoServer(t *testing.T) {
	linksNone(t, []string{"./cmd/portico"}, append([]string{module + "store", module + "cmd/porticod"}, heavy...),
		"k8s.io/apiserver/pkg/endpoints/deprecation")
}

// linksNone fails for each package under one of the heavy ones that the
// packages link, but for the exceptions.
func linksNone(t *testing.T, packages, heavy []string, exceptions ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps"}, packages...)...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := c.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for imported := range strings.Lines(string(out)) {
		imported = strings.TrimSpace(imported)
		for _, h := range heavy {
			if under(imported, strings.TrimSuffix(h, "/")) && !slices.Contains(exceptions, imported) {
				t.Errorf("%v link %s", packages, imported)
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
	for path, content := range goFiles(t) {
		if !bytes.HasPrefix(content, []byte("// Copyright The Portico Authors\n// SPDX-License-Identifier: Apache-2.0\n\n")) {
			t.Errorf("%s lacks the license header", path)
		}
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		dir := filepath.Dir(path)
		packages[dir] = packages[dir] || bytes.Contains(content, []byte("\n// Package ")) || bytes.Contains(content, []byte("\n// Command "))
	}
	for dir, documented := range packages {
		if !documented {
			t.Errorf("package in %s has no package comment", dir)
		}
	}
}

// A reader finds each file of a package on the map in its doc.go, and each file
// that the map names. A package of one file needs no map.
func TestEveryFileIsOnItsMap(t *testing.T) {
	files := goFiles(t)
	listed := map[string][]string{} // by directory, the files on its map
	for path, content := range files {
		if filepath.Base(path) != "doc.go" {
			continue
		}
		dir := filepath.Dir(path)
		listed[dir] = onMap(string(content))
		for _, name := range listed[dir] {
			if there := slices.ContainsFunc(slices.Collect(maps.Keys(files)), func(file string) bool {
				return filepath.Dir(file) == dir && matches(name, filepath.Base(file))
			}); !there {
				t.Errorf("the map of %s has %s, which is not there", dir, name)
			}
		}
	}
	for path := range files {
		dir, name := filepath.Split(path)
		dir = filepath.Clean(dir)
		if strings.HasSuffix(name, "_test.go") || name == "doc.go" {
			continue
		}
		onIt := slices.ContainsFunc(listed[dir], func(entry string) bool { return matches(entry, name) })
		if !onIt && (listed[dir] != nil || !alone(files, path)) {
			t.Errorf("%s is not on the map of its package", path)
		}
	}
}

// matches reports whether an entry of a map, such as detach_*.go, is for a file.
func matches(entry, file string) bool {
	ok, err := filepath.Match(entry, file)
	return ok && err == nil
}

// alone reports whether a file is its package, apart from tests.
func alone(files map[string][]byte, path string) bool {
	for other := range files {
		if other != path && filepath.Dir(other) == filepath.Dir(path) && !strings.HasSuffix(other, "_test.go") {
			return false
		}
	}
	return true
}

var goName = regexp.MustCompile(`[\w.*-]+\.go\b`)

// onMap returns the files that a package comment names under "# Map".
func onMap(doc string) []string {
	_, after, found := strings.Cut(doc, "\n// # Map\n")
	if !found {
		return nil
	}
	section, _, _ := strings.Cut(after, "\n// # ")
	section, _, _ = strings.Cut(section, "\npackage ")
	return goName.FindAllString(section, -1)
}

func TestOnMapReadsTheMapOnly(t *testing.T) {
	doc := "// Package p is like old.go.\n//\n// # Map\n//\n//\ta.go, b_c.go  two files\n//\td_test.go     a test\n//\te_*.go        others\n//\n// # More\n//\n// See gone.go.\npackage p\n"
	if got, want := onMap(doc), []string{"a.go", "b_c.go", "d_test.go", "e_*.go"}; !slices.Equal(got, want) {
		t.Errorf("on the map are %v, want %v", got, want)
	}
	if got := onMap("// Package p has a.go.\npackage p\n"); got != nil {
		t.Errorf("on no map are %v", got)
	}
}

// goFiles returns the Go files of the module by path, without test data.
func goFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
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
		files[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
