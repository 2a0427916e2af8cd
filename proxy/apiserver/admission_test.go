// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/kubernetes/pkg/kubeapiserver/options"
)

var update = flag.Bool("update", false, "write the table of docs/admission.md instead of comparing it")

// TestEveryPluginIsDecided: a plugin that upstream adds needs a decision here, for
// it may ask for objects that live on the host.
func TestEveryPluginIsDecided(t *testing.T) {
	want := sets.New(options.AllOrderedPlugins...).Difference(options.DefaultOffAdmissionPlugins())
	for name, p := range plugins {
		if p.added {
			if want.Has(name) {
				t.Errorf("%s runs upstream by default, and need not be added", name)
			}
			want.Insert(name)
		}
		if p.asks == "" || p.why == "" || p.added && p.off {
			t.Errorf("the row of %s is not complete: %+v", name, p)
		}
	}
	if diff := cmp.Diff(sets.List(want), slices.Sorted(maps.Keys(plugins))); diff != "" {
		t.Errorf("plugins (-upstream +table):\n%s", diff)
	}
}

// TestPageOfAdmission: docs/admission.md has the table.
func TestPageOfAdmission(t *testing.T) {
	const page, mark = "../../docs/admission.md", "<!-- From here on: go test ./proxy/apiserver -run TestPageOfAdmission -update -->\n"
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text, got, ok := bytes.Cut(content, []byte(mark))
	if !ok {
		t.Fatalf("%s has no table", page)
	}
	var want bytes.Buffer
	fmt.Fprint(&want, "\n| plugin | looks at | runs inside | why |\n|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(plugins)) {
		runs := "yes"
		if plugins[name].off {
			runs = "no"
		}
		fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", name, plugins[name].asks, runs, plugins[name].why)
	}
	if *update {
		if err := os.WriteFile(page, slices.Concat(text, []byte(mark), want.Bytes()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s does not have the table of the code; run: go test ./proxy/apiserver -run TestPageOfAdmission -update", page)
	}
}
