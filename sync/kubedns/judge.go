// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kubedns

import (
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"portico.dev/portico/rewrite"
)

var errSpec = errors.New("the spec of the cluster's DNS Service is the installation's, and cannot be changed: all pods have its address")

// Judge refuses a tenant's change of the DNS's Service that would have no effect.
func Judge(before, after *corev1.Service) error {
	if before == nil || after == nil || before.Namespace != rewrite.DNSNamespace || before.Name != rewrite.DNSName ||
		equality.Semantic.DeepEqual(before.Spec, after.Spec) {
		return nil
	}
	return errSpec
}
