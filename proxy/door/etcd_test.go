// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/certs"
	"portico.dev/portico/proxy/door"
)

// TestMembersOfAnEtcdShareOneAuthority, whoever is first.
func TestMembersOfAnEtcdShareOneAuthority(t *testing.T) {
	client := fake.NewClientset()
	offer := func(name string) func() (certs.EtcdAuthority, error) {
		return func() (certs.EtcdAuthority, error) { return certs.EtcdAuthority{"ca.crt": []byte(name)}, nil }
	}
	first, err := door.EnsureEtcdAuthority(t.Context(), client, hostNamespace, "vc", offer("first"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := door.EnsureEtcdAuthority(t.Context(), client, hostNamespace, "vc", offer("second"))
	if d := cmp.Diff(first, second); err != nil || d != "" || string(first["ca.crt"]) != "first" {
		t.Errorf("%v (-first +second):\n%s", err, d)
	}
	// The second has looked before the first has made it.
	looked := false
	client.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		if looked {
			return false, nil, nil
		}
		looked = true
		return true, nil, apierrors.NewNotFound(corev1.Resource("secrets"), "vc.etcd")
	})
	third, err := door.EnsureEtcdAuthority(t.Context(), client, hostNamespace, "vc", offer("third"))
	if d := cmp.Diff(first, third); err != nil || d != "" {
		t.Errorf("%v (-first +third):\n%s", err, d)
	}
}

func TestAuthorityOfSomebodyElseIsNotTaken(t *testing.T) {
	client := fake.NewClientset(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "vc.etcd"}})
	if _, err := door.EnsureEtcdAuthority(t.Context(), client, hostNamespace, "vc", nil); !errors.Is(err, door.ErrNotOurs) {
		t.Errorf("%v, want %v", err, door.ErrNotOurs)
	}
}
