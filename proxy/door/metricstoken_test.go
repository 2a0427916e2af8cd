// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door_test

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"portico.dev/portico/proxy/door"
)

func TestReplicasShareTheTokenOfTheirMeasurements(t *testing.T) {
	client, translator := fake.NewClientset(), rootsTranslator(t)
	first, err := door.EnsureMetricsToken(t.Context(), client, translator)
	if err != nil {
		t.Fatal(err)
	}
	second, err := door.EnsureMetricsToken(t.Context(), client, translator)
	if err != nil || first == "" || second != first {
		t.Errorf("tokens %q and %q (%v), want one", first, second, err)
	}
	secrets := client.CoreV1().Secrets(hostNamespace)
	if err := secrets.Delete(t.Context(), "vc.metrics", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if third, err := door.EnsureMetricsToken(t.Context(), client, translator); err != nil || third == first {
		t.Errorf("after the Secret was deleted: %q (%v), want another", third, err)
	}
}

// A neighbour in the host namespace puts a Secret of their own where the token
// of a cluster's measurements will be, or one with a token that is guessed soon.
func TestAttackMetricsTokenOfANeighbour(t *testing.T) {
	for name, labels := range map[string]map[string]string{
		"not marked": nil,
		"too short":  {"portico.dev/cluster": "vc", "portico.dev/composed": "metrics"},
	} {
		client := fake.NewClientset(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "vc.metrics", Labels: labels},
			Data:       map[string][]byte{"token": []byte("known")},
		})
		token, err := door.EnsureMetricsToken(t.Context(), client, rootsTranslator(t))
		if err == nil || (labels == nil && !errors.Is(err, door.ErrNotOurs)) {
			t.Errorf("%s: token %q, error %v", name, token, err)
		}
	}
}
