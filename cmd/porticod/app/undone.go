// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/proxy/apiserver"
	"portico.dev/portico/sync/classes"
	"portico.dev/portico/sync/kinds"
	"portico.dev/portico/sync/kubedns"
	"portico.dev/portico/sync/nodes"
	"portico.dev/portico/sync/volumes"
)

// undoneWrites are the kinds whose objects porticod puts back where the host has
// another value (D-059 in docs/decisions.md), each with the judge of the package
// that does so. The Service of the DNS is one where porticod keeps it. With a
// scheduler inside, nothing of a node is without effect.
func undoneWrites(cfg *config.Config) []apiserver.Undone {
	ofNodes := nodes.Judge
	if cfg.Sync.Nodes.EnableScheduler {
		ofNodes = func(before, after *corev1.Node) ([]string, error) {
			_, err := nodes.Judge(before, after)
			return nil, err
		}
	}
	rows := []apiserver.Undone{
		judgedBy(corev1.Resource("persistentvolumes"), func() *corev1.PersistentVolume { return &corev1.PersistentVolume{} }, silent(volumes.Judge)),
		judgedBy(corev1.Resource("nodes"), func() *corev1.Node { return &corev1.Node{} }, ofNodes),
		judgedBy(schedulingv1.Resource("priorityclasses"), func() *schedulingv1.PriorityClass { return &schedulingv1.PriorityClass{} }, ofClasses(kinds.PulledPriorityClasses)),
		judgedBy(nodev1.Resource("runtimeclasses"), func() *nodev1.RuntimeClass { return &nodev1.RuntimeClass{} }, ofClasses(kinds.PulledRuntimeClasses)),
		judgedBy(resourcev1.Resource("deviceclasses"), func() *resourcev1.DeviceClass { return &resourcev1.DeviceClass{} }, ofClasses(kinds.PulledDeviceClasses)),
		judgedBy(storagev1.Resource("storageclasses"), func() *storagev1.StorageClass { return &storagev1.StorageClass{} }, ofStorageClasses(cfg)),
	}
	if cfg.CoreDNS.Enabled {
		rows = append(rows, judgedBy(corev1.Resource("services"), func() *corev1.Service { return &corev1.Service{} }, silent(kubedns.Judge)))
	}
	if to := &cfg.Sync.ToHost.Ingresses; to.Enabled {
		rows = append(rows, judgedBy(networkingv1.Resource("ingresses"), func() *networkingv1.Ingress { return &networkingv1.Ingress{} }, ofIngresses(to.Policy())))
	}
	return rows
}

// judgedBy makes a row of a judge of one type.
func judgedBy[T runtime.Object](resource schema.GroupResource, newObject func() T, judge func(before, after T) ([]string, error)) apiserver.Undone {
	return apiserver.Undone{
		Resource: resource,
		New:      func() runtime.Object { return newObject() },
		Judge: func(before, after runtime.Object) ([]string, error) {
			b, _ := before.(T) // nil when there is none
			a, _ := after.(T)
			return judge(b, a)
		},
	}
}

// silent is a judge that warns of nothing.
func silent[T any](judge func(before, after T) error) func(before, after T) ([]string, error) {
	return func(before, after T) ([]string, error) { return nil, judge(before, after) }
}

// ofStorageClasses judges a class of the host's, and the parts of a tenant's that
// may not reach the host.
func ofStorageClasses(cfg *config.Config) func(before, after *storagev1.StorageClass) ([]string, error) {
	shown := ofClasses(kinds.PulledStorageClasses)
	to := cfg.Sync.ToHost.StorageClasses
	if !to.Enabled {
		return shown
	}
	limits := classes.StorageLimits{Provisioners: to.Provisioners, Parameters: to.Parameters}
	return func(before, after *storagev1.StorageClass) ([]string, error) {
		if _, err := shown(before, after); err != nil {
			return nil, err
		}
		return limits.Judge(before, after)
	}
}

func ofClasses[T kinds.Object](pulled kinds.Pulled[T]) func(before, after T) ([]string, error) {
	return silent(func(before, after T) error { return classes.Judge(pulled, before, after) })
}
