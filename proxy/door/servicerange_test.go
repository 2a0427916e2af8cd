// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door_test

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/proxy/door"
)

func TestServiceRange(t *testing.T) {
	for _, test := range []struct{ like, probe, refusal, want string }{
		{
			"10.96.4.4", "192.0.2.1", `Service "x" is invalid: spec.clusterIPs: Invalid value: ["192.0.2.1"]: failed to allocate IP 192.0.2.1: ` +
				`the provided IP (192.0.2.1) is not in the valid range. The range of valid IPs is 10.96.0.0/16`, "10.96.0.0/16",
		},
		{"fd00::4", "2001:db8::1", "The range of valid IPs is fd00::/108", "fd00::/108"},
		{"10.96.4.4", "192.0.2.1", "exceeded quota", "invalid Prefix"},
		{"10.96.4.4", "192.0.2.1", "", "invalid Prefix"},
	} {
		client := fake.NewClientset()
		client.PrependReactor("create", "services", func(a clienttesting.Action) (bool, runtime.Object, error) {
			create := a.(clienttesting.CreateActionImpl)
			if len(create.CreateOptions.DryRun) != 1 {
				t.Error("the probe would create a Service")
			}
			svc := create.Object.(*corev1.Service)
			if svc.Spec.ClusterIP != test.probe {
				t.Errorf("probed with %s, want %s", svc.Spec.ClusterIP, test.probe)
			}
			if test.refusal == "" {
				return true, svc, nil
			}
			return true, nil, errors.New(test.refusal)
		})
		if got, _ := door.ServiceRange(t.Context(), client, hostNamespace, test.like); got.String() != test.want {
			t.Errorf("after %q: %s, want %s", test.refusal, got, test.want)
		}
	}
}
