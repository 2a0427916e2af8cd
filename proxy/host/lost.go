// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/klog/v2"
)

// A host of an earlier version, or without a feature, drops the fields of a spec
// that it does not know, and answers as if nothing had been asked for. So the
// object that the tenant gets back is compared with the one that they sent: a
// lost field is named in a warning, and a new object is refused without one by
// which a pod is restricted, or which makes it another object (kind.vital).

// lostMost bounds the fields that an answer names.
const lostMost = 8

// lost returns the paths of the fields of a spec that were asked for and are not
// there. Both objects are virtual, in the version that the host speaks, so no
// path has a name of the host.
func lost(asked, got runtime.Object) []string {
	a, g := reflect.ValueOf(asked).Elem().FieldByName("Spec"), reflect.ValueOf(got).Elem().FieldByName("Spec")
	if !a.IsValid() || !g.IsValid() {
		return nil
	}
	var l losses
	l.compare(&place{text: "spec"}, a, g)
	return l.paths
}

// place is where a field is. It becomes a text only if the field is lost.
type place struct {
	parent *place
	text   string
	index  bool // of an element
}

func (p *place) String() string {
	switch {
	case p.parent == nil:
		return p.text
	case p.index:
		return p.parent.String() + "[" + p.text + "]"
	}
	return p.parent.String() + "." + p.text
}

type losses struct{ paths []string }

func (l *losses) add(at *place) { l.paths = append(l.paths, at.String()) }

// compare adds what of asked is not in got. A value that the host has changed is
// not lost: its admission may do so.
func (l *losses) compare(at *place, asked, got reflect.Value) {
	switch asked.Kind() {
	case reflect.Pointer:
		switch {
		case asked.IsNil():
		case asked.Elem().Kind() != reflect.Struct:
			if got.IsNil() {
				l.add(at)
			}
		case got.IsNil():
			l.whole(at, asked.Elem())
		default:
			l.fields(at, asked.Elem(), got.Elem())
		}
	case reflect.Struct:
		l.fields(at, asked, got)
	case reflect.Slice:
		l.elements(at, asked, got)
	case reflect.Map:
		for _, key := range asked.MapKeys() {
			if !got.MapIndex(key).IsValid() {
				l.add(&place{at, key.String(), true})
			}
		}
	default:
		if !asked.IsZero() && got.IsZero() {
			l.add(at)
		}
	}
}

// whole adds the fields of a struct that is not there: a vital one may be among
// them, while the struct is none. One without such a field is named itself.
func (l *losses) whole(at *place, asked reflect.Value) {
	before := len(l.paths)
	l.fields(at, asked, reflect.Zero(asked.Type()))
	if len(l.paths) == before && !asked.IsZero() {
		l.add(at)
	}
}

// fields compares structs. Those with parts that are not exported are values,
// such as quantities.
func (l *losses) fields(at *place, asked, got reflect.Value) {
	for i := range asked.NumField() {
		if asked.Field(i).IsZero() {
			continue // nothing was asked for
		}
		f := asked.Type().Field(i)
		if !f.IsExported() {
			return
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name != "":
			l.compare(&place{parent: at, text: name}, asked.Field(i), got.Field(i))
		case f.Anonymous:
			l.compare(at, asked.Field(i), got.Field(i))
		}
	}
}

// elements compares lists: by name where elements have one, because the host may
// have put others between them.
func (l *losses) elements(at *place, asked, got reflect.Value) {
	if asked.Len() > 0 && got.Len() == 0 {
		l.add(at)
		return
	}
	if asked.Type().Elem().Kind() != reflect.Struct {
		return
	}
	name, named := asked.Type().Elem().FieldByName("Name")
	if !named {
		for i := 0; asked.Len() == got.Len() && i < asked.Len(); i++ {
			l.compare(&place{at, strconv.Itoa(i), true}, asked.Index(i), got.Index(i))
		}
		return
	}
	next := 0
	for i := range asked.Len() {
		key := asked.Index(i).FieldByIndex(name.Index).String()
		where := &place{at, key, true}
		found, ok := elementNamed(got, name.Index, key, next)
		if !ok {
			l.add(where)
			continue
		}
		l.compare(where, asked.Index(i), got.Index(found))
		next = found + 1
	}
}

// elementNamed looks from next on first: a name need not be unique, as that of a
// mount is not, and the host keeps the order.
func elementNamed(list reflect.Value, name []int, key string, next int) (int, bool) {
	for i := range list.Len() {
		at := (next + i) % list.Len()
		if list.Index(at).FieldByIndex(name).String() == key {
			return at, true
		}
	}
	return 0, false
}

var indices = regexp.MustCompile(`\[[^]]*\]`)

// isVital reports whether an object without the field at path is another one.
func (s *Storage) isVital(path string) bool {
	plain := indices.ReplaceAllString(path, "")
	for _, vital := range s.kind.vital {
		if plain == vital || strings.HasPrefix(plain, vital+".") {
			return true
		}
	}
	return false
}

// warnOfLost names the fields that the host did not take in a write, whose answer
// is out.
func (s *Storage) warnOfLost(ctx context.Context, k key, asked, out runtime.Object) ([]string, error) {
	if s.isDNSService(k, asked) {
		return nil, nil // its spec is the installation's, and no host's doing
	}
	got, err := s.toVersioned(out)
	if err != nil {
		return nil, err
	}
	paths := lost(asked, got)
	if s.kind.hides != nil {
		paths = slices.DeleteFunc(paths, func(path string) bool { return s.kind.hides(asked, path) })
	}
	for _, path := range paths[:min(lostMost, len(paths))] {
		warning.AddWarning(ctx, "", fmt.Sprintf("the host of this cluster did not take %s: it does not know the field, or does not allow it", path))
	}
	return paths, nil
}

// withoutVital takes back a new object that has lost a vital field, and refuses it.
// takenBack says that the host does not have the object any more.
func (s *Storage) withoutVital(ctx context.Context, k key, paths []string, reply runtime.Object) (takenBack bool, err error) {
	var errs field.ErrorList
	for _, path := range paths {
		if len(errs) < lostMost && s.isVital(path) {
			errs = append(errs, field.Forbidden(field.NewPath(path), "the host of this cluster does not support it"))
		}
	}
	if len(errs) == 0 {
		return false, nil
	}
	refused := apierrors.NewInvalid(schema.GroupKind{Group: s.kind.group, Kind: s.kind.name}, k.name, errs)
	if IsDryRun(ctx) {
		return false, refused
	}
	m, err := meta.Accessor(reply)
	if err != nil {
		return false, err
	}
	now := int64(0)
	// Whatever its state is by now: the host's scheduler may have placed it.
	gone, err := s.host.delete(ctx, m.GetName(), &now, m.GetUID(), "")
	if err == nil && gone == nil {
		s.expectGone(ctx, m.GetUID())
	} else if err == nil {
		err = s.accept(ctx, gone, nil, true)
	}
	if err != nil && !apierrors.IsNotFound(err) { // the host is away
		klog.FromContext(ctx).Error(err, "Object without a vital field may stay", "resource", s.kind.resource, "virtualObject", k.ref(), "refusal", refused)
		return false, refused
	}
	return true, refused
}
