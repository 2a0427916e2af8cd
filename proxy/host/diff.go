// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// diff holds an update's changes to a host object, by its parts. A part that
// does not change is nil. All parts are of one patch format.
type diff struct {
	format   types.PatchType
	metadata map[string]any
	spec     map[string]any
	status   map[string]any
}

// compare returns the changes that turn before into after, both host objects.
// Metadata that only the host decides on is left out.
//
// The format is strategic merge patch, so that fields that our types lack, and
// entries that this object's lists lack, stay. It cannot express every change:
// two ports of a Service may share the number that their list merges by. So the
// patch is tried here first, and where it would not give after, a JSON merge
// patch replaces the lists that changed.
func compare(before, after runtime.Object, shape any) (diff, error) {
	alike, err := alike(before, after)
	if err != nil {
		return diff{}, err
	}
	if alike.wholly() {
		changes, ok, err := keyChanges(before, after)
		if ok || err != nil {
			// The two formats say the same of maps, and this one costs a host less.
			return diff{format: types.MergePatchType, metadata: changes}, err
		}
	}
	b, err := comparable(before, alike)
	if err != nil {
		return diff{}, err
	}
	a, err := comparable(after, alike)
	if err != nil {
		return diff{}, err
	}
	if bytes.Equal(a, b) {
		return diff{format: types.StrategicMergePatchType}, nil
	}
	format := types.StrategicMergePatchType
	body, ok := strategic(b, a, shape)
	if !ok {
		format = types.MergePatchType
		if body, err = jsonmergepatch.CreateThreeWayJSONMergePatch(b, a, b); err != nil {
			return diff{}, fmt.Errorf("compute patch: %w", err)
		}
	}
	var parts struct {
		Metadata map[string]any `json:"metadata"`
		Spec     map[string]any `json:"spec"`
		Status   map[string]any `json:"status"`
	}
	if err := json.Unmarshal(body, &parts); err != nil {
		return diff{}, fmt.Errorf("read computed patch: %w", err)
	}
	return diff{format: format, metadata: parts.Metadata, spec: parts.Spec, status: parts.Status}, nil
}

// strategic computes a strategic merge patch and reports whether it has the
// intended result.
func strategic(before, after []byte, shape any) ([]byte, bool) {
	body, err := strategicpatch.CreateTwoWayMergePatch(before, after, shape)
	if err != nil {
		return nil, false
	}
	got, err := strategicpatch.StrategicMergePatch(before, body, shape)
	if err != nil {
		return nil, false
	}
	return body, sameJSON(got, after)
}

func sameJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	// Marshalling a decoded value sorts its keys.
	x1, err1 := json.Marshal(x)
	y1, err2 := json.Marshal(y)
	return err1 == nil && err2 == nil && bytes.Equal(x1, y1)
}

// keyChanges returns the changes of labels and annotations. ok is false if
// anything else of the metadata has changed: their merge is simple, and nearly
// every update of a translated object changes them and no more.
func keyChanges(before, after runtime.Object) (changes map[string]any, ok bool, err error) {
	b, err := meta.Accessor(before)
	if err != nil {
		return nil, false, err
	}
	a, err := meta.Accessor(after)
	if err != nil {
		return nil, false, err
	}
	if b.GetName() != a.GetName() || b.GetNamespace() != a.GetNamespace() || !slices.Equal(b.GetFinalizers(), a.GetFinalizers()) ||
		!apiequality.Semantic.DeepEqual(b.GetOwnerReferences(), a.GetOwnerReferences()) {
		return nil, false, nil
	}
	for name, maps := range map[string][2]map[string]string{
		"labels":      {b.GetLabels(), a.GetLabels()},
		"annotations": {b.GetAnnotations(), a.GetAnnotations()},
	} {
		if changed := changedKeys(maps[0], maps[1]); len(changed) > 0 {
			if changes == nil {
				changes = map[string]any{}
			}
			changes[name] = changed
		}
	}
	return changes, true, nil
}

// changedKeys is the merge patch that turns one map into another.
func changedKeys(before, after map[string]string) map[string]any {
	changed := map[string]any{}
	for k := range before {
		if _, stays := after[k]; !stays {
			changed[k] = nil
		}
	}
	for k, v := range after {
		if was, there := before[k]; !there || was != v {
			changed[k] = v
		}
	}
	return changed
}

// parted are the parts of an object, and of each the fields that are the same in
// two objects, by index. Most updates change a label, a finalizer, an image or a
// condition, and the rest of a pod is nearly all that there is to marshal and to
// compare.
type parted []part

type part struct {
	name  string
	same  []int
	whole bool // all are the same
}

// wholly reports whether the objects differ in their metadata at most.
func (p parted) wholly() bool {
	return !slices.ContainsFunc(p, func(p part) bool { return !p.whole })
}

// alike compares the specs and the statuses of two objects to the letter: the
// patch decides on the meaning of two values.
func alike(before, after runtime.Object) (parted, error) {
	b, a := reflect.ValueOf(before), reflect.ValueOf(after)
	if b.Type() != a.Type() {
		return nil, fmt.Errorf("cannot compare %T with %T", before, after)
	}
	var out parted
	for _, name := range []string{"Spec", "Status"} {
		b, a := b.Elem().FieldByName(name), a.Elem().FieldByName(name)
		if !b.IsValid() {
			continue
		}
		p := part{name: name}
		for i := range b.NumField() {
			if reflect.DeepEqual(b.Field(i).Interface(), a.Field(i).Interface()) {
				p.same = append(p.same, i)
			}
		}
		p.whole = len(p.same) == b.NumField()
		out = append(out, p)
	}
	return out, nil
}

// comparable returns a host object as JSON without the fields that are alike and
// those that only the host writes. ownerReferences are among them: the one there
// never changes after create.
func comparable(obj runtime.Object, alike parted) ([]byte, error) {
	part := reflect.New(reflect.TypeOf(obj).Elem())
	part.Elem().Set(reflect.ValueOf(obj).Elem())
	for _, p := range alike {
		for _, i := range p.same {
			part.Elem().FieldByName(p.name).Field(i).SetZero()
		}
	}
	obj, ok := part.Interface().(runtime.Object)
	if !ok {
		return nil, fmt.Errorf("%s is no object of the API", part.Type())
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	m.SetUID("")
	m.SetResourceVersion("")
	m.SetGeneration(0)
	m.SetDeletionTimestamp(nil)
	m.SetDeletionGracePeriodSeconds(nil)
	m.SetManagedFields(nil)
	m.SetSelfLink("")
	m.SetGenerateName("")
	m.SetCreationTimestamp(metav1.Time{})
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	return json.Marshal(obj)
}
