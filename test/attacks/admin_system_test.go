// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/test/embedded"
)

// A tenant deletes kube-system/kube-dns, whose address all pods have, to make
// that address free for another tenant of the host: by a deletion, a cascade, a
// collection, an owner that does not exist, and the deletion of the namespace.
// The Service stays the same object at the same address.
func TestAttackTenantFreesTheAddressOfTheDNS(t *testing.T) {
	c := embedded.NewCluster(t)
	services := c.Virtual.CoreV1().Services("kube-system")
	hosts := c.Host.CoreV1().Services(c.Namespace)
	before, err := hosts.Get(t.Context(), c.HostName("kube-system", "kube-dns"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	zero := int64(0)
	for name, attempt := range map[string]func() error{
		"delete": func() error { return services.Delete(t.Context(), "kube-dns", metav1.DeleteOptions{}) },
		"delete now": func() error {
			return services.Delete(t.Context(), "kube-dns", metav1.DeleteOptions{GracePeriodSeconds: &zero})
		},
		"cascade": func() error {
			foreground := metav1.DeletePropagationForeground
			return services.Delete(t.Context(), "kube-dns", metav1.DeleteOptions{PropagationPolicy: &foreground})
		},
		"orphans": func() error {
			orphan := metav1.DeletePropagationOrphan
			return services.Delete(t.Context(), "kube-dns", metav1.DeleteOptions{PropagationPolicy: &orphan})
		},
		"collection": func() error {
			return c.Virtual.CoreV1().RESTClient().Delete().Namespace("kube-system").Resource("services").Do(t.Context()).Error()
		},
		"namespace": func() error {
			return c.Virtual.CoreV1().Namespaces().Delete(t.Context(), "kube-system", metav1.DeleteOptions{})
		},
	} {
		if err := attempt(); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want 403", name, err)
		}
	}

	// The garbage collector would do, for the tenant, the deletion that the
	// tenant may not do. It has passed when it has removed another object whose
	// owner does not exist.
	owner := `[{"apiVersion":"v1","kind":"ConfigMap","name":"nobody","uid":"00000000-0000-0000-0000-000000000001"}]`
	if _, err := services.Patch(t.Context(), "kube-dns", types.MergePatchType, []byte(`{"metadata":{"ownerReferences":`+owner+`}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.CreateService("kube-system", "orphan", corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}})
	if _, err := services.Patch(t.Context(), "orphan", types.MergePatchType, []byte(`{"metadata":{"ownerReferences":`+owner+`}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "the orphan is gone", func(ctx context.Context) (bool, string) {
		_, err := services.Get(ctx, "orphan", metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
	after, err := hosts.Get(t.Context(), before.Name, metav1.GetOptions{})
	if err != nil || after.UID != before.UID || after.DeletionTimestamp != nil || after.Spec.ClusterIP != before.Spec.ClusterIP {
		t.Errorf("the Service of the DNS is %+v (%v), want it as it was", after, err)
	}
}

// A tenant reads everything there is in the cluster, to learn the name of the
// operator's machine. It is in no object, no metric, no document and no
// certificate, and neither is its hash, by which it could be guessed. A Lease
// that an older porticod has left is gone.
func TestAttackTenantLearnsTheNameOfTheMachine(t *testing.T) {
	const machine = "operators-machine-7f3a"
	c := embedded.NewCluster(t)
	left := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Name: "apiserver-left", Labels: map[string]string{"apiserver.kubernetes.io/identity": "kube-apiserver", corev1.LabelHostname: machine},
	}}
	if _, err := c.Virtual.CoordinationV1().Leases("kube-system").Create(t.Context(), left, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Process.End(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.Environment = append(c.Environment, embedded.HostnameEnv+"="+machine)
	c.Start()
	c.CreateNamespace("a")
	c.CreatePod("a", embedded.Pod("p", nil))
	c.Settled("a", "p")
	embedded.Eventually(t, "the Lease of before is gone", func(ctx context.Context) (bool, string) {
		_, err := c.Virtual.CoordinationV1().Leases("kube-system").Get(ctx, left.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})

	// k8s.io/apiserver/pkg/server/config.go: the identity of an API server.
	hash := sha256.Sum256([]byte("\x00" + string(rune(len(machine))) + machine + "\x00\x0ekube-apiserver"))
	secrets := []string{machine, strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(hash[:16]))}
	for what, text := range readable(t, c) {
		for _, s := range secrets {
			if at := strings.Index(strings.ToLower(text), s); at >= 0 {
				t.Errorf("%s: ...%s...", what, text[max(0, at-200):min(len(text), at+200)])
			}
		}
	}
}

// readable is all that an administrator can read, by where it is.
func readable(t *testing.T, c *embedded.Cluster) map[string]string {
	t.Helper()
	all := map[string]string{}
	get := func(path string) {
		t.Helper()
		b, err := c.Virtual.Discovery().RESTClient().Get().AbsPath(path).DoRaw(t.Context())
		if err != nil && !apierrors.IsMethodNotSupported(err) && !apierrors.IsNotFound(err) {
			t.Errorf("GET %s: %v", path, err)
		}
		all[path] = string(b)
	}
	for _, path := range []string{"/version", "/metrics", "/metrics/slis", "/api", "/apis", "/openid/v1/jwks", "/.well-known/openid-configuration", "/readyz", "/"} {
		get(path)
	}
	_, lists, err := c.Virtual.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, list := range lists {
		if strings.HasPrefix(list.GroupVersion, "metrics.k8s.io/") {
			continue // the host has no metrics server
		}
		root := "/apis/" + list.GroupVersion + "/"
		if list.GroupVersion == "v1" {
			root = "/api/v1/"
		}
		for _, r := range list.APIResources {
			if slices.Contains(r.Verbs, "list") {
				get(root + r.Name)
				n++
			}
		}
	}
	if n < 50 {
		t.Errorf("%d lists are not all that there is", n)
	}
	kubeconfig, err := os.ReadFile(c.KubeconfigPath())
	if err != nil {
		t.Fatal(err)
	}
	all["kubeconfig"] = string(kubeconfig)
	server, err := url.Parse(c.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.Config.CAData)
	conn, err := tls.Dial("tcp", server.Host, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i, cert := range conn.ConnectionState().PeerCertificates {
		all[fmt.Sprint("certificate ", i)] = fmt.Sprint(cert.Subject, cert.Issuer, cert.DNSNames, cert.IPAddresses)
	}
	return all
}
