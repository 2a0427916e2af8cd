// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/rules"
)

// TestEveryRowWorks makes for each row of the tables an object that has only
// that field, and checks its translation.
func TestEveryRowWorks(t *testing.T) {
	tr := mustNew(t, rewrite.Cluster{Name: "my-vcluster", HostNamespace: "team-a", ResourceClaims: true, VolumeDrivers: []string{rewrite.Everything}})
	for typ, table := range guarded {
		for _, rule := range table.Rules {
			for _, path := range alternatives(rule.Path) {
				t.Run(table.Kind+"/"+path, func(t *testing.T) {
					v := reflect.New(typ).Interface().(runtime.Object)
					m, err := meta.Accessor(v)
					if err != nil {
						t.Fatal(err)
					}
					m.SetNamespace("demo")
					m.SetName("o")
					switch rule.Action {
					case rules.Reference:
						checkRow(t, tr, v, path, "thing", tr.Name("demo", "thing"))
					case rules.FieldPath:
						checkRow(t, tr, v, path, "metadata.name", "metadata.annotations['portico.dev/name']")
					case rules.Text:
						h := toHost(t, tr, v, rewrite.Inputs{})
						setAt(t, h, path, tr.Name("demo", "o")+" failed")
						if got := getAt(t, toVirtual(t, tr, h), path); got != "o failed" {
							t.Errorf("the tenant reads %q", got)
						}
					case rules.Pass:
						// By the tests of the pass.
					}
				})
			}
		}
	}
}

func checkRow(t *testing.T, tr *rewrite.Translator, v runtime.Object, path, virtual, host string) {
	t.Helper()
	setAt(t, v, path, virtual)
	h := toHost(t, tr, v, rewrite.Inputs{})
	if got := getAt(t, h, path); got != host {
		t.Errorf("on the host it is %q, want %q", got, host)
	}
	if got := getAt(t, toVirtual(t, tr, h), path); got != virtual {
		t.Errorf("turned back it is %q, want %q", got, virtual)
	}
	setAt(t, h, path, "changed-by-the-host")
	if got := getAt(t, toVirtual(t, tr, h), path); got != "changed-by-the-host" {
		t.Errorf("changed by the host it is shown as %q", got)
	}
}

// at returns the field of a path, in the last element of every list, and makes
// all that leads to it: one element, the target of every pointer.
func at(t *testing.T, o any, path string) reflect.Value {
	t.Helper()
	v := reflect.ValueOf(o).Elem()
	for path != "" {
		for v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		path = strings.TrimPrefix(path, ".")
		if rest, ok := strings.CutPrefix(path, "[]"); ok {
			if v.Len() == 0 {
				v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			}
			v, path = v.Index(v.Len()-1), rest
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			end = len(path)
		}
		v, path = field(t, v, path[:end]), path[end:]
	}
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	return v
}

func field(t *testing.T, v reflect.Value, name string) reflect.Value {
	t.Helper()
	for _, f := range reflect.VisibleFields(v.Type()) {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name {
			return v.FieldByIndex(f.Index)
		}
	}
	t.Fatalf("%s has no field %s", v.Type(), name)
	return reflect.Value{}
}

func setAt(t *testing.T, o any, path, s string) {
	t.Helper()
	if m, key, ok := strings.Cut(path, "['"); ok {
		at(t, o, m).Set(reflect.ValueOf(map[string]string{strings.TrimSuffix(key, "']"): s}))
		return
	}
	at(t, o, path).SetString(s)
}

func getAt(t *testing.T, o any, path string) string {
	t.Helper()
	if m, key, ok := strings.Cut(path, "['"); ok {
		return at(t, o, m).MapIndex(reflect.ValueOf(strings.TrimSuffix(key, "']"))).String()
	}
	return at(t, o, path).String()
}

// TestRestoredStatusNeedsNoSpec: a status without the spec it belongs to, as a
// tool of the host may write it, is no reason to fail.
func TestRestoredStatusNeedsNoSpec(t *testing.T) {
	tr := mustNew(t, testCluster())
	h := toHost(t, tr, pod("demo", "p", nil), rewrite.Inputs{}).(*corev1.Pod)
	h.Spec = corev1.PodSpec{}
	h.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "nobody", Image: "i"}}
	if _, err := tr.PodToVirtual(h); err != nil {
		t.Error(err)
	}
}
