// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/test/embedded"
)

// families parses measurements in the text format.
func families(t *testing.T, text []byte) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	found, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// freePort is one without a listener now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// operatorsMetrics reads a cluster's listener as a Prometheus on the host does.
func operatorsMetrics(t *testing.T, c *embedded.Cluster, at string) []byte {
	t.Helper()
	secret, err := c.Host.CoreV1().Secrets(c.Namespace).Get(t.Context(), c.Name+".metrics", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	access, err := c.Host.CoreV1().Secrets(c.Namespace).Get(t.Context(), "pc-"+c.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(access.Data["certificate-authority"])
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: roots, ServerName: fmt.Sprintf("%s.%s.svc", c.Name, c.Namespace), MinVersion: tls.VersionTLS12,
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+at+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+string(secret.Data["token"]))
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("scrape: %s, %v\n%.500s", answer.Status, err, body)
	}
	return body
}

// TestMeasurements has both readers read one cluster, and looks for each family
// that the chart's alerts and dashboard ask for.
func TestMeasurements(t *testing.T) {
	at := freePort(t)
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), "metrics:\n  listen: "+at+"\n")
	c.CreateNamespace("a")
	c.CreatePod("a", embedded.Pod("p", nil))
	c.Settled("a", "p")

	found := families(t, operatorsMetrics(t, c, at))
	for _, file := range []string{"alerts.yaml", "dashboard.json"} {
		content, err := os.ReadFile("../../charts/portico/files/" + file)
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`\b([a-z]+(?:_[a-z]+)+)\{`).FindAllStringSubmatch(string(content), -1)
		if len(names) < 10 {
			t.Fatalf("%s asks for %d families only", file, len(names))
		}
		for _, n := range names {
			if _, ok := found[strings.TrimSuffix(n[1], "_bucket")]; !ok {
				t.Errorf("%s asks for %s, which is not measured", file, n[1])
			}
		}
	}
	var creates float64
	for _, m := range found["portico_host_requests_total"].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["verb"] == "create" && labels["resource"] == "pods" && labels["code"] == "200" {
			creates = m.GetCounter().GetValue()
		}
	}
	if creates != 1 {
		t.Errorf("%v creations of pods on the host are counted, want 1", creates)
	}
	if got := found["portico_leading"].GetMetric()[0].GetGauge().GetValue(); got != 1 {
		t.Errorf("portico_leading is %v for the only replica", got)
	}

	asTenant, err := c.Virtual.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name := range families(t, asTenant) {
		if strings.HasPrefix(name, "portico_") || strings.HasPrefix(name, "rest_client_") || strings.HasPrefix(name, "process_") {
			t.Errorf("the tenant reads %s", name)
		}
	}
	if _, ok := families(t, asTenant)["apiserver_request_total"]; !ok {
		t.Error("the tenant does not read apiserver_request_total")
	}
	if strings.Contains(string(asTenant), c.Namespace) {
		t.Error("the tenant's measurements name the host namespace")
	}
	err = c.Virtual.Discovery().RESTClient().Delete().AbsPath("/metrics").Do(t.Context()).Error()
	if err == nil {
		t.Error("a tenant resets the measurements")
	}
}

// TestTheHostHearsHowAClusterIs: an operator finds Events about the anchor, and
// a store that is nearly full is among them.
func TestTheHostHearsHowAClusterIs(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), "store:\n  maxSize: 16Mi\n")
	c.CreateNamespace("a")
	hears := func(kind, reason string) {
		embedded.Eventually(t, kind+" Event "+reason, func(ctx context.Context) (bool, string) {
			found, err := c.Host.CoreV1().Events(c.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=" + reason + ",type=" + kind})
			return err == nil && len(found.Items) > 0 && found.Items[0].InvolvedObject.Name == c.Name+".anchor", fmt.Sprint(found, err)
		})
	}
	hears(corev1.EventTypeNormal, "ClusterReady")
	for i := range 15 {
		_, err := c.Virtual.CoreV1().ConfigMaps("a").Create(t.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("cm-%d", i)}, BinaryData: map[string][]byte{"content": make([]byte, 960<<10)},
		}, metav1.CreateOptions{})
		if apierrors.IsForbidden(err) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	hears(corev1.EventTypeWarning, "StoreNearlyFull")
	if err := c.Virtual.CoreV1().ConfigMaps("a").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	hears(corev1.EventTypeNormal, "StoreNearlyFull")
	if got, err := c.Virtual.CoreV1().Events("").List(t.Context(), metav1.ListOptions{FieldSelector: "reason=StoreNearlyFull"}); err != nil || len(got.Items) > 0 {
		t.Errorf("the tenant reads %v (%v)", got, err)
	}
}
