// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// kind holds the differences between translated kinds.
type kind struct {
	group    string // of the API; its version is v1
	resource string // on the host
	name     string
	new      func() runtime.Object
	newList  func() runtime.Object
	client   func(kubernetes.Interface) rest.Interface // of the group

	// shape shows strategic merge patch how lists of this kind merge.
	shape any
}

// kinds are the translated kinds.
func kinds() []kind {
	core := func(k kubernetes.Interface) rest.Interface { return k.CoreV1().RESTClient() }
	return []kind{
		{
			resource: "pods", name: "Pod", shape: corev1.Pod{}, client: core,
			new:     func() runtime.Object { return &corev1.Pod{} },
			newList: func() runtime.Object { return &corev1.PodList{} },
		},
		{
			resource: "services", name: "Service", shape: corev1.Service{}, client: core,
			new:     func() runtime.Object { return &corev1.Service{} },
			newList: func() runtime.Object { return &corev1.ServiceList{} },
		},
		{
			resource: "persistentvolumeclaims", name: "PersistentVolumeClaim", shape: corev1.PersistentVolumeClaim{}, client: core,
			new:     func() runtime.Object { return &corev1.PersistentVolumeClaim{} },
			newList: func() runtime.Object { return &corev1.PersistentVolumeClaimList{} },
		},
		{
			group: resourcev1.GroupName, resource: "resourceclaims", name: "ResourceClaim", shape: resourcev1.ResourceClaim{},
			client:  func(k kubernetes.Interface) rest.Interface { return k.ResourceV1().RESTClient() },
			new:     func() runtime.Object { return &resourcev1.ResourceClaim{} },
			newList: func() runtime.Object { return &resourcev1.ResourceClaimList{} },
		},
	}
}

// kindOf returns the kind behind a resource. Asking for one that is not
// translated is a mistake in the wiring, so it panics.
func kindOf(gr schema.GroupResource) kind {
	for _, k := range kinds() {
		if k.group == gr.Group && k.resource == gr.Resource {
			return k
		}
	}
	panic(fmt.Sprintf("host: %s is not a translated kind", gr))
}

// kindNamed is kindOf for the name of a kind.
func kindNamed(name string) kind {
	for _, k := range kinds() {
		if k.name == name {
			return k
		}
	}
	panic(fmt.Sprintf("host: %s is not a translated kind", name))
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
