// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/storage"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite/rules"
)

// TestReachBySubresource writes every field of spec and status, in every kind
// of request that is distinguished, and compares the fields sent to the host
// with the decisions of package rules: no request but one about the status
// sends any of it, and that one sends the tenant's part alone.
func TestReachBySubresource(t *testing.T) {
	both := []string{"create", "", "status"}
	for _, c := range []struct {
		resource string
		table    rules.Table
		requests []string
	}{
		{"pods", rules.Pod, append(both, "ephemeralcontainers", "resize", "binding", "eviction")},
		{"services", rules.Service, both},
		{"persistentvolumeclaims", rules.PersistentVolumeClaim, both},
		{claimsResource, rules.ResourceClaim, both},
	} {
		t.Run(c.resource, func(t *testing.T) {
			w := &writer{fixture: newFixture(t, c.resource, func(c *host.Config) { c.AllowBinding = true }), resource: c.resource}
			own := ownStatus(c.table)
			for _, sub := range c.requests {
				for _, part := range []string{"spec", "status"} {
					for _, field := range w.fields(part) {
						var want []string
						if part == "status" && (sub == "status" || sub == "eviction") && slices.Contains(own, field) {
							want = []string{field}
						}
						spec, status := w.send(sub, part, field)
						if !slices.Equal(status, want) {
							t.Errorf("%q of %s.%s: the host was sent the status %v, want %v", sub, part, field, status, want)
						}
						if part == "status" && sub != "create" && len(spec) > 0 || sub == "status" && len(spec) > 0 {
							t.Errorf("%q of %s.%s: the host was sent the spec %v, want none", sub, part, field, spec)
						}
					}
				}
			}
		})
	}
}

// ownStatus are the fields of a status of which a part is the tenant's.
func ownStatus(table rules.Table) []string {
	var own []string
	for _, d := range table.Reach {
		for _, p := range d.Paths {
			if d.Reach == rules.Own {
				own = append(own, strings.TrimPrefix(p, "status."))
			}
		}
	}
	return own
}

// writer writes objects of one resource, each under a name of its own.
type writer struct {
	*fixture
	resource string
	count    int
}

// fields are those of the spec or the status.
func (w *writer) fields(part string) []string {
	newFunc, _ := typesOf(w.resource)
	typ := structOf(newFunc(), part).Type()
	var names []string
	for i := range typ.NumField() {
		names = append(names, jsonName(typ.Field(i)))
	}
	return names
}

// send writes one field in a request, and returns the fields of spec and status
// that the host was sent. It may be refused.
func (w *writer) send(sub, part, field string) (spec, status []string) {
	w.t.Helper()
	newFunc, _ := typesOf(w.resource)
	v := newFunc()
	m, err := meta.Accessor(v)
	if err != nil {
		w.t.Fatal(err)
	}
	w.count++
	m.SetNamespace("demo")
	m.SetName(fmt.Sprint("x", w.count))
	key := "/" + w.resource + "/demo/" + m.GetName()
	if p, ok := v.(*corev1.Pod); ok && part == "status" {
		p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "x"}} // or no claim is named in the status
	}
	if sub == "create" {
		fillField(v, part, field)
		err = w.Create(w.t.Context(), key, v, newFunc(), 0)
	} else {
		if err := w.Create(w.t.Context(), key, v, newFunc(), 0); err != nil {
			w.t.Fatal(err)
		}
		w.host.writes()
		group := schema.ParseGroupResource(w.resource)
		ctx := request.WithRequestInfo(w.t.Context(), &request.RequestInfo{
			IsResourceRequest: true, APIGroup: group.Group, APIVersion: "v1", Resource: group.Resource, Subresource: sub,
		})
		err = w.GuaranteedUpdate(ctx, key, newFunc(), false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
			fillField(in, part, field)
			return in, nil
		}), nil)
	}
	if err != nil && !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) {
		w.t.Fatalf("%q of %s.%s: %v", sub, part, field, err)
	}
	return w.sent()
}

// sent takes the fields that were sent to the host.
func (w *writer) sent() (spec, status []string) {
	w.t.Helper()
	w.host.mu.Lock()
	defer w.host.mu.Unlock()
	for _, c := range w.host.calls {
		if c.verb != "POST" && c.verb != "PATCH" || c.subresource == "binding" {
			continue
		}
		var body struct{ Spec, Status map[string]any }
		if err := json.Unmarshal(c.body, &body); err != nil {
			w.t.Fatalf("%s: %v", c, err)
		}
		spec = append(spec, slices.Sorted(maps.Keys(body.Spec))...)
		for _, name := range slices.Sorted(maps.Keys(body.Status)) {
			if !strings.HasPrefix(name, "$") && !empty(body.Status[name]) {
				status = append(status, name)
			}
		}
	}
	w.host.calls = nil
	return spec, status
}

// empty reports whether a value is one that JSON has for nothing, as the load
// balancer of a new Service.
func empty(v any) bool {
	m, ok := v.(map[string]any)
	return ok && len(m) == 0
}

func structOf(v runtime.Object, part string) reflect.Value {
	return reflect.ValueOf(v).Elem().FieldByName(strings.ToUpper(part[:1]) + part[1:])
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// fillField gives one field of spec or status a value in all its parts.
func fillField(v runtime.Object, part, field string) {
	s := structOf(v, part)
	for i := range s.NumField() {
		if jsonName(s.Type().Field(i)) == field {
			fill(s.Field(i))
		}
	}
}

// fill sets everything below v. Text is the type of a condition that is the
// tenant's.
func fill(v reflect.Value) {
	switch v.Type() {
	case reflect.TypeFor[resource.Quantity]():
		v.Set(reflect.ValueOf(resource.MustParse("7")))
		return
	case reflect.TypeFor[metav1.Time]():
		v.Set(reflect.ValueOf(metav1.Unix(1e9, 0)))
		return
	case reflect.TypeFor[intstr.IntOrString]():
		v.Set(reflect.ValueOf(intstr.FromInt32(7)))
		return
	case reflect.TypeFor[runtime.RawExtension]():
		v.Set(reflect.ValueOf(runtime.RawExtension{Raw: []byte(`{"x":1}`)}))
		return
	case reflect.TypeFor[metav1.ObjectMeta]():
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("example.com/x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64, reflect.Uint8:
		v.Set(reflect.ValueOf(7).Convert(v.Type()))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(k)
		fill(e)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(k, e)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	}
}
