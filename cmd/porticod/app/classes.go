// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/klog/v2"

	"portico.dev/portico/sync/classes"
)

// shownClasses is the part of the configuration that is about the host's
// classes.
func (vc *virtualCluster) shownClasses() (classes.Config, error) {
	from := vc.config.Sync.FromHost
	priority, err := from.PriorityClasses.Shown()
	if err != nil {
		return classes.Config{}, err
	}
	runtime, err := from.RuntimeClasses.Shown()
	if err != nil {
		return classes.Config{}, err
	}
	device, err := from.DeviceClasses.Shown()
	if err != nil {
		return classes.Config{}, err
	}
	ingress, err := from.IngressClasses.Shown()
	if err != nil {
		return classes.Config{}, err
	}
	storage, err := from.StorageClasses.Shown()
	if err != nil {
		return classes.Config{}, err
	}
	if !from.StorageClasses.Demanded() && !vc.storageClassesSeen {
		storage = nil
	}
	return classes.Config{
		Host: vc.hostClient, PriorityClasses: priority, RuntimeClasses: runtime, DeviceClasses: device, IngressClasses: ingress,
		StorageClasses: storage, LimitStorage: from.StorageClasses.Limits(),
	}, nil
}

// seeStorageClasses asks the host whether it lets porticod see storage classes,
// if the configuration leaves that to the host.
func (vc *virtualCluster) seeStorageClasses(ctx context.Context) error {
	from := &vc.config.Sync.FromHost.StorageClasses
	if shown, err := from.Shown(); shown == nil || err != nil || from.Demanded() {
		return err
	}
	classes := authorizationv1.ResourceAttributes{Group: storagev1.GroupName, Resource: "storageclasses"}
	for _, classes.Verb = range []string{"get", "list", "watch"} {
		allowed, err := vc.hostAllows(ctx, classes)
		if err != nil {
			return fmt.Errorf("ask the host for the rights of sync.fromHost.storageClasses: %w", err)
		}
		if !allowed {
			klog.FromContext(ctx).Info("Storage classes of the host are not shown: the host does not let porticod see them", "missing", classes.Verb)
			return nil
		}
	}
	vc.storageClassesSeen = true
	return nil
}

// checkClasses reports at the start a missing right to see classes, which would
// otherwise only show in refused pods, and one to see volumes that the operator
// demands.
func (vc *virtualCluster) checkClasses(ctx context.Context) error {
	if err := vc.seeStorageClasses(ctx); err != nil {
		return err
	}
	if vc.config.Sync.FromHost.PersistentVolumes.Enabled {
		if err := vc.checkVerbs(ctx, authorizationv1.ResourceAttributes{Resource: "persistentvolumes"}, "get"); err != nil {
			return withHint(fmt.Errorf("sync.fromHost.persistentVolumes: %w", err),
				"porticod needs the ClusterRole that porticod rights prints, or leave sync.fromHost.persistentVolumes off")
		}
	}
	c, err := vc.shownClasses()
	if err != nil {
		return err
	}
	if err := classes.CheckAccess(ctx, c); err != nil {
		return withHint(fmt.Errorf("sync.fromHost: %w", err),
			"porticod needs the rule for these classes of the ClusterRole that porticod rights prints, or leave them out of sync.fromHost")
	}
	return nil
}
