// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package hooks_test

import (
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	testclock "k8s.io/utils/clock/testing"

	"portico.dev/portico/proxy/hooks"
)

func newPatches(t *testing.T, c hooks.PatchConfig) (*hooks.Hooks, error) {
	t.Helper()
	c.Name, c.Resources = "operators", []string{"pods"}
	c.Operations = []admissionv1.Operation{admissionv1.Create}
	return hooks.New(newLaws(t), nil, []hooks.PatchConfig{c}, testclock.NewFakePassiveClock(time.Unix(1, 0)))
}

func TestPatches(t *testing.T) {
	for _, tc := range []struct {
		reason string
		patch  hooks.PatchConfig
		check  func(*corev1.Pod) bool // nil: it is refused
		says   string
	}{
		{
			reason: "fields are merged",
			patch:  hooks.PatchConfig{ApplyConfiguration: `Object{metadata: Object.metadata{annotations: {"cost": "7"}}, spec: Object.spec{runtimeClassName: "gvisor"}}`},
			check: func(p *corev1.Pod) bool {
				return p.Annotations["cost"] == "7" && *p.Spec.RuntimeClassName == "gvisor" && len(p.Annotations) > 1
			},
		},
		{
			reason: "a list is patched, where a condition holds",
			patch:  hooks.PatchConfig{JSONPatch: `object.spec.containers[0].image.startsWith("mirror/") ? [] : [JSONPatch{op: "replace", path: "/spec/containers/0/image", value: "mirror/" + object.spec.containers[0].image}]`},
			check:  func(p *corev1.Pod) bool { return p.Spec.Containers[0].Image == "mirror/nginx" },
		},
		{
			reason: "no change is none",
			patch:  hooks.PatchConfig{JSONPatch: `object.metadata.namespace == "team-a" ? [] : [JSONPatch{op: "remove", path: "/spec"}]`},
			check:  func(p *corev1.Pod) bool { return p.Spec.Containers[0].Image == "nginx" },
		},
		{
			reason: "the labels that isolate",
			patch:  hooks.PatchConfig{JSONPatch: `[JSONPatch{op: "remove", path: "/metadata/labels"}]`},
			says:   "metadata.labels[portico.dev/cluster]",
		},
		{
			reason: "the service account",
			patch:  hooks.PatchConfig{ApplyConfiguration: `Object{spec: Object.spec{serviceAccountName: "admin"}}`},
			says:   "spec.serviceAccountName",
		},
		{
			reason: "an expression that fails",
			patch:  hooks.PatchConfig{JSONPatch: `[JSONPatch{op: "replace", path: "/spec/containers/0/image", value: object.spec.containers[7].image}]`},
			says:   `the patch "operators" of this cluster's operator fails`,
		},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			h, err := newPatches(t, tc.patch)
			if err != nil {
				t.Fatal(err)
			}
			before := hostPod(t)
			got, err := h.ToHost(t.Context(), object(), before)
			switch {
			case tc.check == nil:
				if !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("got %v, want an error with %q", err, tc.says)
				}
			case err != nil:
				t.Errorf("refused: %v", err)
			case !tc.check(got.(*corev1.Pod)):
				t.Errorf("got %v", got)
			}
			if before.Spec.Containers[0].Image != "nginx" || before.Annotations["cost"] != "" {
				t.Error("the object itself has changed")
			}
		})
	}
}

func TestPatchesThatDoNotCompile(t *testing.T) {
	for _, c := range []hooks.PatchConfig{
		{ApplyConfiguration: "Object{spec: Object.spec{\n  nowhere(1)"},
		{JSONPatch: `"a text"`},
	} {
		_, err := newPatches(t, c)
		if err == nil || !strings.Contains(err.Error(), `patch "operators"`) {
			t.Errorf("%v: got %v", c, err)
		}
	}
	_, err := newPatches(t, hooks.PatchConfig{JSONPatch: "[\n  absent.name]"})
	if err == nil || !strings.Contains(err.Error(), "2:3") {
		t.Errorf("got %v, want the line and the column", err)
	}
}
