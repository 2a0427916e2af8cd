// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package classes_test

import (
	"strings"
	"testing"

	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"portico.dev/portico/sync/classes"
	"portico.dev/portico/sync/kinds"
)

const isDefault = "storageclass.kubernetes.io/is-default-class"

// TestClassWritesAreJudged: a write to a class of the host's holds or is refused.
func TestClassWritesAreJudged(t *testing.T) {
	shown := func(change func(*storagev1.StorageClass)) *storagev1.StorageClass {
		c := &storagev1.StorageClass{
			ObjectMeta: metav1.ObjectMeta{Name: "fast", Labels: map[string]string{"tier": "1"},
				Annotations: map[string]string{classes.AnnotationHost: "uid", isDefault: "true"}},
			Provisioner: "csi.example.com",
		}
		change(c)
		return c
	}
	same := func(*storagev1.StorageClass) {}
	unmark := func(c *storagev1.StorageClass) { delete(c.Annotations, classes.AnnotationHost) }
	expand := func(c *storagev1.StorageClass) { c.AllowVolumeExpansion = ptr.To(true) }
	own := shown(unmark)
	for reason, c := range map[string]struct {
		before, after *storagev1.StorageClass
		refusal       string // empty: it holds
	}{
		"a field":               {shown(same), shown(expand), "cannot be changed"},
		"the default":           {shown(same), shown(func(c *storagev1.StorageClass) { c.Annotations[isDefault] = "false" }), "cannot be changed"},
		"a label":               {shown(same), shown(func(c *storagev1.StorageClass) { c.Labels["mine"] = "x" }), "cannot be changed"},
		"a deletion":            {shown(same), nil, "make one under another name"},
		"the mark":              {shown(same), shown(unmark), "only porticod sets it"},
		"the mark of a new one": {nil, shown(same), "only porticod sets it"},
		"an annotation":         {shown(same), shown(func(c *storagev1.StorageClass) { c.Annotations["mine"] = "x" }), ""},
		"one's own":             {own, shown(func(c *storagev1.StorageClass) { unmark(c); expand(c) }), ""},
		"the end of one's own":  {own, nil, ""},
	} {
		t.Run(reason, func(t *testing.T) {
			err := classes.Judge(kinds.PulledStorageClasses, c.before, c.after)
			if (err == nil) != (c.refusal == "") || err != nil && !strings.Contains(err.Error(), c.refusal) {
				t.Errorf("got %v, want %q", err, c.refusal)
			}
		})
	}
	priority := func(value int32) *schedulingv1.PriorityClass {
		return &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "gold", Annotations: map[string]string{classes.AnnotationHost: "uid"}}, Description: strings.Repeat("x", int(value))}
	}
	if err := classes.Judge(kinds.PulledPriorityClasses, priority(1), priority(2)); err == nil {
		t.Error("the description of a priority class can be changed")
	}
}
