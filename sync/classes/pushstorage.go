// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package classes

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/kinds"
)

// StorageLimits are the bounds that the operator sets to the tenant's
// StorageClasses on the host.
type StorageLimits struct {
	// Provisioners are those that make volumes for the tenant's classes. Nil
	// means those of the host's classes that are shown.
	Provisioners []string
	// Parameters are the keys that reach the provisioner, besides those that are
	// harmless with every one.
	Parameters []string
}

// StoragePusher keeps host copies of the StorageClasses that the tenant makes.
type StoragePusher struct {
	*pusher[*storagev1.StorageClass]
	limits StorageLimits
	shown  *Mirror
	host   reader[*storagev1.StorageClass]
}

// NewStoragePusher returns a StoragePusher; shown knows the host's classes. It
// registers with the virtual informers, so it must be called before they are
// relied on.
func NewStoragePusher(cfg PushConfig, limits StorageLimits, shown *Mirror) (*StoragePusher, error) {
	s := &StoragePusher{limits: limits, shown: shown, host: kinds.PushedStorageClasses.Client(cfg.Host, "")}
	var err error
	s.pusher, err = newPusher(cfg, "storage class", kinds.PushedStorageClasses, s.mayHaveCopy)
	// The host's own classes change, and the provisioners with them.
	s.again = lookAgain
	return s, err
}

// For reports whether the host knows a class, which a new claim names, under the
// name of this cluster's copy. If so, the copy is made first: unless the class is
// yet to come, when a claim waits for it as in any cluster. The host's own
// classes, and those that only the host has, are as they are there.
//
// The error is rewrite.ErrNoClass for a class that the host gets no copy of.
func (s *StoragePusher) For(ctx context.Context, name string) (bool, error) {
	return s.use(ctx, name, func(class *storagev1.StorageClass) error { return s.push(ctx, &s.forUse, class) })
}

// Tried is For of a claim that is tried and not made (dryRun=All). No copy is made: a
// claim may name a class that its host does not have.
func (s *StoragePusher) Tried(ctx context.Context, name string) (bool, error) {
	return s.use(ctx, name, func(*storagev1.StorageClass) error { return nil })
}

// use calls push for a class that the host has, or may have, a copy of.
func (s *StoragePusher) use(ctx context.Context, name string, push func(*storagev1.StorageClass) error) (bool, error) {
	if name == "" {
		return false, nil
	}
	class, exists, err := s.find(ctx, name)
	switch {
	case err != nil:
		return false, err
	case !exists:
		hosts, err := s.hostHas(ctx, name)
		return !hosts, err
	case mirrored(class):
		return false, nil
	}
	if err := s.mayHaveCopy(ctx, class); err != nil {
		return false, err
	}
	return true, push(class)
}

// hostHas reports whether the host has a class of that name that is no cluster's
// copy.
func (s *StoragePusher) hostHas(ctx context.Context, name string) (bool, error) {
	class, exists, err := find(ctx, s.shown.storage.host, s.host, name)
	if err != nil {
		return false, fmt.Errorf("get host storage class %q: %w", name, err)
	}
	return exists && !isCopy(class), nil
}

// mayHaveCopy returns a noCopyError for a class that could do on the host more
// than the operator has allowed.
func (s *StoragePusher) mayHaveCopy(ctx context.Context, class *storagev1.StorageClass) error {
	if problems := rewrite.StorageClassProblems(class, s.limits.Parameters); len(problems) > 0 {
		return noCopyError{fmt.Sprintf("storage class %q: %s", class.Name, problems.ToAggregate())}
	}
	allowed := slices.Contains(s.limits.Provisioners, class.Provisioner)
	if s.limits.Provisioners == nil {
		var err error
		if allowed, err = s.shown.provisions(ctx, class.Provisioner); err != nil {
			return err
		}
	}
	if !allowed {
		return noCopyError{fmt.Sprintf("storage class %q: %s", class.Name, notAllowed(class.Provisioner))}
	}
	return nil
}

// Judge refuses a tenant's write of a class that could do on the host more than
// the operator has allowed, and warns of a class that gets no copy or that loses
// its annotations. A class of before, which has not changed, stays.
func (l StorageLimits) Judge(before, after *storagev1.StorageClass) (warnings []string, err error) {
	if after == nil || mirrored(after) {
		return nil, nil
	}
	was := map[string]bool{}
	if before != nil {
		for _, p := range rewrite.StorageClassProblems(before, l.Parameters) {
			was[p.Error()] = true
		}
	}
	for _, p := range rewrite.StorageClassProblems(after, l.Parameters) {
		if !was[p.Error()] {
			return nil, p
		}
	}
	if before != nil {
		return nil, nil
	}
	if l.Provisioners != nil && !slices.Contains(l.Provisioners, after.Provisioner) {
		warnings = append(warnings, notAllowed(after.Provisioner)+"; claims of this class are refused")
	}
	for _, key := range slices.Sorted(maps.Keys(after.Annotations)) {
		if key != corev1.LastAppliedConfigAnnotation && !slices.Contains(kinds.PulledStorageClasses.Annotations, key) {
			warnings = append(warnings, fmt.Sprintf("the annotation %s of a storage class does not reach its provisioner", key))
		}
	}
	return warnings, nil
}

// notAllowed is why a class of a provisioner has no copy, for the tenant.
func notAllowed(provisioner string) string {
	return fmt.Sprintf("the host of this cluster does not let its classes have the provisioner %q", provisioner)
}

// provisions reports whether a class of the host that is shown has a provisioner.
func (m *Mirror) provisions(ctx context.Context, provisioner string) (bool, error) {
	if m.storage.outside == nil {
		return false, nil
	}
	if err := m.storage.synced(ctx); err != nil {
		return false, err
	}
	return slices.ContainsFunc(m.storage.host.List(), func(obj any) bool {
		class, ok := obj.(*storagev1.StorageClass)
		return ok && class.Provisioner == provisioner
	}), nil
}

// isCopy reports whether a host class is a copy of some cluster's.
func isCopy(class metav1.Object) bool {
	_, copied := class.GetLabels()[rewrite.LabelHostNamespace]
	return copied
}
