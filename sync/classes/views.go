// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package classes

import (
	nodev1 "k8s.io/api/node/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"portico.dev/portico/rewrite"
)

func newPriorityClasses(cfg Config) (*kind[*schedulingv1.PriorityClass], error) {
	return newKind(cfg, cfg.PriorityClasses, kind[*schedulingv1.PriorityClass]{
		name:  "priority class",
		write: cfg.Virtual.SchedulingV1().PriorityClasses(),
		read:  cfg.Host.SchedulingV1().PriorityClasses(),
		informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Scheduling().V1().PriorityClasses().Informer()
		},
		blank: func(m metav1.ObjectMeta) *schedulingv1.PriorityClass {
			return &schedulingv1.PriorityClass{ObjectMeta: m}
		},
		fill: func(shown, host *schedulingv1.PriorityClass) {
			shown.Value, shown.PreemptionPolicy, shown.Description = host.Value, host.PreemptionPolicy, host.Description
			shown.GlobalDefault = false
		},
		frozen:   frozenPriority,
		reserved: rewrite.ReservedClass,
	})
}

// frozenPriority compares the fields that the API lets no client change (ValidatePriorityClassUpdate).
func frozenPriority(a, b *schedulingv1.PriorityClass) bool {
	return a.Value == b.Value && equality.Semantic.DeepEqual(a.PreemptionPolicy, b.PreemptionPolicy)
}

func newRuntimeClasses(cfg Config) (*kind[*nodev1.RuntimeClass], error) {
	return newKind(cfg, cfg.RuntimeClasses, kind[*nodev1.RuntimeClass]{
		name:  "runtime class",
		write: cfg.Virtual.NodeV1().RuntimeClasses(),
		read:  cfg.Host.NodeV1().RuntimeClasses(),
		informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Node().V1().RuntimeClasses().Informer()
		},
		blank: func(m metav1.ObjectMeta) *nodev1.RuntimeClass { return &nodev1.RuntimeClass{ObjectMeta: m} },
		fill: func(shown, host *nodev1.RuntimeClass) {
			from := host.DeepCopy()
			shown.Handler, shown.Overhead, shown.Scheduling = from.Handler, from.Overhead, from.Scheduling
		},
		// The API does not let it change (ValidateRuntimeClassUpdate).
		frozen:   func(a, b *nodev1.RuntimeClass) bool { return a.Handler == b.Handler },
		reserved: rewrite.ReservedClass,
	})
}

func newDeviceClasses(cfg Config) (*kind[*resourcev1.DeviceClass], error) {
	return newKind(cfg, cfg.DeviceClasses, kind[*resourcev1.DeviceClass]{
		name:  "device class",
		write: cfg.Virtual.ResourceV1().DeviceClasses(),
		read:  cfg.Host.ResourceV1().DeviceClasses(),
		informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Resource().V1().DeviceClasses().Informer()
		},
		blank:    func(m metav1.ObjectMeta) *resourcev1.DeviceClass { return &resourcev1.DeviceClass{ObjectMeta: m} },
		fill:     func(shown, host *resourcev1.DeviceClass) { host.Spec.DeepCopyInto(&shown.Spec) },
		frozen:   func(_, _ *resourcev1.DeviceClass) bool { return true },
		reserved: func(string) bool { return false },
	})
}
