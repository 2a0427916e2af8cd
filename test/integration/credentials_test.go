// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"portico.dev/portico/test/embedded"
)

// formerPKI fills dir with the authority of a cluster of before, which signed
// everything, and returns the credential of its administrator.
func formerPKI(t *testing.T, dir string) rest.TLSClientConfig {
	t.Helper()
	sign := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte, []byte) {
		t.Helper()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parent == nil {
			parent, signer = template, key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(1000*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "portico-ca"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	caKey, caPEM, caKeyPEM := sign(ca, nil, nil)
	_, certPEM, keyPEM := sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "portico-admin", Organization: []string{"system:masters"}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, caKey)
	for name, content := range map[string][]byte{"ca.crt": caPEM, "ca.key": caKeyPEM, "admin.crt": certPEM, "admin.key": keyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return rest.TLSClientConfig{CAData: caPEM, CertData: certPEM, KeyData: keyPEM}
}

// TestClusterOfBeforeServesItsOldKubeconfig: until a rotation, and no longer.
func TestClusterOfBeforeServesItsOldKubeconfig(t *testing.T) {
	c := embedded.NewCluster(t)
	if err := c.Process.End(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	pki := filepath.Join(c.Dir, "pki")
	if err := os.RemoveAll(pki); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(pki, 0o700); err != nil {
		t.Fatal(err)
	}
	old := formerPKI(t, pki)
	for _, name := range []string{c.Name + ".credentials", "pc-" + c.Name} {
		if err := c.Host.CoreV1().Secrets(c.Namespace).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	list := func() error {
		client, err := kubernetes.NewForConfig(&rest.Config{Host: c.Config.Host, TLSClientConfig: old})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
		return err
	}
	for _, when := range []string{"first start", "second start"} {
		c.Start()
		if err := list(); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if string(c.Config.CAData) != string(old.CAData) {
			t.Errorf("%s: the door has another authority", when)
		}
		c.Kill()
	}
	p, err := embedded.Start(c.Dir, "rotate", nil, "rotate", "--config", c.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	if <-p.Done; p.Err != nil {
		t.Fatalf("porticod rotate: %v\n%s", p.Err, p.Tail())
	}
	c.Start()
	if err := list(); !apierrors.IsUnauthorized(err) {
		t.Errorf("after a rotation: %v, want 401", err)
	}
	if _, err := c.Virtual.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("the new kubeconfig: %v", err)
	}
}

// TestServingCertificateFollowsTheService: addresses that the host gives to the
// cluster's own Service are in the door's certificate without a restart.
func TestServingCertificateFollowsTheService(t *testing.T) {
	c := embedded.NewCluster(t)
	services := c.Host.CoreV1().Services(c.Namespace)
	svc, err := services.Get(t.Context(), c.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{
		"localhost", "127.0.0.1", c.Name, c.Name + "." + c.Namespace, c.Name + "." + c.Namespace + ".svc",
		c.Name + "." + c.Namespace + ".svc.cluster.local", svc.Spec.ClusterIP, "kubernetes.default.svc",
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.Config.CAData) {
		t.Fatal("the kubeconfig has no authority")
	}
	serves := func(ctx context.Context, names []string) error {
		conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: roots}}).DialContext(ctx, "tcp", c.Config.Host[len("https://"):])
		if err != nil {
			return err
		}
		defer conn.Close()
		cert := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
		for _, name := range names {
			if err := cert.VerifyHostname(name); err != nil {
				return err
			}
		}
		return nil
	}
	if err := serves(t.Context(), names); err != nil {
		t.Error(err)
	}
	if _, err := services.Patch(t.Context(), c.Name, types.MergePatchType, []byte(`{"spec":{"type":"LoadBalancer","externalIPs":["192.0.2.9"]}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := services.Patch(t.Context(), c.Name, types.MergePatchType,
		[]byte(`{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.10"},{"hostname":"lb.example"}]}}}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "the new addresses", func(ctx context.Context) (bool, string) {
		err := serves(ctx, append(names, "192.0.2.9", "192.0.2.10", "lb.example"))
		return err == nil, fmt.Sprint(err)
	})
}

// TestKubeconfigOnTheHostIsPutBack: it works, and a deletion is made good.
func TestKubeconfigOnTheHostIsPutBack(t *testing.T) {
	c := embedded.NewCluster(t)
	secrets, name := c.Host.CoreV1().Secrets(c.Namespace), "pc-"+c.Name
	get := func(other types.UID) (found *corev1.Secret) {
		embedded.Eventually(t, "Secret "+name, func(ctx context.Context) (bool, string) {
			var err error
			found, err = secrets.Get(ctx, name, metav1.GetOptions{})
			return err == nil && found.UID != other, fmt.Sprint(err)
		})
		return found
	}
	first := get("")
	if err := secrets.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := secrets.Delete(t.Context(), c.Name+".credentials", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	again := get(first.UID)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: c.Config.Host, TLSClientConfig: rest.TLSClientConfig{
		CAData: again.Data["certificate-authority"], CertData: again.Data["client-certificate"], KeyData: again.Data["client-key"],
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := c.Virtual.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("the kubeconfig of before: %v", err)
	}
}

// TestReplicasFollowARotation: none of them accepts the old certificate, and
// each accepts certificates that another one issued.
func TestReplicasFollowARotation(t *testing.T) {
	r := newReplicated(t, 2)
	list := func(at *replica, credential *rest.Config) error {
		config := rest.CopyConfig(credential)
		config.Host = at.config.Host
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
		return err
	}
	p, err := embedded.Start(r.replicas[0].dir, "rotate", nil, "rotate", "--config", filepath.Join(r.replicas[0].dir, "portico.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if <-p.Done; p.Err != nil {
		t.Fatalf("porticod rotate: %v\n%s", p.Err, p.Tail())
	}
	for i, at := range r.replicas {
		for j, of := range r.replicas {
			embedded.Eventually(t, fmt.Sprintf("replica %d refuses the old kubeconfig of replica %d", i, j), func(context.Context) (bool, string) {
				err := list(at, of.config)
				return apierrors.IsUnauthorized(err), fmt.Sprint(err)
			})
		}
	}
	for i, of := range r.replicas {
		var config *rest.Config
		embedded.Eventually(t, fmt.Sprintf("new kubeconfig of replica %d", i), func(context.Context) (bool, string) {
			var err error
			config, err = clientcmd.BuildConfigFromFlags("", filepath.Join(of.dir, "kubeconfig.yaml"))
			return err == nil && string(config.CertData) != string(of.config.CertData), fmt.Sprint(err)
		})
		for j, at := range r.replicas {
			if err := list(at, config); err != nil {
				t.Errorf("replica %d, kubeconfig of replica %d: %v", j, i, err)
			}
		}
	}
}
