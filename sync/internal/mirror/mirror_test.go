// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mirror_test

import (
	"context"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/sync/internal/mirror"
)

func class(uid types.UID, text, host string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "c", UID: uid, Annotations: map[string]string{"host": host}},
		Data:       map[string]string{"text": text, "tenant": "note of " + string(uid)},
	}
}

func TestShow(t *testing.T) {
	going := class("uid-1", "old", "h1")
	going.DeletionTimestamp = &metav1.Time{}
	for name, tc := range map[string]struct {
		shown, want *corev1.ConfigMap
		there       *corev1.ConfigMap // on the API, if other than shown
		verbs       []string
		settled     bool
	}{
		"nothing, and nothing wanted":     {nil, nil, nil, nil, false},
		"a new one":                       {nil, class("", "new", "h1"), nil, []string{"create"}, true},
		"the informer is behind":          {nil, class("", "new", "h1"), class("uid-1", "old", "h1"), []string{"create"}, false},
		"as the host has it":              {class("uid-1", "new", "h1"), class("", "new", "h1"), nil, nil, true},
		"changed":                         {class("uid-1", "old", "h1"), class("", "new", "h1"), nil, []string{"update"}, true},
		"another host object":             {class("uid-1", "old", "h1"), class("", "new", "h2"), nil, []string{"delete uid-1"}, false},
		"no longer wanted":                {class("uid-1", "old", "h1"), nil, nil, []string{"delete uid-1"}, false},
		"going already":                   {going, nil, nil, nil, false},
		"gone since the informer saw it":  {class("uid-1", "old", "h1"), nil, class("", "", ""), []string{"delete uid-1"}, false},
		"the tenant's own is not wanted":  {class("uid-1", "mine", ""), nil, nil, nil, false},
		"the tenant's own is not changed": {class("uid-1", "mine", ""), class("", "new", "h1"), nil, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			switch {
			case tc.there != nil && tc.there.UID != "":
				client = fake.NewClientset(tc.there)
			case tc.there == nil && tc.shown != nil:
				client = fake.NewClientset(tc.shown)
			}
			settled := false
			k := &mirror.Kind[*corev1.ConfigMap]{
				Noun: "class", Client: client.CoreV1().ConfigMaps(""),
				Mirrored: func(c *corev1.ConfigMap) bool { return c.Annotations["host"] != "" },
				Fixed:    func(shown, want *corev1.ConfigMap) bool { return shown.Annotations["host"] != want.Annotations["host"] },
				Next: func(shown, want *corev1.ConfigMap) *corev1.ConfigMap {
					next := shown.DeepCopy()
					next.Data["text"] = want.Data["text"]
					return next
				},
				Settle: func(_ context.Context, c *corev1.ConfigMap) error {
					settled = c.Data["text"] == "new"
					return nil
				},
			}
			if err := k.Show(t.Context(), tc.shown, tc.want); err != nil {
				t.Error(err)
			}
			var verbs []string
			for _, a := range client.Actions() {
				verb := a.GetVerb()
				if d, ok := a.(clienttesting.DeleteActionImpl); ok {
					verb += " " + string(*d.DeleteOptions.Preconditions.UID)
				}
				verbs = append(verbs, verb)
			}
			if !slices.Equal(verbs, tc.verbs) || settled != tc.settled {
				t.Errorf("the API got %v, settled %v; want %v, %v", verbs, settled, tc.verbs, tc.settled)
			}
		})
	}
}
