// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kind is what differs between translated kinds.
type kind struct {
	resource string // on the host, of the core group
	name     string
	new      func() runtime.Object
	newList  func() runtime.Object

	// shape tells strategic merge patch how lists of this kind merge.
	shape any
}

// kindOf returns the kind behind a resource. Asking for one that is not
// translated is a mistake in the wiring, so it panics.
func kindOf(gr schema.GroupResource) kind {
	switch gr {
	case schema.GroupResource{Resource: "pods"}:
		return kind{
			resource: gr.Resource, name: "Pod", shape: corev1.Pod{},
			new:     func() runtime.Object { return &corev1.Pod{} },
			newList: func() runtime.Object { return &corev1.PodList{} },
		}
	case schema.GroupResource{Resource: "services"}:
		return kind{
			resource: gr.Resource, name: "Service", shape: corev1.Service{},
			new:     func() runtime.Object { return &corev1.Service{} },
			newList: func() runtime.Object { return &corev1.ServiceList{} },
		}
	case schema.GroupResource{Resource: "persistentvolumeclaims"}:
		return kind{
			resource: gr.Resource, name: "PersistentVolumeClaim", shape: corev1.PersistentVolumeClaim{},
			new:     func() runtime.Object { return &corev1.PersistentVolumeClaim{} },
			newList: func() runtime.Object { return &corev1.PersistentVolumeClaimList{} },
		}
	}
	panic(fmt.Sprintf("host: %s is not a translated kind", gr))
}

// toVersioned returns obj, as the generic registry has it, in the version that
// the host speaks. The result shares memory with obj.
func (s *Storage) toVersioned(obj runtime.Object) (runtime.Object, error) {
	out := s.kind.new()
	if err := convert(s.cfg.Scheme, obj, out); err != nil {
		return nil, err
	}
	return out, nil
}

// fromVersioned sets into to obj, with the defaults of its version: a host
// that is older than this door has not set all of them.
func (s *Storage) fromVersioned(obj, into runtime.Object) error {
	s.cfg.Scheme.Default(obj)
	if err := convert(s.cfg.Scheme, obj, into); err != nil {
		return err
	}
	into.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	return nil
}

// convert is Scheme.Convert that also takes two objects of one type, which a
// registry without internal types has, and that empties out first.
func convert(scheme *runtime.Scheme, in, out runtime.Object) error {
	from, to := reflect.ValueOf(in).Elem(), reflect.ValueOf(out).Elem()
	if from.Type() == to.Type() {
		to.Set(from)
		return nil
	}
	to.SetZero()
	return scheme.Convert(in, out, nil)
}
