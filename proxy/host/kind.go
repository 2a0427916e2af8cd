// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"portico.dev/portico/rewrite"
)

// kind holds the differences between translated kinds. No other file asks
// which kind a Storage serves: a new difference is a hook here.
type kind struct {
	group    string // of the API; its version is v1
	resource string // on the host
	name     string
	new      func() runtime.Object
	newList  func() runtime.Object
	client   func(kubernetes.Interface) rest.Interface // of the group

	// shape shows strategic merge patch how lists of this kind merge.
	shape any

	// vital are fields of the spec, with all below them, without which a new
	// object is refused where the host drops them. They restrict a pod, or make it
	// another one. Indices of lists are left out.
	vital []string

	// hides reports whether every host leaves the field at path out of its answer
	// about such an object: it is not lost.
	hides func(asked runtime.Object, path string) bool

	// served says in which virtual clusters the kind is translated. Nil means
	// in all.
	served func(rewrite.Cluster) bool

	// kept is the object of this kind that the cluster keeps for itself:
	// tenants read it and write nothing.
	kept types.NamespacedName

	// The rest are hooks. A nil one does nothing. Objects are of the kind's
	// type.

	// facts finds the inputs of the translation of a new object, and laterFacts
	// those of an update, of which in.Host is the host object.
	facts      func(s *Storage, ctx context.Context, k key, v runtime.Object, in *rewrite.Inputs) error
	laterFacts func(s *Storage, ctx context.Context, k key, v runtime.Object, in *rewrite.Inputs) error

	// mayCreate, mayUpdate and mayDelete refuse a write that is valid, and
	// that the tenant may not make: of the new host object, by the calls of a
	// plan, and the deletion of a host object.
	mayCreate func(s *Storage, ctx context.Context, k key, h runtime.Object) error
	mayUpdate func(s *Storage, ctx context.Context, k key, p plan) error
	mayDelete func(s *Storage, k key, h runtime.Object) error

	// referents are the objects that must be on the host before v.
	referents func(t *rewrite.Translator, v runtime.Object) []rewrite.Reference

	// divert takes the changes out of d that the host has subresources for,
	// and returns the calls of these.
	divert func(d *diff, before, after runtime.Object) []step

	// complete adds to v, the virtual form of h, the parts that its translation
	// cannot know.
	complete func(s *Storage, ctx context.Context, v, h runtime.Object)
}

// kinds are the translated kinds.
func kinds() []kind {
	core := func(k kubernetes.Interface) rest.Interface { return k.CoreV1().RESTClient() }
	return []kind{
		{
			resource: "pods", name: "Pod", shape: corev1.Pod{}, client: core,
			new:     func() runtime.Object { return &corev1.Pod{} },
			newList: func() runtime.Object { return &corev1.PodList{} },

			vital: vitalOfPods(),

			facts:     (*Storage).podFacts,
			mayCreate: (*Storage).mayCreatePod,
			mayUpdate: (*Storage).mayUpdatePod,
			referents: podReferents,
			divert:    divertPod,
		},
		{
			resource: "services", name: "Service", shape: corev1.Service{}, client: core,
			new:     func() runtime.Object { return &corev1.Service{} },
			newList: func() runtime.Object { return &corev1.ServiceList{} },

			vital: []string{"spec.loadBalancerClass"}, // without it, another controller would take the Service
			hides: hiddenInServices,

			kept:      keptService,
			mayDelete: (*Storage).keepsDNS,
		},
		{
			resource: "persistentvolumeclaims", name: "PersistentVolumeClaim", shape: corev1.PersistentVolumeClaim{}, client: core,
			new:     func() runtime.Object { return &corev1.PersistentVolumeClaim{} },
			newList: func() runtime.Object { return &corev1.PersistentVolumeClaimList{} },

			vital: []string{"spec.dataSource", "spec.dataSourceRef", "spec.selector", "spec.volumeMode", "spec.volumeAttributesClassName"},

			facts:      (*Storage).claimFacts,
			laterFacts: (*Storage).claimFacts,
			mayCreate:  (*Storage).mayCreateClaim,
			mayUpdate:  (*Storage).mayUpdateClaim,
		},
		{
			group: resourcev1.GroupName, resource: "resourceclaims", name: "ResourceClaim", shape: resourcev1.ResourceClaim{},
			client:  func(k kubernetes.Interface) rest.Interface { return k.ResourceV1().RESTClient() },
			new:     func() runtime.Object { return &resourcev1.ResourceClaim{} },
			newList: func() runtime.Object { return &resourcev1.ResourceClaimList{} },

			vital: []string{"spec"},

			served:   func(c rewrite.Cluster) bool { return c.ResourceClaims },
			facts:    (*Storage).resourceClaimFacts,
			complete: (*Storage).completeResourceClaim,
		},
	}
}

// Translates reports whether the objects of a resource of a virtual cluster are
// its host's.
func Translates(c rewrite.Cluster, gr schema.GroupResource) bool {
	for _, k := range kinds() {
		if k.group == gr.Group && k.resource == gr.Resource {
			return k.served == nil || k.served(c)
		}
	}
	return false
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
