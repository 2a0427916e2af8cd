// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"portico.dev/portico/rewrite/rules"
)

var update = flag.Bool("update", false, "write the tables of docs/metadata.md instead of comparing them")

const (
	page = "../../docs/metadata.md"
	// mark begins the part of the page that is written from the tables.
	mark = "<!-- From here on: go test ./rewrite/rules -run TestPageOfMetadata -update -->\n"
)

// TestPageOfMetadata: docs/metadata.md lists exactly the keys in the tables,
// each with its treatment.
func TestPageOfMetadata(t *testing.T) {
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text, got, ok := bytes.Cut(content, []byte(mark))
	if !ok {
		t.Fatalf("%s has no tables", page)
	}
	want := tables()
	if *update {
		if err := os.WriteFile(page, slices.Concat(text, []byte(mark), want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got, want) {
		t.Errorf("docs/metadata.md does not have the tables of the code; run: go test ./rewrite/rules -run TestPageOfMetadata -update")
	}
}

func tables() []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, "\n## Keys that never reach the host\n\nOf no kind, and by no setting.\n\n")
	groups(&b, rules.NeverKeys)
	fmt.Fprint(&b, "\n## Keys that pass\n\nNothing else does, of these kinds, unless `metadata.allowed` has it.\n")
	for _, kind := range slices.Sorted(maps.Keys(rules.PassingKeys)) {
		fmt.Fprintf(&b, "\n### %s\n\n", kind)
		if len(rules.PassingKeys[kind]) == 0 {
			fmt.Fprintln(&b, "None.")
			continue
		}
		groups(&b, rules.PassingKeys[kind])
	}
	fmt.Fprint(&b, "\n## Keys of pods that do not pass\n\nAll others do.\n\n")
	groups(&b, rules.PodKeys)
	fmt.Fprint(&b, "\n## Keys of pods that pass with `hideNodeAnnotations: false` only\n\n")
	groups(&b, rules.NodeKeys)
	fmt.Fprint(&b, "\n## Annotations that the host writes\n\nA tenant reads the host's value, and writes its own to no effect while there is one.\n\n| kind | keys |\n|---|---|\n")
	for _, kind := range slices.Sorted(maps.Keys(rules.HostAnnotations)) {
		fmt.Fprintf(&b, "| %s | %s |\n", kind, quoted(rules.HostAnnotations[kind]))
	}
	return b.Bytes()
}

func groups(b *bytes.Buffer, list []rules.KeyGroup) {
	fmt.Fprint(b, "| for | keys | why |\n|---|---|---|\n")
	for _, g := range list {
		var keys []string
		for _, of := range []struct {
			name string
			keys []string
		}{{"", g.Keys}, {"labels: ", g.Labels}, {"annotations: ", g.Annotations}} {
			if len(of.keys) > 0 {
				keys = append(keys, of.name+quoted(of.keys))
			}
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", g.Name, strings.Join(keys, "; "), g.Reason)
	}
}

func quoted(keys []string) string { return "`" + strings.Join(keys, "`, `") + "`" }

// TestEveryGroupHasAReason: a table without reasons cannot be shortened later.
func TestEveryGroupHasAReason(t *testing.T) {
	all := slices.Concat(rules.NeverKeys, rules.PodKeys, rules.NodeKeys)
	for _, groups := range rules.PassingKeys {
		all = append(all, groups...)
	}
	for _, g := range all {
		if g.Name == "" || g.Reason == "" || len(g.Keys)+len(g.Labels)+len(g.Annotations) == 0 {
			t.Errorf("group %+v is not complete", g)
		}
		for _, k := range slices.Concat(g.Keys, g.Labels, g.Annotations) {
			if k == "" || k == "*" || strings.HasPrefix(k, "portico.dev/") {
				t.Errorf("%s has the entry %q", g.Name, k)
			}
		}
	}
}
