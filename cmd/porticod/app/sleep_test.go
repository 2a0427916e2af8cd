// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"portico.dev/portico/rewrite"
)

// Pods that an operator has chosen stay on the host in a sleep, and with them the
// cluster's DNS, and no pod of a tenant that looks like it.
func TestStays(t *testing.T) {
	for name, c := range map[string]struct {
		labels map[string]string
		stays  bool
	}{
		"chosen":                {map[string]string{"app": "db", rewrite.LabelNamespace: "shop"}, true},
		"another":               {map[string]string{"app": "web", rewrite.LabelNamespace: "shop"}, false},
		"the DNS":               {map[string]string{"k8s-app": "kube-dns", rewrite.LabelNamespace: "kube-system"}, true},
		"as if it were the DNS": {map[string]string{"k8s-app": "kube-dns", rewrite.LabelNamespace: "shop"}, false},
		"of the same namespace": {map[string]string{"k8s-app": "metrics", rewrite.LabelNamespace: "kube-system"}, false},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: c.labels}}
		if got := stays(pod, labels.Set{"app": "db"}.AsSelector()); got != c.stays {
			t.Errorf("%s: stays %t, want %t", name, got, c.stays)
		}
	}
}
