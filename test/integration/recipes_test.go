// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/test/embedded"
)

// published is a Go module that has the definitions of its kinds in it. The program
// itself is not built.
type published struct{ path, version, sum string }

var (
	certManager        = published{"github.com/cert-manager/cert-manager", "v1.21.2", "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68="}
	prometheusOperator = published{"github.com/prometheus-operator/prometheus-operator", "v0.85.0", "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s="}
	argoCD             = published{"github.com/argoproj/argo-cd/v3", "v3.5.0", "h1:iqnPFSKaQ0l3hREMH2Rk55VDcxrvBFaSO0g9bifZKzc="}
)

// definedOnHost gives the shared host the definitions in files of a module.
func definedOnHost(t *testing.T, host dynamic.Interface, m published, files ...string) {
	t.Helper()
	download := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", m.path+"@"+m.version)
	download.Dir = t.TempDir() // outside of this module, whose dependency it is not
	out, err := download.Output()
	if err != nil {
		t.Fatalf("download %s: %v\n%s", m.path, err, out)
	}
	var got struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &got); err != nil || got.Sum != m.sum {
		t.Fatalf("%s has the sum %s (%v), want %s", m.path, got.Sum, err, m.sum)
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(got.Dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
			crd := &unstructured.Unstructured{}
			if err := yaml.Unmarshal(document, &crd.Object); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if crd.Object == nil {
				continue
			}
			if _, err := host.Resource(definitions).Create(t.Context(), crd, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := host.Resource(definitions).Delete(context.Background(), crd.GetName(), metav1.DeleteOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// recipe is the configuration of a page in docs/recipes.
func recipe(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs/recipes", page+".md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "```yaml\n")
	block, _, closed := strings.Cut(after, "```")
	if !ok || !closed {
		t.Fatalf("%s has no configuration", page)
	}
	return block
}

// copyOf waits for the copy of an object.
func copyOf(t *testing.T, c *embedded.Cluster, outside dynamic.ResourceInterface, name string) *unstructured.Unstructured {
	t.Helper()
	var copied *unstructured.Unstructured
	embedded.Eventually(t, "copy of "+name+" on the host", func(ctx context.Context) (bool, string) {
		var err error
		copied, err = outside.Get(ctx, c.HostName("shop", name), metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	return copied
}

func text(obj *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(obj.Object, path...)
	return s
}

// TestRecipeCertManager: with the definitions of cert-manager, a tenant's authority
// and Certificate reach the host with what they name, and the Secret comes back. The
// test plays cert-manager.
func TestRecipeCertManager(t *testing.T) {
	host := hostDynamic(t)
	definedOnHost(t, host, certManager, "deploy/crds/cert-manager.io_certificates.yaml", "deploy/crds/cert-manager.io_issuers.yaml", "deploy/crds/cert-manager.io_clusterissuers.yaml")
	group := schema.GroupVersion{Group: "cert-manager.io", Version: "v1"}
	issuers, certificates, clusterIssuers := group.WithResource("issuers"), group.WithResource("certificates"), group.WithResource("clusterissuers")
	shared := created(t, host.Resource(clusterIssuers), custom(clusterIssuers, "ClusterIssuer", "everybodys", map[string]any{"selfSigned": map[string]any{}}))
	t.Cleanup(func() {
		if err := host.Resource(clusterIssuers).Delete(context.Background(), shared.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), recipe(t, "cert-manager"))
	virtual, _ := dynamicOf(t, c)
	ctx := t.Context()
	c.CreateNamespace("shop")
	if _, err := c.Virtual.CoreV1().Secrets("shop").Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "authority"}, Data: map[string][]byte{"tls.crt": []byte("c"), "tls.key": []byte("k")},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	created(t, virtual.Resource(issuers).Namespace("shop"), custom(issuers, "Issuer", "ours", map[string]any{"ca": map[string]any{"secretName": "authority"}}))
	inside, outside := virtual.Resource(certificates).Namespace("shop"), host.Resource(certificates).Namespace(c.Namespace)
	for name, issuer := range map[string]map[string]any{
		"web":   {"name": "ours", "kind": "Issuer"},
		"web-2": {"name": "everybodys", "kind": "ClusterIssuer"},
	} {
		created(t, inside, custom(certificates, "Certificate", name, map[string]any{
			"secretName": name + "-tls", "dnsNames": []any{"shop.example.com"}, "issuerRef": issuer,
			"secretTemplate": map[string]any{"labels": map[string]any{rewrite.LabelCluster: "another"}},
		}))
	}

	issuer := copyOf(t, c, host.Resource(issuers).Namespace(c.Namespace), "ours")
	embedded.Eventually(t, "Secret of the authority on the host", func(ctx context.Context) (bool, string) {
		s, err := c.Host.CoreV1().Secrets(c.Namespace).Get(ctx, text(issuer, "spec", "ca", "secretName"), metav1.GetOptions{})
		return err == nil && string(s.Data["tls.key"]) == "k", fmt.Sprint(err)
	})
	if got := text(copyOf(t, c, outside, "web-2"), "spec", "issuerRef", "name"); got != "everybodys" {
		t.Errorf("the second Certificate names the ClusterIssuer %q", got)
	}
	web := copyOf(t, c, outside, "web")
	if got := text(web, "spec", "issuerRef", "name"); got != issuer.GetName() {
		t.Errorf("the Certificate names the Issuer %q, which is %q on the host", got, issuer.GetName())
	}
	if _, ok, _ := unstructured.NestedMap(web.Object, "spec", "secretTemplate"); ok {
		t.Error("labels of the tenant's choice would get on the Secret")
	}

	issued := text(web, "spec", "secretName")
	if _, err := c.Host.CoreV1().Secrets(c.Namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: issued}, Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": []byte("issued"), "tls.key": []byte("key")},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ready := `{"status":{"conditions":[{"type":"Ready","status":"True","reason":"Ready","message":"issued into ` + issued + `","observedGeneration":1}]}}`
	if _, err := outside.Patch(ctx, web.GetName(), types.MergePatchType, []byte(ready), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "Ready inside, in the tenant's names", func(ctx context.Context) (bool, string) {
		v, err := inside.Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		conditions, _, _ := unstructured.NestedSlice(v.Object, "status", "conditions")
		return len(conditions) == 1 && conditions[0].(map[string]any)["message"] == "issued into web-tls", fmt.Sprint(conditions)
	})
	embedded.Eventually(t, "issued Secret inside", func(ctx context.Context) (bool, string) {
		s, err := c.Virtual.CoreV1().Secrets("shop").Get(ctx, "web-tls", metav1.GetOptions{})
		return err == nil && string(s.Data["tls.crt"]) == "issued", fmt.Sprint(err)
	})
	embedded.Eventually(t, "ClusterIssuer of the host inside", func(ctx context.Context) (bool, string) {
		_, err := virtual.Resource(clusterIssuers).Get(ctx, "everybodys", metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})

	// What a solver has made on the host is not of the tenant's making.
	created(t, virtual.Resource(issuers).Namespace("shop"), custom(issuers, "Issuer", "acme", map[string]any{"acme": map[string]any{
		"server": "https://acme.example.com", "privateKeySecretRef": map[string]any{"name": "account"},
		"solvers": []any{map[string]any{"http01": map[string]any{"ingress": map[string]any{
			"name":            "front",
			"ingressTemplate": map[string]any{"metadata": map[string]any{"annotations": map[string]any{"nginx.ingress.kubernetes.io/server-snippet": "x"}}},
			"podTemplate":     map[string]any{"metadata": map[string]any{"labels": map[string]any{rewrite.LabelCluster: "another"}}},
		}}}},
	}}))
	acme := copyOf(t, c, host.Resource(issuers).Namespace(c.Namespace), "acme")
	solvers, _, _ := unstructured.NestedSlice(acme.Object, "spec", "acme", "solvers")
	want := []any{map[string]any{"http01": map[string]any{"ingress": map[string]any{"name": c.HostName("shop", "front")}}}}
	if d := cmp.Diff(want, solvers); d != "" {
		t.Errorf("solvers of the copy (-want +got):\n%s", d)
	}

	// A path that the recipe does not have.
	created(t, virtual.Resource(issuers).Namespace("shop"), custom(issuers, "Issuer", "vault", map[string]any{"vault": map[string]any{
		"server": "https://vault.example.com", "path": "a", "auth": map[string]any{"tokenSecretRef": map[string]any{"name": c.Name + ".pki", "key": "k"}},
	}}))
	embedded.Eventually(t, "Event about an Issuer that names something else", func(ctx context.Context) (bool, string) {
		events, err := c.Virtual.CoreV1().Events("shop").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=vault"})
		return err == nil && len(events.Items) > 0 && strings.Contains(events.Items[0].Message, "tokenSecretRef"), fmt.Sprint(events, err)
	})
}

// TestRecipePrometheusOperator: with the definition of prometheus-operator, a monitor
// of a tenant's selects their own Services only.
func TestRecipePrometheusOperator(t *testing.T) {
	host := hostDynamic(t)
	definedOnHost(t, host, prometheusOperator, "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml")
	r := schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: "servicemonitors"}
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), recipe(t, "prometheus-operator"))
	virtual, _ := dynamicOf(t, c)
	c.CreateNamespace("shop")
	monitor := custom(r, "ServiceMonitor", "web", map[string]any{
		"selector":          map[string]any{"matchLabels": map[string]any{"app": "web"}},
		"namespaceSelector": map[string]any{"any": true},
		"scrapeClass":       "operators",
		"endpoints": []any{map[string]any{
			"port": "metrics", "bearerTokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token",
			"tlsConfig": map[string]any{"caFile": "/ca", "certFile": "/cert", "keyFile": "/key"},
		}},
	})
	monitor.SetLabels(map[string]string{"release": "prometheus"})
	created(t, virtual.Resource(r).Namespace("shop"), monitor)
	copied := copyOf(t, c, host.Resource(r).Namespace(c.Namespace), "web")
	if l := copied.GetLabels(); l["release"] != "prometheus" || l["tenant"] != c.Name {
		t.Errorf("the copy has the labels %v", l)
	}
	content, _, _ := unstructured.NestedMap(copied.Object, "spec", "selector")
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &selector); err != nil {
		t.Fatal(err)
	}
	selects, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		t.Fatal(err)
	}
	for who, of := range map[string]struct {
		labels labels.Set
		want   bool
	}{
		"their own":           {labels.Set{"app": "web", rewrite.LabelCluster: c.Name, rewrite.LabelNamespace: "shop"}, true},
		"another application": {labels.Set{"app": "db", rewrite.LabelCluster: c.Name, rewrite.LabelNamespace: "shop"}, false},
		"another namespace's": {labels.Set{"app": "web", rewrite.LabelCluster: c.Name, rewrite.LabelNamespace: "other"}, false},
		"another tenant's":    {labels.Set{"app": "web", rewrite.LabelCluster: "other", rewrite.LabelNamespace: "shop"}, false},
		"the host's":          {labels.Set{"app": "web"}, false},
	} {
		if got := selects.Matches(of.labels); got != of.want {
			t.Errorf("the copy, which selects %s, matches a Service of %s: %v", selects, who, got)
		}
	}
	if any, _, _ := unstructured.NestedBool(copied.Object, "spec", "namespaceSelector", "any"); any {
		t.Error("the copy looks into every namespace of the host")
	}
	endpoints, _, _ := unstructured.NestedSlice(copied.Object, "spec", "endpoints")
	if d := cmp.Diff([]any{map[string]any{"port": "metrics", "tlsConfig": map[string]any{}}}, endpoints); d != "" {
		t.Errorf("endpoints of the copy, without files of Prometheus (-want +got):\n%s", d)
	}
	if class := text(copied, "spec", "scrapeClass"); class != "" {
		t.Errorf("the copy has the operator's scrape class %q", class)
	}
}

// TestRecipeArgoCD: with the definition of Argo CD, an Application of a tenant's
// leads into their own cluster, whatever they wrote, and has its status back. The
// kind has no subresource for it.
func TestRecipeArgoCD(t *testing.T) {
	host := hostDynamic(t)
	definedOnHost(t, host, argoCD, "manifests/crds/application-crd.yaml")
	r := schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), recipe(t, "argo-cd"))
	virtual, _ := dynamicOf(t, c)
	ctx := t.Context()
	c.CreateNamespace("shop")
	inside, outside := virtual.Resource(r).Namespace("shop"), host.Resource(r).Namespace(c.Namespace)
	created(t, inside, custom(r, "Application", "web", map[string]any{
		"project":     "default",
		"source":      map[string]any{"repoURL": "https://git.example.com/web.git", "path": "."},
		"destination": map[string]any{"server": "https://kubernetes.default.svc", "namespace": "prod"},
	}))
	copied := copyOf(t, c, outside, "web")
	if text(copied, "spec", "project") != "tenants" || text(copied, "spec", "destination", "name") != c.Name ||
		text(copied, "spec", "destination", "server") != "" || text(copied, "spec", "destination", "namespace") != "prod" {
		t.Errorf("the copy is %v", copied.Object["spec"])
	}
	if _, err := outside.Patch(ctx, copied.GetName(), types.MergePatchType, []byte(`{"status":{"sync":{"status":"Synced"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "status inside", func(ctx context.Context) (bool, string) {
		v, err := inside.Get(ctx, "web", metav1.GetOptions{})
		return err == nil && text(v, "status", "sync", "status") == "Synced", fmt.Sprint(err)
	})
}
