// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	corev1 "k8s.io/api/core/v1"
)

// identity gives the pod the host ServiceAccount that has no rights. The
// deprecated twin of the field stays empty; the host fills it in.
func (c *translation) identity(spec *corev1.PodSpec) {
	spec.DeprecatedServiceAccount = ""
	no := false
	replace(c.overlay, "serviceAccountName", &spec.ServiceAccountName, c.t.cluster.WorkloadServiceAccount)
	replace(c.overlay, "automountServiceAccountToken", &spec.AutomountServiceAccountToken, &no)
}

func (c *restoration) identity(v, host *corev1.PodSpec) {
	unreplace(c.overlay, "automountServiceAccountToken", &v.AutomountServiceAccountToken)
	unreplace(c.overlay, "serviceAccountName", &v.ServiceAccountName)
	// Every version of the API shows the two with the same value.
	if host.DeprecatedServiceAccount == "" || host.DeprecatedServiceAccount == host.ServiceAccountName {
		v.DeprecatedServiceAccount = v.ServiceAccountName
	}
}
