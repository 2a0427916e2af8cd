// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"portico.dev/portico/certs"
	"portico.dev/portico/proxy/door"
	"portico.dev/portico/rewrite"
)

func rootsTranslator(t *testing.T) *rewrite.Translator {
	t.Helper()
	tr, err := rewrite.New(rewrite.Cluster{Name: "vc", HostNamespace: hostNamespace, Service: "vc", Owner: metav1.OwnerReference{
		APIVersion: "v1", Kind: "Service", Name: "vc", UID: "door",
	}})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// Replicas that start at the same time, each with keys of its own in hand, end
// up with the same ones.
func TestReplicasThatStartTogetherShareTheirRoots(t *testing.T) {
	client, translator := fake.NewClientset(), rootsTranslator(t)
	const replicas = 4
	got, errs := make([]certs.Roots, replicas), make([]error, replicas)
	var running sync.WaitGroup
	for i := range replicas {
		running.Go(func() {
			got[i], errs[i] = door.EnsureRoots(t.Context(), client, translator, func() (certs.Roots, error) {
				return certs.NewRoots(time.Now)
			})
		})
	}
	running.Wait()
	for i := range replicas {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if len(got[i]) == 0 || !bytes.Equal(got[i]["ca.key"], got[0]["ca.key"]) || !bytes.Equal(got[i]["sa.key"], got[0]["sa.key"]) {
			t.Errorf("replica %d has other keys than replica 0", i)
		}
		if err := got[i].Install(t.TempDir()); err != nil {
			t.Errorf("replica %d cannot use them: %v", i, err)
		}
	}
	secret, err := client.CoreV1().Secrets(hostNamespace).Get(t.Context(), translator.RootsSecretName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if secret.Immutable == nil || !*secret.Immutable || len(secret.OwnerReferences) != 1 {
		t.Errorf("the Secret can be changed, or outlives the cluster: %+v", secret.ObjectMeta)
	}
	if _, _, err := translator.Identify("Secret", secret); !errors.Is(err, rewrite.ErrForeign) {
		t.Errorf("the Secret passes for one of the tenant's: %v", err)
	}
}

func TestRootsOfSomebodyElseAreNotTaken(t *testing.T) {
	translator := rootsTranslator(t)
	client := fake.NewClientset(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: translator.RootsSecretName()},
	})
	_, err := door.EnsureRoots(t.Context(), client, translator, func() (certs.Roots, error) { return certs.NewRoots(time.Now) })
	if !errors.Is(err, door.ErrNotOurs) {
		t.Errorf("got %v, want ErrNotOurs", err)
	}
}
