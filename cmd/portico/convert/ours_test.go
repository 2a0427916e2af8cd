// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"portico.dev/portico/cmd/porticod/config"
)

// TestPorticosKeysAreThoseOfItsConfiguration: the rows of Portico's own form
// follow the types that porticod reads.
func TestPorticosKeysAreThoseOfItsConfiguration(t *testing.T) {
	known := map[string]bool{}
	keysOf(known, "", reflect.TypeFor[config.Config]())
	for key := range known {
		if _, has := tables[FormPortico].rows[key]; !has {
			t.Errorf("no row for %s of the configuration", key)
		}
	}
	for _, r := range porticoRows {
		if !known[r.path] && !strings.HasPrefix(r.path, "controlPlane.") {
			t.Errorf("the row %s is no key of the configuration", r.path)
		}
	}
}

// TestConvertedValuesAreAccepted: porticod takes the values, except where the
// account says that it does not.
func TestConvertedValuesAreAccepted(t *testing.T) {
	for _, file := range slices.Concat(files(t, "seed"), files(t, "values")) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			got, err := Convert(read(t, file))
			if err != nil {
				t.Fatal(err)
			}
			values := copied(got.Values).(map[string]any)
			delete(values, "controlPlane") // the chart's own
			store(values, "name", "my-vcluster")
			store(values, "host.namespace", "portico-my-vcluster")
			content, err := yaml.Marshal(values)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "portico.yaml")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = config.Read(path)
			if slices.ContainsFunc(got.Missing, func(m Missing) bool { return m.Why == noTLS }) {
				if err == nil || !strings.Contains(err.Error(), "store.insecure") {
					t.Errorf("a store without TLS is not refused: %v", err)
				}
				return
			}
			if err != nil {
				t.Errorf("%v\n%s", err, content)
			}
		})
	}
}

// TestTheChartHasTheKeys: values lead to keys that are in the chart's own
// values, with the shape that they have there.
func TestTheChartHasTheKeys(t *testing.T) {
	chart, err := decode(read(t, "../../../charts/portico/values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range slices.Concat(tables[FormPortico].order, tables[FormNew].order, tables[FormOld].order) {
		if !strings.HasPrefix(r.to, "controlPlane.") || promised(chart, r.to) {
			continue
		}
		v := lookup(chart, r.to)
		if parent, ok := lookup(chart, r.to[:strings.LastIndexByte(r.to, '.')]).(map[string]any); !ok {
			t.Errorf("%s becomes %s, above which the chart has no map", r.path, r.to)
		} else if v, ok = parent[r.to[strings.LastIndexByte(r.to, '.')+1:]]; !ok {
			t.Errorf("%s becomes %s, which the chart does not have", r.path, r.to)
		}
		if r.rule == nil && !r.kind.fits(v) {
			t.Errorf("%s is %s, and the chart has %v for %s", r.path, r.kind, v, r.to)
		}
	}
}

// promised says whether a section of the chart is still to come.
func promised(chart map[string]any, path string) bool {
	for _, section := range []string{"controlPlane.etcd", "controlPlane.ingress", "controlPlane.networkPolicy", "controlPlane.podDisruptionBudget", "controlPlane.serviceMonitor", "controlPlane.spread"} {
		if (path == section || strings.HasPrefix(path, section+".")) && lookup(chart, section) == nil {
			return true
		}
	}
	return false
}

// keysOf adds the keys below a type, down to where rows look at nothing more.
func keysOf(known map[string]bool, path string, t reflect.Type) {
	if t.Kind() != reflect.Struct || strings.HasSuffix(path, ".selector") {
		known[path] = true
		return
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		keysOf(known, join(path, name), t.Field(i).Type)
	}
}
