// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"
)

// A cluster runs for years: the certificates of its etcd never end.
func TestCertificatesOfAnEtcdAreKept(t *testing.T) {
	client := fake.NewClientset()
	clock := clocktesting.NewFakeClock(time.Now())
	k := &etcdKeys{client: client, cluster: "vc", namespace: "ns", dir: t.TempDir(), members: []string{"vc-etcd-0.vc-etcd.ns.svc"}, clock: clock}
	if err := k.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	written := make(chan struct{}, 10)
	client.PrependReactor("update", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		written <- struct{}{}
		return false, nil, nil
	})
	first := validIn(t, k)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.run(ctx) }()
	for range 3 {
		// Each look waits on the clock when it is done.
		waiting(t, clock)
		clock.Step(8 * 30 * 24 * time.Hour)
		<-written
	}
	waiting(t, clock)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if now := validIn(t, k); cmp.Equal(first, now) {
		t.Error("the certificates are those of two years before")
	}
}

// The host does not answer for a while: its next minute is soon enough.
func TestCertificatesOfAnEtcdAreTriedAgain(t *testing.T) {
	client := fake.NewClientset()
	looks := make(chan struct{}, 10)
	client.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		looks <- struct{}{}
		return true, nil, apierrors.NewServiceUnavailable("the host is away")
	})
	clock := clocktesting.NewFakeClock(time.Now())
	k := &etcdKeys{client: client, cluster: "vc", namespace: "ns", dir: t.TempDir(), clock: clock}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.run(ctx) }()
	for range 3 {
		<-looks
		waiting(t, clock)
		clock.Step(time.Minute)
	}
	<-looks
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// waiting returns when somebody waits for the clock.
func waiting(t *testing.T, clock *clocktesting.FakeClock) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return clock.HasWaiters(), nil })
	if err != nil {
		t.Fatal(err)
	}
}

// validIn checks that both sides of an etcd know each other now, and returns
// their certificates.
func validIn(t *testing.T, k *etcdKeys) [2]string {
	t.Helper()
	secret, err := k.client.CoreV1().Secrets(k.namespace).Get(t.Context(), "vc.etcd-members", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(k.dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	member, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	client, err := tls.LoadX509KeyPair(filepath.Join(k.dir, "tls.crt"), filepath.Join(k.dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pair  tls.Certificate
		name  string
		usage x509.ExtKeyUsage
	}{{member, k.members[0], x509.ExtKeyUsageServerAuth}, {member, "", x509.ExtKeyUsageClientAuth}, {client, "", x509.ExtKeyUsageClientAuth}} {
		if _, err := c.pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: k.clock.Now(), DNSName: c.name, KeyUsages: []x509.ExtKeyUsage{c.usage}}); err != nil {
			t.Errorf("certificate of %s: %v", c.pair.Leaf.Subject.CommonName, err)
		}
	}
	if len(secret.Data["ca.key"]) > 0 {
		t.Error("the members have the key of their authority")
	}
	return [2]string{string(secret.Data["tls.crt"]), string(client.Certificate[0])}
}
