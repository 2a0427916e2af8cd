// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"portico.dev/portico/proxy/hooks"
	"portico.dev/portico/rewrite"
)

// identity writes a certificate for 127.0.0.1 and its key.
func identity(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func goHook(t *testing.T, cert, key string) (url string) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(serve))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func pythonHook(t *testing.T, cert, key string) (url string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, "python3", "hook.py", "127.0.0.1", "0", cert, key)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = c.Wait() // it was killed
	})
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("hook.py says no port: %v", err)
	}
	return "https://127.0.0.1:" + strings.TrimSpace(port)
}

// Both examples are hooks as porticod asks them.
func TestExamples(t *testing.T) {
	laws, err := rewrite.New(rewrite.Cluster{Name: "vc", HostNamespace: "team-a"})
	if err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]func(t *testing.T, cert, key string) string{"go": goHook, "python": pythonHook} {
		t.Run(name, func(t *testing.T) {
			cert, key := identity(t)
			h, err := hooks.New(laws, []hooks.Config{{
				Name: "images", URL: start(t, cert, key), CAFile: cert, Timeout: 10 * time.Second,
				Resources: []string{"pods"}, Operations: []admissionv1.Operation{admissionv1.Create},
			}}, nil, clock.RealClock{})
			if err != nil {
				t.Fatal(err)
			}
			gv := corev1.SchemeGroupVersion
			shown := func(image string) (string, error) {
				pod, err := laws.PodToHost(&corev1.Pod{
					ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "web"},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: image}}},
				}, rewrite.Inputs{})
				if err != nil {
					t.Fatal(err)
				}
				got, err := h.ToHost(t.Context(), hooks.Object{Kind: gv.WithKind("Pod"), Resource: gv.WithResource("pods"), Operation: admissionv1.Create}, pod)
				if err != nil {
					return "", err
				}
				return got.(*corev1.Pod).Spec.Containers[0].Image, nil
			}
			for image, want := range map[string]string{"nginx:1": "mirror.example/nginx:1", "mirror.example/nginx:1": "mirror.example/nginx:1"} {
				if got, err := shown(image); err != nil || got != want {
					t.Errorf("%s is run as %s, want %s (%v)", image, got, want, err)
				}
			}
			if _, err := shown("nginx:latest"); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "nginx:latest has no version") {
				t.Errorf("an image without a version: %v", err)
			}
		})
	}
}
