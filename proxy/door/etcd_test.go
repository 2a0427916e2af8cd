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

// TestMembersOfAnEtcdShareOneAuthority, no matter which of them is first.
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

// Files are written once, no matter which member is first, and again when they
// are due.
func TestMembersOfAnEtcdShareOneCertificate(t *testing.T) {
	client := fake.NewClientset()
	ensure := func(files map[string][]byte) (seen map[string][]byte, err error) {
		err = door.EnsureEtcdMembers(t.Context(), client, hostNamespace, "vc", func(have map[string][]byte) (map[string][]byte, error) {
			seen = have
			return files, nil
		})
		return seen, err
	}
	first, second := map[string][]byte{"tls.crt": []byte("first")}, map[string][]byte{"tls.crt": []byte("second")}
	if seen, err := ensure(first); err != nil || len(seen) > 0 {
		t.Fatalf("%v, with %v in nothing", err, seen)
	}
	if seen, err := ensure(nil); err != nil || string(seen["tls.crt"]) != "first" {
		t.Errorf("%v, found %v", err, seen)
	}
	// Another replica writes between a look and a write.
	writes := 0
	client.PrependReactor("update", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		writes++
		return writes == 1, nil, apierrors.NewConflict(corev1.Resource("secrets"), "vc.etcd-members", nil)
	})
	if _, err := ensure(second); err != nil || writes != 2 {
		t.Errorf("%v after %d writes, want 2", err, writes)
	}
	if seen, err := ensure(nil); err != nil || string(seen["tls.crt"]) != "second" || writes != 2 {
		t.Errorf("%v, found %v, %d writes", err, seen, writes)
	}
}

func TestCertificateOfSomebodyElseIsNotTouched(t *testing.T) {
	client := fake.NewClientset(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "vc.etcd-members"}})
	err := door.EnsureEtcdMembers(t.Context(), client, hostNamespace, "vc", func(map[string][]byte) (map[string][]byte, error) {
		return map[string][]byte{"tls.crt": nil}, nil
	})
	if !errors.Is(err, door.ErrNotOurs) {
		t.Errorf("%v, want %v", err, door.ErrNotOurs)
	}
}
