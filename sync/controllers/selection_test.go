// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"
)

// A Kubernetes version that adds, removes or renames a controller must be
// decided on here before it is used.
func TestTableCoversUpstream(t *testing.T) {
	want := slices.Sorted(maps.Keys(app.NewControllerDescriptors()))
	got := slices.Sorted(maps.Keys(table()))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table and upstream's controllers differ (-upstream +table):\n%s", diff)
	}
}

func TestSelected(t *testing.T) {
	cases := map[string]struct {
		reason   string
		cfg      Config
		must     []string
		mustNot  []string
		wantSize int
	}{
		"virtual": {
			reason: "what judges nodes, or touches volumes and foreign pods, stays away from a virtual cluster",
			cfg:    Config{Mode: Virtual},
			must: []string{
				names.NamespaceController, names.GarbageCollectorController, names.EndpointsController,
				names.EndpointSliceController, names.EphemeralVolumeController, names.HorizontalPodAutoscalerController,
				names.TaintEvictionController, names.PodCertificateRequestCleanerController,
			},
			mustNot: []string{
				names.NodeLifecycleController, names.PodGarbageCollectorController,
				names.PersistentVolumeBinderController, names.PersistentVolumeClaimProtectionController,
				names.ServiceCIDRController, names.ServiceAccountTokenController, names.ResourceClaimController,
			},
			wantSize: 28,
		},
		"virtual with claims": {
			reason:   "templates are virtual, so that claims are made of them here",
			cfg:      Config{Mode: Virtual, ResourceClaims: true},
			must:     []string{names.ResourceClaimController},
			mustNot:  []string{names.DeviceTaintEvictionController},
			wantSize: 29,
		},
		"host": {
			reason: "the embedded host looks after nodes and binds claims",
			cfg:    Config{Mode: Host},
			must: []string{
				names.NodeLifecycleController, names.TaintEvictionController, names.PodGarbageCollectorController,
				names.PersistentVolumeBinderController, names.ServiceCIDRController, names.ResourceClaimController,
			},
			mustNot: []string{
				names.NodeIpamController, names.PersistentVolumeAttachDetachController,
				names.ServiceAccountTokenController,
			},
			wantSize: 35,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := selected(t.Context(), tc.cfg)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range tc.must {
				if got[name] == nil {
					t.Errorf("%s: %q is missing", tc.reason, name)
				}
			}
			for _, name := range tc.mustNot {
				if got[name] != nil {
					t.Errorf("%s: %q is there", tc.reason, name)
				}
			}
			if len(got) != tc.wantSize {
				t.Errorf("got %d controllers, want %d", len(got), tc.wantSize)
			}
		})
	}
}

// A controller that upstream has off by default must not come on because "*" is
// asked for: the table decides.
func TestDisabledByDefaultStaysOff(t *testing.T) {
	off := app.ControllersDisabledByDefault()
	for _, mode := range []Mode{Virtual, Host} {
		got, err := selected(t.Context(), Config{Mode: mode})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range off {
			if got[name] != nil {
				t.Errorf("mode %s runs %q, which upstream has off by default", mode, name)
			}
		}
	}
}
