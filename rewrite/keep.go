// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
)

// keep copies the host's present values into out, wherever the tenant changed
// nothing: where after, the tenant's object, equals seen, the tenant's view of
// host. All four are pointers to the same struct type. Lists whose elements
// have names are compared by element, and structs whose fields can change one
// by one, by field. The records of a field go with it; prefix is the key under
// which they are.
//
// It is applied by field and by element, never by value: a name that happens
// to stand on the host at one place gives no right to it at another.
func (c *translation) keep(s forms) {
	a, h, o := reflect.ValueOf(s.after).Elem(), reflect.ValueOf(s.host).Elem(), reflect.ValueOf(s.out).Elem()
	if apiequality.Semantic.DeepEqual(s.after, s.seen) {
		// Most updates are of metadata, or of a status.
		o.Set(h)
		c.overlay.adoptAll(c.prior, c.t.fields[a.Type()])
		return
	}
	c.keepStruct("", a, reflect.ValueOf(s.seen).Elem(), h, o)
}

// keepStruct is keep below a field; prefix is the key of that.
func (c *translation) keepStruct(prefix string, after, seen, host, out reflect.Value) {
	for i, f := range c.t.fields[after.Type()].list {
		if f.inlined {
			c.keepStruct(prefix, after.Field(i), seen.Field(i), host.Field(i), out.Field(i))
			continue
		}
		key := f.name
		if prefix != "" {
			key = prefix + "." + f.name
		}
		a, s, h, o := after.Field(i), seen.Field(i), host.Field(i), out.Field(i)
		switch {
		case apiequality.Semantic.DeepEqual(a.Interface(), s.Interface()):
			o.Set(h)
			c.overlay.adopt(c.prior, key)
		case f.named:
			c.keepElements(key, a, s, h, o)
		case f.fieldwise && !a.IsNil() && !s.IsNil() && !h.IsNil() && !o.IsNil():
			c.keepStruct(key, a.Elem(), s.Elem(), h.Elem(), o.Elem())
		}
	}
}

// keepElements is keep for a list whose elements have names. Element i of out
// was made from element i of after, not counting those that no tenant sees.
func (c *translation) keepElements(key string, after, seen, hostList, outList reflect.Value) {
	host, out := visibleElements(hostList), visibleElements(outList)
	if after.Len() != len(out) || seen.Len() != len(host) {
		return
	}
	for i := range after.Len() {
		a := after.Index(i)
		name := a.FieldByName("Name").String()
		for j := range seen.Len() {
			s := seen.Index(j)
			if s.FieldByName("Name").String() != name {
				continue
			}
			switch {
			case apiequality.Semantic.DeepEqual(a.Interface(), s.Interface()):
				out[i].Set(host[j])
				c.overlay.adopt(c.prior, element(key, name))
			case fieldwise(a.Type()):
				c.keepStruct(element(key, name), a, s, host[j], out[i])
			}
			break
		}
	}
}

// fieldwise reports whether a value can change by field: the image or the
// resources of a container, the node affinity of a pod that is not scheduled
// yet. Any other is replaced as a whole by the passes.
func fieldwise(typ reflect.Type) bool {
	return typ == reflect.TypeFor[corev1.Container]() || typ == reflect.TypeFor[corev1.EphemeralContainer]() ||
		typ == reflect.TypeFor[*corev1.Affinity]()
}

// named reports whether typ is a list of structs with a name.
func named(typ reflect.Type) bool {
	if typ.Kind() != reflect.Slice || typ.Elem().Kind() != reflect.Struct {
		return false
	}
	f, ok := typ.Elem().FieldByName("Name")
	return ok && f.Type.Kind() == reflect.String
}
