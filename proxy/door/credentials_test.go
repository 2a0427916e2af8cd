// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/clientcmd"

	"portico.dev/portico/certs"
	"portico.dev/portico/proxy/door"
	"portico.dev/portico/rewrite"
)

// held is a porticod that takes the credentials that it sees on the host.
type held struct {
	t    *testing.T
	keys *door.Keys
	dir  string

	mu      sync.Mutex
	taken   certs.Credentials
	bundle  *certs.Bundle
	changed chan struct{}
}

func (h *held) take() {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.keys.Credentials()
	if c.Generation() < h.taken.Generation() || c.Equal(h.taken) {
		return
	}
	h.taken = c
	if err := c.Install(h.dir); err != nil {
		h.t.Error(err)
	}
	var err error
	if h.bundle, err = certs.EnsureBundle(h.dir, certs.BundleOptions{}, time.Now); err != nil {
		h.t.Error(err)
	}
	if h.changed != nil {
		close(h.changed)
	}
	h.changed = make(chan struct{})
}

func (h *held) Credentials() certs.Credentials {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.taken
}

func (h *held) Current() (*certs.Bundle, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bundle, h.changed
}

// hold runs a leader on the cluster of the translator.
func hold(t *testing.T, client *fake.Clientset, translator *rewrite.Translator) *held {
	t.Helper()
	h := &held{t: t, dir: t.TempDir()}
	first, err := door.EnsureCredentials(t.Context(), client, translator, func() (certs.Credentials, error) { return certs.NewCredentials(nil, time.Now) })
	if err != nil {
		t.Fatal(err)
	}
	if h.keys, err = door.NewKeys(client, translator, first, "https://vc.team-a.svc", nil); err != nil {
		t.Fatal(err)
	}
	h.keys.OnChange(h.take)
	h.take()
	for _, run := range []func(context.Context) error{h.keys.Observe, func(ctx context.Context) error { return h.keys.Run(ctx, client, h) }} {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	return h
}

func secretNamed(t *testing.T, client *fake.Clientset, name string) *corev1.Secret {
	t.Helper()
	var s *corev1.Secret
	eventually(t, "Secret "+name, func() bool {
		var err error
		s, err = client.CoreV1().Secrets(hostNamespace).Get(t.Context(), name, metav1.GetOptions{})
		return err == nil
	})
	return s
}

func adminOf(s *corev1.Secret) certs.KeyPair {
	return certs.KeyPair{CertPEM: s.Data[door.AccessCertificate], KeyPEM: s.Data[door.AccessKey]}
}

func TestReplicasThatStartTogetherShareTheirCredentials(t *testing.T) {
	client, translator := fake.NewClientset(), rootsTranslator(t)
	const replicas = 4
	got, errs := make([]certs.Credentials, replicas), make([]error, replicas)
	var running sync.WaitGroup
	for i := range replicas {
		running.Go(func() {
			got[i], errs[i] = door.EnsureCredentials(t.Context(), client, translator, func() (certs.Credentials, error) {
				return certs.NewCredentials(nil, time.Now)
			})
		})
	}
	running.Wait()
	for i := range replicas {
		if errs[i] != nil || !got[i].Equal(got[0]) {
			t.Errorf("replica %d has other credentials than replica 0: %v", i, errs[i])
		}
	}
}

func TestKubeconfigOnTheHost(t *testing.T) {
	client, translator := fake.NewClientset(), rootsTranslator(t)
	h := hold(t, client, translator)
	s := secretNamed(t, client, "pc-vc")
	config, err := clientcmd.RESTConfigFromKubeConfig(s.Data[door.AccessConfig])
	if err != nil {
		t.Fatal(err)
	}
	b, _ := h.Current()
	if config.Host != "https://vc.team-a.svc" || !bytes.Equal(config.CAData, s.Data[door.AccessAuthority]) || !bytes.Equal(config.CAData, b.CAPEM) ||
		!bytes.Equal(config.CertData, s.Data[door.AccessCertificate]) || !bytes.Equal(config.KeyData, s.Data[door.AccessKey]) {
		t.Errorf("the keys do not belong together: %v, server %s", maps.Keys(s.Data), config.Host)
	}
	if !b.Administers(adminOf(s)) {
		t.Error("the certificate is no administrator's")
	}
	if s.Labels[rewrite.LabelCluster] != "vc" || len(s.OwnerReferences) != 1 {
		t.Errorf("the Secret is not the cluster's: %+v", s.ObjectMeta)
	}
	if _, _, err := translator.Identify("Secret", s); !errors.Is(err, rewrite.ErrForeign) {
		t.Errorf("the Secret passes for one of the tenant's: %v", err)
	}
}

func TestKeysAreWrittenAgain(t *testing.T) {
	for reason, harm := range map[string]func(*testing.T, *fake.Clientset){
		"both deleted": func(t *testing.T, client *fake.Clientset) {
			for _, name := range []string{"pc-vc", "vc.credentials"} {
				if err := client.CoreV1().Secrets(hostNamespace).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
		},
		"a key overwritten": func(t *testing.T, client *fake.Clientset) {
			s := secretNamed(t, client, "pc-vc").DeepCopy()
			s.Data[door.AccessKey] = []byte("x")
			if _, err := client.CoreV1().Secrets(hostNamespace).Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(reason, func(t *testing.T) {
			client, translator := fake.NewClientset(), rootsTranslator(t)
			h := hold(t, client, translator)
			secretNamed(t, client, "pc-vc")
			before := h.Credentials()
			harm(t, client)
			b, _ := h.Current()
			eventually(t, "both are back", func() bool {
				access, err := client.CoreV1().Secrets(hostNamespace).Get(t.Context(), "pc-vc", metav1.GetOptions{})
				if err != nil || !b.Administers(adminOf(access)) {
					return false
				}
				credentials, err := client.CoreV1().Secrets(hostNamespace).Get(t.Context(), "vc.credentials", metav1.GetOptions{})
				return err == nil && certs.Credentials(credentials.Data).Equal(before)
			})
		})
	}
}

func TestRotationReachesTheKubeconfigOnTheHost(t *testing.T) {
	client, translator := fake.NewClientset(), rootsTranslator(t)
	h := hold(t, client, translator)
	old := adminOf(secretNamed(t, client, "pc-vc"))
	rotated, err := door.Rotate(t.Context(), client, hostNamespace, "vc", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new kubeconfig", func() bool {
		return rotated.Administers(adminOf(secretNamed(t, client, "pc-vc")), time.Now)
	})
	if b, _ := h.Current(); b.Administers(old) {
		t.Error("the old certificate is still one of an administrator")
	}
}

// A user of the host puts the credentials of before a rotation back. The leader
// writes those of after it again, and takes none.
func TestAttackRestoreRevokedCredentialsOnTheHost(t *testing.T) {
	client, translator := fake.NewClientset(), rootsTranslator(t)
	h := hold(t, client, translator)
	before := secretNamed(t, client, "vc.credentials")
	rotated, err := door.Rotate(t.Context(), client, hostNamespace, "vc", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the rotation is taken", func() bool { return h.Credentials().Equal(rotated) })
	if _, err := client.CoreV1().Secrets(hostNamespace).Update(t.Context(), before, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "those of after it are back", func() bool {
		return certs.Credentials(secretNamed(t, client, "vc.credentials").Data).Equal(rotated)
	})
	if !h.Credentials().Equal(rotated) {
		t.Error("the revoked credentials were taken")
	}
}

func TestKeysOfSomebodyElseAreNotTouched(t *testing.T) {
	translator := rootsTranslator(t)
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "pc-vc"}, Data: map[string][]byte{"config": []byte("theirs")}}
	client := fake.NewClientset(foreign)
	hold(t, client, translator)
	// The credentials are put back after the other Secret was looked at.
	if err := client.CoreV1().Secrets(hostNamespace).Delete(t.Context(), "vc.credentials", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	secretNamed(t, client, "vc.credentials")
	if s := secretNamed(t, client, "pc-vc"); string(s.Data["config"]) != "theirs" || len(s.Data) != 1 || len(s.Labels) > 0 {
		t.Errorf("somebody else's Secret was changed: %+v", s)
	}
	other := fake.NewClientset(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "vc.credentials"}})
	_, err := door.EnsureCredentials(t.Context(), other, translator, func() (certs.Credentials, error) { return nil, errors.New("asked") })
	if !errors.Is(err, door.ErrNotOurs) {
		t.Errorf("ensure: got %v, want ErrNotOurs", err)
	}
	if _, err := door.Rotate(t.Context(), other, hostNamespace, "vc", time.Now); !errors.Is(err, door.ErrNotOurs) {
		t.Errorf("rotate: got %v, want ErrNotOurs", err)
	}
}

func TestRotateWithoutCredentials(t *testing.T) {
	if _, err := door.Rotate(t.Context(), fake.NewClientset(), hostNamespace, "vc", time.Now); !errors.Is(err, door.ErrNoCredentials) {
		t.Errorf("got %v, want ErrNoCredentials", err)
	}
}
