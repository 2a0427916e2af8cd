// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"fmt"
	"reflect"

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

// alike returns the names of those parts of two objects that are the same. Most
// updates change a label, a finalizer or a condition, and the spec of a pod is
// nearly all that there is to marshal and to compare.
func alike(before, after runtime.Object) ([]string, error) {
	b, a := reflect.ValueOf(before), reflect.ValueOf(after)
	if b.Type() != a.Type() {
		return nil, fmt.Errorf("cannot compare %T with %T", before, after)
	}
	var names []string
	for _, name := range []string{"Spec", "Status"} {
		// To the letter: the patch decides on the meaning of two values.
		if f := b.Elem().FieldByName(name); f.IsValid() && reflect.DeepEqual(f.Interface(), a.Elem().FieldByName(name).Interface()) {
			names = append(names, name)
		}
	}
	return names, nil
}

// comparable returns a host object as JSON without the named parts and the
// fields that only the host writes. ownerReferences are among them: the one
// there never changes after create.
func comparable(obj runtime.Object, without []string) ([]byte, error) {
	part := reflect.New(reflect.TypeOf(obj).Elem())
	part.Elem().Set(reflect.ValueOf(obj).Elem())
	for _, name := range without {
		part.Elem().FieldByName(name).SetZero()
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
