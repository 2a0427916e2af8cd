// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package volumes_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"portico.dev/portico/sync/volumes"
)

// TestWritesWithoutEffectAreRefused: a write to a shown volume holds or is refused
// with a reason.
func TestWritesWithoutEffectAreRefused(t *testing.T) {
	shown := func(change func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
		v := hostVolume("pv-1", csi())
		v.Annotations = map[string]string{volumes.AnnotationHost: "host-uid"}
		v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "shop", Name: "data"}
		v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
		change(v)
		return v
	}
	same := func(*corev1.PersistentVolume) {}
	unmark := func(v *corev1.PersistentVolume) { v.Annotations = nil }
	retain := func(v *corev1.PersistentVolume) {
		v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	}
	own := shown(unmark)
	for reason, c := range map[string]struct {
		before, after *corev1.PersistentVolume
		refusal       string // empty: it holds
	}{
		"the policy, by which data stays": {shown(same), shown(retain), "ask the operator to change it there before the claim shop/data is deleted"},
		"two fields of the spec": {shown(same), shown(func(v *corev1.PersistentVolume) {
			retain(v)
			v.Spec.StorageClassName = "slow"
		}), "persistentVolumeReclaimPolicy, storageClassName cannot be changed"},
		"the source, which is inline": {shown(same), shown(func(v *corev1.PersistentVolume) { v.Spec.CSI.VolumeHandle = "vol-2" }), "csi cannot be changed"},
		"the status":                  {shown(same), shown(func(v *corev1.PersistentVolume) { v.Status.Phase = corev1.VolumeReleased }), "its status cannot be changed"},
		"a deletion":                  {shown(same), nil, "delete the claim"},
		"the mark":                    {shown(same), shown(unmark), "only porticod sets it"},
		"the mark on one's own":       {own, shown(same), "only porticod sets it"},
		"the mark on a new one":       {nil, shown(same), "only porticod sets it"},
		"a label":                     {shown(same), shown(func(v *corev1.PersistentVolume) { v.Labels["mine"] = "x" }), ""},
		"an annotation":               {shown(same), shown(func(v *corev1.PersistentVolume) { v.Annotations["mine"] = "x" }), ""},
		"one's own":                   {own, shown(func(v *corev1.PersistentVolume) { unmark(v); retain(v) }), ""},
		"the end of one's own":        {own, nil, ""},
		"a new one of one's own":      {nil, own, ""},
	} {
		t.Run(reason, func(t *testing.T) {
			err := volumes.Judge(c.before, c.after)
			if (err == nil) != (c.refusal == "") || err != nil && !strings.Contains(err.Error(), c.refusal) {
				t.Errorf("got %v, want %q", err, c.refusal)
			}
		})
	}
}
