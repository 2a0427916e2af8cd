// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files and the page's tables instead of comparing them")

// files are the values files of a directory of testdata.
func files(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join("testdata", dir, "*.yaml"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	return list
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// golden compares a rendered result with the text next to its file.
func golden(t *testing.T, file, got string) {
	t.Helper()
	beside := strings.TrimSuffix(file, ".yaml") + ".txt"
	if *update {
		if err := os.WriteFile(beside, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(read(t, beside)), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFilesOfTheSeed: the values files of the article that Portico was built
// after, as they stand there.
func TestFilesOfTheSeed(t *testing.T) { testFiles(t, "seed") }

func TestFiles(t *testing.T) { testFiles(t, "values") }

func testFiles(t *testing.T, dir string) {
	for _, file := range files(t, dir) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			got, err := Convert(read(t, file))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, file, render(t, got))
		})
	}
}

func render(t *testing.T, r Result) string {
	t.Helper()
	values, err := yaml.Marshal(r.Values)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n# mapped\n", r.Form, values)
	for _, m := range r.Mapped {
		fmt.Fprintf(&b, "%s -> %s", m.From, m.To)
		if m.Note != "" {
			fmt.Fprintf(&b, " (%s)", m.Note)
		}
		b.WriteByte('\n')
	}
	b.WriteString("\n# missing\n")
	for _, m := range r.Missing {
		fmt.Fprintf(&b, "%s: %s\n", m.Path, m.Why)
	}
	fmt.Fprintf(&b, "\n# needless\n%s\n", strings.Join(r.Needless, "\n"))
	return b.String()
}

func TestMistakes(t *testing.T) {
	for _, file := range files(t, "errors") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			got, err := Convert(read(t, file))
			if err == nil {
				t.Fatalf("no error; got %+v", got)
			}
			if got.Values != nil {
				t.Errorf("values %v together with an error", got.Values)
			}
			golden(t, file, err.Error()+"\n")
		})
	}
}

// TestEveryKeyIsAccountedFor: nothing that is in a file is silently dropped.
func TestEveryKeyIsAccountedFor(t *testing.T) {
	for _, file := range slices.Concat(files(t, "seed"), files(t, "values")) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content := read(t, file)
			got, err := Convert(content)
			if err != nil {
				t.Fatal(err)
			}
			var told []string
			for _, m := range got.Mapped {
				told = append(told, m.From)
			}
			for _, m := range got.Missing {
				told = append(told, m.Path)
			}
			told = append(told, got.Needless...)
			in, err := decode(content)
			if err != nil {
				t.Fatal(err)
			}
			for _, leaf := range leaves("", in) {
				if got.Form == FormPortico && cmp.Equal(lookup(in, leaf), lookup(got.Values, leaf)) {
					continue // as it is
				}
				if !slices.ContainsFunc(told, func(p string) bool {
					return p == leaf || strings.HasPrefix(leaf, p+".") || strings.HasPrefix(p, leaf+"[")
				}) {
					t.Errorf("%s is neither mapped nor missing nor needless", leaf)
				}
			}
		})
	}
}

func leaves(path string, v any) []string {
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		if path == "" {
			return nil
		}
		return []string{path}
	}
	var all []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, leaves(join(path, key), m[key])...)
	}
	return all
}

// TestDefaultsAskForNothing: people copy whole files. Values that were never
// chosen must not bury those that were.
func TestDefaultsAskForNothing(t *testing.T) {
	for _, name := range []string{"new-defaults", "old-defaults"} {
		got, err := Convert(read(t, filepath.Join("testdata", "values", name+".yaml")))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range got.Missing {
			// The version is another in each of their releases, so it cannot be
			// distinguished from one that was chosen.
			if m.Path != "controlPlane.distro.k8s.image.tag" {
				t.Errorf("%s: %s is missing: %s", name, m.Path, m.Why)
			}
		}
	}
}

// TestEveryRowHasAPair: each row is shown at work in testdata with a value that
// asks for something.
func TestEveryRowHasAPair(t *testing.T) {
	shown := map[Form]map[string]bool{FormPortico: {}, FormNew: {}, FormOld: {}}
	for _, file := range slices.Concat(files(t, "seed"), files(t, "values")) {
		got, err := Convert(read(t, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range got.Mapped {
			shown[got.Form][m.From] = true
		}
		for _, m := range got.Missing {
			shown[got.Form][m.Path] = true
		}
		if strings.Contains(file, "defaults") {
			continue
		}
		for _, p := range got.Needless {
			shown[got.Form][p] = true
		}
	}
	for _, form := range []Form{FormNew, FormOld} {
		for _, r := range tables[form].order {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(shown[form])), func(p string) bool {
				return p == r.path || strings.HasPrefix(p, r.path+"[") || strings.HasPrefix(p, r.path+".")
			}) {
				t.Errorf("%s: no file of testdata has %s", form, r.path)
			}
		}
	}
}

// TestTablesAreWhole: no row is there twice, none is below another, and each
// leads to a key that Portico has.
func TestTablesAreWhole(t *testing.T) {
	for form, table := range tables {
		if len(table.rows) != len(table.order) {
			t.Errorf("%s: %d rows have %d paths", form, len(table.order), len(table.rows))
		}
		for _, r := range table.order {
			if table.isSection(r.path) {
				t.Errorf("%s: there are rows below the row %s", form, r.path)
			}
			if r.to == "" && r.note == "" {
				t.Errorf("%s: %s does not say why it has no counterpart", form, r.path)
			}
			if r.to != "" && !tables[FormPortico].has(r.to) {
				t.Errorf("%s: %s becomes %s, which Portico does not have", form, r.path, r.to)
			}
			if r.when != "" {
				if _, has := table.rows[r.when]; !has {
					t.Errorf("%s: %s depends on %s, which is no row", form, r.path, r.when)
				}
			}
		}
	}
}

// has says whether a path is a key of the form, a section, or below a key.
func (t *table) has(path string) bool {
	if t.isSection(path) {
		return true
	}
	for path != "" {
		if _, has := t.rows[path]; has {
			return true
		}
		path = path[:max(strings.LastIndexByte(path, '.'), 0)]
	}
	return false
}

// TestConvertedValuesStayAsTheyAre: the result is in Portico's form.
func TestConvertedValuesStayAsTheyAre(t *testing.T) {
	for _, file := range slices.Concat(files(t, "seed"), files(t, "values")) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			once, err := Convert(read(t, file))
			if err != nil {
				t.Fatal(err)
			}
			out, err := yaml.Marshal(once.Values)
			if err != nil {
				t.Fatal(err)
			}
			twice, err := Convert(out)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(once.Values, twice.Values); diff != "" {
				t.Errorf("(-once +twice):\n%s", diff)
			}
			if twice.Form != FormPortico || len(twice.Mapped)+len(twice.Missing) > 0 {
				t.Errorf("is taken for %s, with %v and %v", twice.Form, twice.Mapped, twice.Missing)
			}
		})
	}
}

// TestEveryKindOfValue: for any value of a key, the answer is an account or an
// error that has the path.
func TestEveryKindOfValue(t *testing.T) {
	values := []any{
		nil, true, false, int64(0), int64(7), 1.5, "", "text", []any{}, []any{"a"}, []any{nil}, []any{int64(1)}, []any{map[string]any{}},
		map[string]any{}, map[string]any{"enabled": true}, map[string]any{"enabled": nil}, map[string]any{"a": []any{nil}},
	}
	for form, table := range tables {
		for _, r := range table.order {
			for _, v := range values {
				c := &conversion{in: map[string]any{}, result: Result{Form: form, Values: map[string]any{}}, origin: map[string]string{}}
				store(c.in, r.path, v)
				if r.when != "" {
					store(c.in, r.when, true)
				}
				if form == FormPortico {
					store(c.result.Values, r.path, v)
				}
				if err := r.apply(c, v); err != nil {
					if !strings.Contains(err.Error(), r.path) {
						t.Errorf("%s: %v is refused for %s with %v, without the path", form, v, r.path, err)
					}
					continue
				}
				asIs := form == FormPortico && cmp.Equal(lookup(c.result.Values, r.path), v)
				if len(c.result.Mapped)+len(c.result.Missing)+len(c.result.Needless) == 0 && !asIs {
					t.Errorf("%s: %v for %s is nowhere", form, v, r.path)
				}
			}
		}
	}
}

// TestPorticosOwnValuesPassUnchanged: also those that are empty.
func TestPorticosOwnValuesPassUnchanged(t *testing.T) {
	const in = "coredns: {enabled: false, upstream: []}\nstore: {}\nimages: null\npods: null\ncontrolPlane: {tolerations: null, resources: {}, replicas: 0}\nlogLevel: 0\n"
	want, err := decode([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Convert([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Result{Form: FormPortico, Values: want}, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNoCredentialIsTold: results are printed and errors are logged, so neither
// has a credential in it.
func TestNoCredentialIsTold(t *testing.T) {
	seen := 0
	for _, file := range slices.Concat(files(t, "values"), files(t, "errors")) {
		content := read(t, file)
		seen += bytes.Count(content, []byte("not-to-be"))
		got, err := Convert(content)
		told := fmt.Sprint(err)
		if err == nil {
			told = render(t, got)
		}
		if strings.Contains(told, "not-to-be") || strings.Contains(told, "shown@") {
			t.Errorf("%s: a credential is in\n%s", file, told)
		}
	}
	if seen < 5 {
		t.Errorf("only %d credentials were tried", seen)
	}
}

// TestAddressesOfStores: no part of a password is in an address, even with odd
// characters.
func TestAddressesOfStores(t *testing.T) {
	for source, want := range map[string]struct {
		user     string
		password bool
		address  string
		ok       bool
	}{
		"db.example/a":                      {"", false, "db.example/a", true},
		"u@db.example/a":                    {"u", false, "db.example/a", true},
		"u:p@db.example/a":                  {"u", true, "db.example/a", true},
		"u:p@:/?x@tcp(db:3306)/a?timeout=1": {"u", true, "tcp(db:3306)/a?timeout=1", true},
		"u:@db/a":                           {"u", true, "db/a", true},
		"u:p@q?x@db/a":                      {},
		"u@db/a?password=p":                 {},
		"u@db/a?user=a&sslPassword=p":       {},
	} {
		user, password, address, ok := credentials(source)
		if user != want.user || password != want.password || address != want.address || ok != want.ok {
			t.Errorf("%s: got %q, %v, %q, %v", source, user, password, address, ok)
		}
	}
}
