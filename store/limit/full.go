// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FullError is returned for a write that there is no room for. It must not be
// wrapped on its way through upstream's storage code, which looks for the Status
// in the error itself (ErrorToAPIStatus in k8s.io/apiserver).
type FullError struct {
	// Used and Limit are bytes.
	Used, Limit int64
}

// Error implements error.
func (e *FullError) Error() string {
	return fmt.Sprintf("the store of this virtual cluster is full: %s of %s are used; deleting objects makes room", Quantity(e.Used), Quantity(e.Limit))
}

// Status implements apierrors.APIStatus: 403, as for an exceeded ResourceQuota.
func (e *FullError) Status() metav1.Status {
	return metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusForbidden,
		Reason:  metav1.StatusReasonForbidden,
		Message: e.Error(),
	}
}

// Quantity writes bytes as people do, with a precision that shows a difference
// between the used bytes and the limit.
func Quantity(bytes int64) string {
	const ki = 1 << 10
	if bytes%ki != 0 {
		bytes += ki - bytes%ki
	}
	return resource.NewQuantity(bytes, resource.BinarySI).String()
}
