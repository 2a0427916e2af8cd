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
	"portico.dev/portico/sync/imports"
	"portico.dev/portico/sync/kinds"
	"portico.dev/portico/sync/kubedns"
	"portico.dev/portico/sync/nodes"
	"portico.dev/portico/sync/ownvolumes"
	"portico.dev/portico/sync/volumes"
)

// undoneWrites are the kinds whose objects porticod puts back where the host has
// another value (D-059 in docs/decisions.md), each with the judge of the package
// that does so. The Service of the DNS is one where porticod keeps it. With a
// scheduler inside, nothing of a node is without effect. NetworkPolicies that the
// host does not get are among them for a warning.
func undoneWrites(cfg *config.Config) []apiserver.Undone {
	ofNodes := nodes.Judge
	if cfg.Sync.Nodes.EnableScheduler {
		ofNodes = func(before, after *corev1.Node) ([]string, error) {
			_, err := nodes.Judge(before, after)
			return nil, err
		}
	}
	rows := []apiserver.Undone{
		judgedBy(corev1.Resource("persistentvolumes"), ofVolumes(cfg)),
		judgedBy(corev1.Resource("nodes"), ofNodes),
		judgedBy(schedulingv1.Resource("priorityclasses"), ofClasses(kinds.PulledPriorityClasses)),
		judgedBy(nodev1.Resource("runtimeclasses"), ofClasses(kinds.PulledRuntimeClasses)),
		judgedBy(resourcev1.Resource("deviceclasses"), ofClasses(kinds.PulledDeviceClasses)),
		judgedBy(networkingv1.Resource("ingressclasses"), ofClasses(kinds.PulledIngressClasses)),
		judgedBy(corev1.Resource("configmaps"), silent(imports.JudgeConfigMap)),
		judgedBy(corev1.Resource("secrets"), silent(imports.JudgeSecret)),
		judgedBy(storagev1.Resource("storageclasses"), ofStorageClasses(cfg)),
	}
	if cfg.CoreDNS.Enabled {
		rows = append(rows, judgedBy(corev1.Resource("services"), silent(kubedns.Judge)))
	}
	if to := &cfg.Sync.ToHost.Ingresses; to.Enabled {
		rows = append(rows, judgedBy(networkingv1.Resource("ingresses"), ofIngresses(to.Policy())))
	}
	if !cfg.Sync.ToHost.NetworkPolicies.Enabled {
		rows = append(rows, unenforced())
	}
	return rows
}

// judgedBy makes a row of a judge of one type.
func judgedBy[T any, P interface {
	*T
	runtime.Object
}](resource schema.GroupResource, judge func(before, after P) ([]string, error)) apiserver.Undone {
	return apiserver.Undone{
		Resource: resource,
		New:      func() runtime.Object { return P(new(T)) },
		Judge: func(before, after runtime.Object) ([]string, error) {
			b, _ := before.(P) // nil when there is none
			a, _ := after.(P)
			return judge(b, a)
		},
	}
}

// silent is a judge that warns of nothing.
func silent[T any](judge func(before, after T) error) func(before, after T) ([]string, error) {
	return func(before, after T) ([]string, error) { return nil, judge(before, after) }
}

// notOnHost is said to users who make a volume, and wait for a claim to get it.
const notOnHost = "no claim will get this volume: the host of this cluster does not get its PersistentVolumes; its operator can set sync.toHost.persistentVolumes"

// ofVolumes judges a volume of the host's, and the parts of a tenant's that may not
// reach the host.
func ofVolumes(cfg *config.Config) func(before, after *corev1.PersistentVolume) ([]string, error) {
	to := cfg.Sync.ToHost.PersistentVolumes
	limits := ownvolumes.Limits{Drivers: to.Drivers}
	return func(before, after *corev1.PersistentVolume) ([]string, error) {
		err := volumes.Judge(before, after)
		switch {
		case err != nil:
			return nil, err
		case to.Enabled:
			return nil, limits.Judge(before, after)
		case before == nil:
			return []string{notOnHost}, nil
		}
		return nil, nil
	}
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

// notEnforced is said to users who write a NetworkPolicy, and take it for a wall.
const notEnforced = "not enforced: the host of this cluster does not get its NetworkPolicies; its operator can set sync.toHost.networkPolicies"

// unenforced has a warning about each NetworkPolicy that is written, and refuses
// none.
func unenforced() apiserver.Undone {
	return apiserver.Undone{
		Resource: networkingv1.Resource("networkpolicies"),
		New:      func() runtime.Object { return &networkingv1.NetworkPolicy{} },
		Judge: func(_, after runtime.Object) ([]string, error) {
			if after == nil {
				return nil, nil // it goes
			}
			return []string{notEnforced}, nil
		},
	}
}
