// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

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
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"portico.dev/portico/test/embedded"
)

// keptAlive is one connection of a client to the API.
type keptAlive struct {
	t      *testing.T
	client *http.Client
	url    string
}

func keepAlive(t *testing.T, c *rest.Config, http2 bool) *keptAlive {
	t.Helper()
	tlsConfig, err := rest.TLSConfigFor(c)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: tlsConfig, ForceAttemptHTTP2: http2, MaxConnsPerHost: 1}
	t.Cleanup(transport.CloseIdleConnections)
	return &keptAlive{t: t, client: &http.Client{Transport: transport}, url: c.Host + "/api/v1/namespaces"}
}

// status asks, and fails if a connection other than the first is used for it.
func (k *keptAlive) status(ctx context.Context, first bool) int {
	k.t.Helper()
	reused := false
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	response, err := k.client.Do(request)
	if err != nil {
		k.t.Fatal(err)
	}
	// So that the connection can be used again.
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if reused == first {
		k.t.Errorf("the connection was used before: %v, want %v", reused, !first)
	}
	return response.StatusCode
}

// rotate runs porticod rotate for the cluster.
func rotate(c *embedded.Cluster, more ...string) {
	c.T.Helper()
	p, err := embedded.Start(c.Dir, "rotate", nil, append([]string{"rotate", "--config", c.ConfigPath()}, more...)...)
	if err != nil {
		c.T.Fatal(err)
	}
	<-p.Done
	if p.Err != nil {
		c.T.Fatalf("porticod rotate: %v\n%s", p.Err, p.Tail())
	}
}

// A former administrator kept the kubeconfig, with connections and a watch open.
// The credential was revoked by porticod rotate while the cluster ran. Each
// request is answered 401, on those connections too, the watch ends, and it
// stays so after a restart. The new kubeconfig works without one.
func TestAttackRevokedAdminCredential(t *testing.T) {
	c := embedded.NewCluster(t)
	old := rest.CopyConfig(c.Config)
	connections := map[string]*keptAlive{"HTTP/1.1": keepAlive(t, old, false), "HTTP/2": keepAlive(t, old, true)}
	for protocol, k := range connections {
		if got := k.status(t.Context(), true); got != http.StatusOK {
			t.Fatalf("%s: %d before the rotation", protocol, got)
		}
	}
	watch, err := c.Virtual.CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	before, err := os.ReadFile(c.KubeconfigPath())
	if err != nil {
		t.Fatal(err)
	}

	rotate(c, "--wait", embedded.Patience.String())

	for protocol, k := range connections {
		embedded.Eventually(t, protocol+": the open connection is refused", func(ctx context.Context) (bool, string) {
			got := k.status(ctx, false)
			return got == http.StatusUnauthorized, fmt.Sprint(got)
		})
	}
	embedded.Eventually(t, "the watch ends", func(ctx context.Context) (bool, string) {
		select {
		case _, open := <-watch.ResultChan():
			return !open, "an event"
		default:
			return false, "open"
		}
	})
	refused := func(when, host string) {
		t.Helper()
		again := rest.CopyConfig(old)
		again.Host = host
		client, err := kubernetes.NewForConfig(again)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
			t.Errorf("%s: %v, want 401", when, err)
		}
	}
	refused("new connection", old.Host)

	works := func(when string, config *rest.Config, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	embedded.Eventually(t, "the new kubeconfig", func(context.Context) (bool, string) {
		now, err := os.ReadFile(c.KubeconfigPath())
		return err == nil && string(now) != string(before), fmt.Sprint(err)
	})
	config, err := clientcmd.BuildConfigFromFlags("", c.KubeconfigPath())
	works("the new kubeconfig", config, err)
	secret, err := c.Host.CoreV1().Secrets(c.Namespace).Get(t.Context(), "pc-"+c.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config, err = clientcmd.RESTConfigFromKubeConfig(secret.Data["config"])
	works("the Secret on the host", config, err)

	c.Kill()
	c.Start()
	refused("after a restart", c.Config.Host)
	works("after a restart", c.Config, nil)

	revoked := rest.CopyConfig(c.Config)
	c.Kill()
	rotate(c)
	c.Start()
	old = revoked
	refused("revoked while nothing ran", c.Config.Host)
	works("rotated while nothing ran", c.Config, nil)
}

// A tenant has a serving certificate with the names of the API signed, through a
// request for a kubelet that they approve themselves, to pass for the API in
// front of pods. No client that trusts kube-root-ca.crt believes it.
func TestAttackPassForTheDoorWithASignedRequest(t *testing.T) {
	c := embedded.NewCluster(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "system:node:mallory", Organization: []string{"system:nodes"}},
		DNSNames: []string{"kubernetes.default.svc"},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	// A kubelet may ask for itself only, and the tenant's administrator may be it.
	node := rest.CopyConfig(c.Config)
	node.Impersonate = rest.ImpersonationConfig{UserName: "system:node:mallory", Groups: []string{"system:nodes", "system:masters", "system:authenticated"}}
	kubelet, err := kubernetes.NewForConfig(node)
	if err != nil {
		t.Fatal(err)
	}
	request, err := kubelet.CertificatesV1().CertificateSigningRequests().Create(t.Context(), &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "mallory"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: certificatesv1.KubeletServingSignerName,
			Usages:     []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	request.Status.Conditions = append(request.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Mine",
	})
	if _, err := c.Virtual.CertificatesV1().CertificateSigningRequests().UpdateApproval(t.Context(), "mallory", request, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	var signed []byte
	embedded.Eventually(t, "the certificate", func(ctx context.Context) (bool, string) {
		r, err := c.Virtual.CertificatesV1().CertificateSigningRequests().Get(ctx, "mallory", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		signed = r.Status.Certificate
		return len(signed) > 0, fmt.Sprint(r.Status.Conditions)
	})
	var bundle string
	embedded.Eventually(t, "kube-root-ca.crt", func(ctx context.Context) (bool, string) {
		m, err := c.Virtual.CoreV1().ConfigMaps("default").Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		bundle = m.Data["ca.crt"]
		return bundle != "", "empty"
	})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(bundle)) {
		t.Fatal("kube-root-ca.crt has no certificate")
	}
	block, _ := pem.Decode(signed)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := cert.VerifyHostname("kubernetes.default.svc"); err != nil {
		t.Fatalf("the attack was not tried: %v", err)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: "kubernetes.default.svc"}); err == nil {
		t.Error("pods believe that the tenant's certificate is the API's")
	}
	conn, err := tls.Dial("tcp", c.Config.Host[len("https://"):], &tls.Config{RootCAs: roots, ServerName: "kubernetes.default.svc", MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatalf("pods do not believe the door itself: %v", err)
	}
	_ = conn.Close()
}

// A tenant makes a Secret with the name of the one on the host that has the
// administrator's kubeconfig, and pods that mount it by that name, to read the
// host's or to replace it. The Secret on the host stays, and the host pod names
// another one.
func TestAttackNameTheSecretWithTheKubeconfig(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	name := "pc-" + c.Name
	var before *corev1.Secret
	embedded.Eventually(t, "the Secret on the host", func(ctx context.Context) (bool, string) {
		var err error
		before, err = c.Host.CoreV1().Secrets(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	for _, key := range []string{"config", "certificate-authority", "client-certificate", "client-key"} {
		if len(before.Data[key]) == 0 {
			t.Errorf("the Secret on the host lacks %s", key)
		}
	}
	if before.Labels["portico.dev/cluster"] != c.Name || len(before.OwnerReferences) != 1 || before.OwnerReferences[0].Name != c.Name+".anchor" {
		t.Errorf("the Secret on the host is not the cluster's: %+v", before.ObjectMeta)
	}
	if _, err := c.Virtual.CoreV1().Secrets("a").Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{"config": "mine"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := embedded.Pod("p", nil)
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}}}
	c.CreatePod("a", p)
	for _, v := range c.HostPod("a", "p").Spec.Volumes {
		if v.Secret != nil && v.Secret.SecretName == name {
			t.Error("the host pod mounts the administrator's kubeconfig")
		}
	}
	after, err := c.Host.CoreV1().Secrets(c.Namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil || after.UID != before.UID || after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the Secret on the host was changed: %v, %v", after, err)
	}
	for _, ns := range []string{"default", "kube-system"} {
		if _, err := c.Virtual.CoreV1().Secrets(ns).Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("the tenant sees a Secret %s/%s: %v", ns, name, err)
		}
	}
}
