// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/mirror"
)

// Object is a pointer to an object of the API; nil is none.
type Object interface {
	mirror.Object
	runtime.Object
}

// Pulled is a cluster-wide kind whose objects are shown inside as the host has
// them, under their own names.
type Pulled[T Object] struct {
	// Noun is the kind in errors and logs, such as "priority class".
	Noun string
	// Client is of either cluster.
	Client   func(kubernetes.Interface) Client[T]
	Informer func(informers.SharedInformerFactory) cache.SharedIndexInformer
	Blank    func(metav1.ObjectMeta) T
	// Fill gives a virtual object all that from has, except for metadata.
	Fill func(shown, from T)
	// Frozen reports whether two objects agree in the fields that the API lets no
	// client change.
	Frozen func(a, b T) bool
	// Annotations are those of the host that are shown, and follow it.
	Annotations []string
	// Reserved reports whether a name is never shown and never offered.
	Reserved func(name string) bool
}

// AnnotationHostVolume marks a virtual volume that shows one of the host
// (sync/volumes). Its value is the uid there.
const AnnotationHostVolume = "portico.dev/host-volume"

// IsHostVolume reports whether a virtual volume shows one of the host. Any other is
// the tenant's own.
func IsHostVolume(virtual metav1.Object) bool {
	return virtual.GetAnnotations()[AnnotationHostVolume] != ""
}

// PulledPriorityClasses are shown without the mark as default.
var PulledPriorityClasses = Pulled[*schedulingv1.PriorityClass]{
	Noun: "priority class", Client: priorityClasses, Informer: priorityClassInformer,
	Blank: func(m metav1.ObjectMeta) *schedulingv1.PriorityClass {
		return &schedulingv1.PriorityClass{ObjectMeta: m}
	},
	Fill: func(shown, host *schedulingv1.PriorityClass) {
		shown.Value, shown.PreemptionPolicy, shown.Description = host.Value, host.PreemptionPolicy, host.Description
		shown.GlobalDefault = false
	},
	Frozen:   frozenPriority,
	Reserved: rewrite.ReservedClass,
}

// PulledRuntimeClasses are shown whole.
var PulledRuntimeClasses = Pulled[*nodev1.RuntimeClass]{
	Noun:   "runtime class",
	Client: func(c kubernetes.Interface) Client[*nodev1.RuntimeClass] { return c.NodeV1().RuntimeClasses() },
	Informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
		return f.Node().V1().RuntimeClasses().Informer()
	},
	Blank: func(m metav1.ObjectMeta) *nodev1.RuntimeClass { return &nodev1.RuntimeClass{ObjectMeta: m} },
	Fill: func(shown, host *nodev1.RuntimeClass) {
		from := host.DeepCopy()
		shown.Handler, shown.Overhead, shown.Scheduling = from.Handler, from.Overhead, from.Scheduling
	},
	// The API does not let it change (ValidateRuntimeClassUpdate).
	Frozen:   func(a, b *nodev1.RuntimeClass) bool { return a.Handler == b.Handler },
	Reserved: rewrite.ReservedClass,
}

// PulledDeviceClasses are shown whole.
var PulledDeviceClasses = Pulled[*resourcev1.DeviceClass]{
	Noun:   "device class",
	Client: func(c kubernetes.Interface) Client[*resourcev1.DeviceClass] { return c.ResourceV1().DeviceClasses() },
	Informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
		return f.Resource().V1().DeviceClasses().Informer()
	},
	Blank:    func(m metav1.ObjectMeta) *resourcev1.DeviceClass { return &resourcev1.DeviceClass{ObjectMeta: m} },
	Fill:     func(shown, host *resourcev1.DeviceClass) { host.Spec.DeepCopyInto(&shown.Spec) },
	Frozen:   func(_, _ *resourcev1.DeviceClass) bool { return true },
	Reserved: func(string) bool { return false },
}

// PulledStorageClasses are shown with the mark as default: a claim without a class
// gets that of the host there as well. Parameters are between the operator and the
// provisioner, and may name Secrets of the host.
var PulledStorageClasses = Pulled[*storagev1.StorageClass]{
	Noun:   "storage class",
	Client: func(c kubernetes.Interface) Client[*storagev1.StorageClass] { return c.StorageV1().StorageClasses() },
	Informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
		return f.Storage().V1().StorageClasses().Informer()
	},
	Blank: func(m metav1.ObjectMeta) *storagev1.StorageClass { return &storagev1.StorageClass{ObjectMeta: m} },
	Fill: func(shown, host *storagev1.StorageClass) {
		from := host.DeepCopy()
		shown.Provisioner, shown.Parameters, shown.ReclaimPolicy, shown.VolumeBindingMode = from.Provisioner, nil, from.ReclaimPolicy, from.VolumeBindingMode
		shown.MountOptions, shown.AllowVolumeExpansion, shown.AllowedTopologies = from.MountOptions, from.AllowVolumeExpansion, from.AllowedTopologies
	},
	// The API lets no client change these (ValidateStorageClassUpdate).
	Frozen: func(a, b *storagev1.StorageClass) bool {
		return a.Provisioner == b.Provisioner && equality.Semantic.DeepEqual(a.ReclaimPolicy, b.ReclaimPolicy) &&
			equality.Semantic.DeepEqual(a.VolumeBindingMode, b.VolumeBindingMode)
	},
	Annotations: []string{"storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"},
	Reserved:    func(string) bool { return false },
}

// PulledIngressClasses are shown without parameters, which name objects of the
// host, and with the mark as default: an Ingress without a class gets that of the
// host by its name.
var PulledIngressClasses = Pulled[*networkingv1.IngressClass]{
	Noun: "ingress class",
	Client: func(c kubernetes.Interface) Client[*networkingv1.IngressClass] {
		return c.NetworkingV1().IngressClasses()
	},
	Informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
		return f.Networking().V1().IngressClasses().Informer()
	},
	Blank: func(m metav1.ObjectMeta) *networkingv1.IngressClass { return &networkingv1.IngressClass{ObjectMeta: m} },
	Fill: func(shown, host *networkingv1.IngressClass) {
		shown.Spec = networkingv1.IngressClassSpec{Controller: host.Spec.Controller}
	},
	// The API does not let it change (ValidateIngressClassUpdate).
	Frozen:      func(a, b *networkingv1.IngressClass) bool { return a.Spec.Controller == b.Spec.Controller },
	Annotations: []string{networkingv1.AnnotationIsDefaultIngressClass},
	Reserved:    func(string) bool { return false },
}

func priorityClasses(c kubernetes.Interface) Client[*schedulingv1.PriorityClass] {
	return c.SchedulingV1().PriorityClasses()
}

func priorityClassInformer(f informers.SharedInformerFactory) cache.SharedIndexInformer {
	return f.Scheduling().V1().PriorityClasses().Informer()
}

// frozenPriority compares the fields that the API lets no client change
// (ValidatePriorityClassUpdate).
func frozenPriority(a, b *schedulingv1.PriorityClass) bool {
	return a.Value == b.Value && equality.Semantic.DeepEqual(a.PreemptionPolicy, b.PreemptionPolicy)
}
