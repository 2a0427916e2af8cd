// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"
)

// A pod that was made in the place of one that is gone is left alone.
func TestOnlyPodsBeingDeletedAreDeleted(t *testing.T) {
	now := metav1.Now()
	doomed := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: "doomed", UID: "u", DeletionTimestamp: &now, Finalizers: []string{"test/kept"},
	}}
	fresh := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "fresh"}}
	inner := fake.NewClientset(doomed, fresh)
	pods := carefulClient{inner}.CoreV1().Pods("default")
	if err := pods.Delete(t.Context(), "fresh", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := pods.Get(t.Context(), "fresh", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if err := pods.Delete(t.Context(), "doomed", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	var deletions []ktesting.DeleteActionImpl
	for _, action := range inner.Actions() {
		if d, ok := action.(ktesting.DeleteActionImpl); ok {
			deletions = append(deletions, d)
		}
	}
	if len(deletions) != 1 || deletions[0].Name != "doomed" || *deletions[0].DeleteOptions.Preconditions.UID != "u" {
		t.Errorf("deletions: %+v", deletions)
	}
	if err := pods.Delete(t.Context(), "missing", metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("delete what is not there: %v", err)
	}
}
