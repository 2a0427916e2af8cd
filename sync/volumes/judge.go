// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package volumes

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"portico.dev/portico/sync/internal/mirror"
)

var errMark = fmt.Errorf("the annotation %s marks volumes of the host, and only porticod sets it", AnnotationHost)

// Judge refuses a tenant's write to a shown volume that would have no effect. A
// new volume has nothing before, a deleted one nothing after.
func Judge(before, after *corev1.PersistentVolume) error {
	switch {
	case before == nil || !mirrored(before):
		if after != nil && mirrored(after) {
			return errMark
		}
		return nil
	case after == nil:
		return fmt.Errorf("the volume is the host's, and shown while %s is bound to it: delete the claim", claimOf(before))
	case before.Annotations[AnnotationHost] != after.Annotations[AnnotationHost]:
		return errMark
	}
	changed := mirror.Changes(before.Spec, after.Spec)
	switch {
	case len(changed) == 1 && changed[0] == "persistentVolumeReclaimPolicy":
		return fmt.Errorf("the reclaim policy of a volume of the host is the host's, and stays %s: ask the operator to change it there before %s is deleted",
			before.Spec.PersistentVolumeReclaimPolicy, claimOf(before))
	case len(changed) > 0:
		return fmt.Errorf("the volume is the host's, and its spec is as there: %s cannot be changed", strings.Join(changed, ", "))
	case len(mirror.Changes(before.Status, after.Status)) > 0:
		return errors.New("the volume is the host's, and its status cannot be changed")
	}
	return nil
}

func claimOf(volume *corev1.PersistentVolume) string {
	if ref := volume.Spec.ClaimRef; ref != nil {
		return fmt.Sprintf("the claim %s/%s", ref.Namespace, ref.Name)
	}
	return "its claim"
}
