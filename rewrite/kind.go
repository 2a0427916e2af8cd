// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"portico.dev/portico/rewrite/rules"
)

// object is a pointer to an API object.
type object interface {
	metav1.Object
	metav1.ObjectMetaAccessor
	runtime.Object
}

// kind is a kind that lives on the host, with the parts of a translation that
// differ by kind.
type kind[T object] struct {
	group string
	name  string
	// validate lists the values that a tenant may not write. It may be nil.
	validate func(T) field.ErrorList
	// admit lists the values of v that a tenant may not add to seen, which is
	// nil for a new object. It may be nil.
	admit func(c *translation, v, seen T) field.ErrorList
	// translate turns h, a copy of v with host metadata, into the host object.
	translate func(c *translation, h, v T)
	// restore makes of v, a copy of h with virtual metadata, the virtual
	// object.
	restore func(c *restoration, v, h T)
	// status are the parts of the status that are the tenant's.
	status []rules.StatusRule
}

// hostOf translates v: it translates, keeps and seals (see the package's doc).
func (k kind[T]) hostOf(t *Translator, v T, in Inputs) (T, error) {
	var none T
	if k.validate != nil {
		if err := invalid(schema.GroupKind{Group: k.group, Kind: k.name}, v.GetName(), k.validate(v)); err != nil {
			return none, err
		}
	}
	c := t.begin(k.name, v, in)
	h := v.DeepCopyObject().(T)
	if was, ok := in.Host.(T); ok {
		if err := k.over(c, h, v, was); err != nil {
			return none, err
		}
	} else {
		if err := k.refuse(c, v, none); err != nil {
			return none, err
		}
		c.metadata(metaOf(h), nil)
		k.translate(c, h, v)
		zero(part(h, "Status")) // as the host's own registry would
	}
	if err := c.seal(metaOf(h)); err != nil {
		return none, err
	}
	return h, nil
}

// over translates v into h where host is on the host already. h ends up with
// parts of host in it.
func (k kind[T]) over(c *translation, h, v, host T) error {
	opened, err := c.t.open(k.name, host)
	if err != nil {
		return err
	}
	seen, known := c.in.Seen.(T)
	if !known {
		seen = k.restored(opened, host)
	}
	c.prior, c.sealed = opened.overlay, host.GetAnnotations()[AnnotationOverlay]
	if err := k.refuse(c, v, seen); err != nil {
		return err
	}
	c.metadata(metaOf(h), &hostMeta{host: metaOf(host), seen: metaOf(seen)})
	k.translate(c, h, v)
	spec, status := formsOf("Spec", v, seen, host, h), formsOf("Status", v, seen, host, h)
	c.keep(spec)
	c.generation(h, host, spec)
	c.status(k.status, status)
	c.shown(k.status, status)
	return nil
}

// refuse makes the Status 422 for values that the tenant may not add.
func (k kind[T]) refuse(c *translation, v, seen T) error {
	if k.admit == nil {
		return nil
	}
	return invalid(schema.GroupKind{Group: k.group, Kind: k.name}, v.GetName(), k.admit(c, v, seen))
}

// virtualOf turns h back. With a *CorruptOverlayError the object is usable.
func (k kind[T]) virtualOf(t *Translator, h T) (T, error) {
	c, err := t.open(k.name, h)
	if err != nil {
		var none T
		return none, err
	}
	v := k.restored(c, h)
	return v, c.err(h.GetName())
}

// restored is the virtual object that h is, of which c is the restoration.
func (k kind[T]) restored(c *restoration, h T) T {
	v := h.DeepCopyObject().(T)
	c.metadata(metaOf(v))
	k.restore(c, v, h)
	c.generation(v)
	c.shown(k.status, part(v, "Status"), part(h, "Status"))
	return v
}

func metaOf(o metav1.ObjectMetaAccessor) *metav1.ObjectMeta {
	return o.GetObjectMeta().(*metav1.ObjectMeta)
}

// part returns a pointer to the spec or the status of an object.
func part(o any, name string) any {
	return reflect.ValueOf(o).Elem().FieldByName(name).Addr().Interface()
}

// forms are pointers to one part of an object in four forms: as the tenant wants
// it, as the tenant saw it, as the host has it, and as it will be on the host.
type forms struct {
	after, seen, host, out any
}

func formsOf(name string, after, seen, host, out any) forms {
	return forms{after: part(after, name), seen: part(seen, name), host: part(host, name), out: part(out, name)}
}
