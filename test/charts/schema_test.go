// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/charts"
	"portico.dev/portico/cmd/porticod/config"
)

// TestSchemaFollowsTheTypes: values.schema.json is written by this test.
func TestSchemaFollowsTheTypes(t *testing.T) {
	want, err := schema()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("..", "..", "charts", "portico", "values.schema.json")
	got, err := os.ReadFile(file)
	if err != nil && !*update {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d == "" {
		return
	} else if !*update {
		t.Fatalf("%s is out of date; go test ./test/charts -update writes it again (-want +got):\n%s", file, d)
	}
	if err := os.WriteFile(file, want, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestValuesHaveEveryKey: values.yaml is the documentation of controlPlane, so
// it has all of it and nothing else.
func TestValuesHaveEveryKey(t *testing.T) {
	content, err := fs.ReadFile(charts.Portico, "portico/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]map[string]any
	if err := yaml.UnmarshalStrict(content, &values); err != nil {
		t.Fatal(err)
	}
	var want []string
	config.SchemaOf(reflect.TypeFor[controlPlane](), func(path string, _ map[string]any) bool {
		if !strings.ContainsAny(path, "[{") && !strings.HasPrefix(path, "tolerations[") {
			want = append(want, path)
		}
		return true
	})
	got := pathsOf(values["controlPlane"], "", want)
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" || len(values) != 1 {
		t.Errorf("values.yaml has %d sections; controlPlane (-types +values.yaml):\n%s", len(values), d)
	}
	for path := range limits {
		if !slices.Contains(want, path) {
			t.Errorf("limits has %s, which is no value", path)
		}
	}
}

// pathsOf returns the paths in values, down to those that are known: paths
// below them are free.
func pathsOf(values map[string]any, prefix string, known []string) []string {
	var all []string
	for name, v := range values {
		path := prefix + name
		all = append(all, path)
		deeper := slices.ContainsFunc(known, func(k string) bool { return strings.HasPrefix(k, path+".") })
		if m, ok := v.(map[string]any); ok && deeper {
			all = append(all, pathsOf(m, path+".", known)...)
		}
	}
	return all
}

// TestSchemaRefuses values that porticod would refuse, or that would change
// nothing.
func TestSchemaRefuses(t *testing.T) {
	for name, c := range map[string]struct{ values, want string }{
		"a key that nobody knows":        {"sync: {nodez: {enabled: true}}", "nodez"},
		"a key of the chart's own":       {"controlPlane: {replica: 2}", "replica"},
		"a key that the chart sets":      {"host: {namespace: other}", "namespace"},
		"the replicas of the file":       {"replicas: 2", "replicas"},
		"a key of another generation":    {"syncer: {extraArgs: []}", "syncer"},
		"a word where a number is meant": {"logLevel: high", "logLevel"},
		"a mode that does not exist":     {"coredns: {mode: kube}", "embedded"},
		"a type of Service":              {"controlPlane: {service: {type: ExternalName}}", "ClusterIP"},
		"a toleration's misspelt key":    {"controlPlane: {tolerations: [{keys: a}]}", "keys"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := refused(t, "demo", c.values)
			if !strings.Contains(got, "schema") || !strings.Contains(got, c.want) {
				t.Errorf("refused with %q, want %q", got, c.want)
			}
		})
	}
}
