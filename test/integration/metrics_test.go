// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"fmt"
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

// TestMeasurements has both readers read one cluster, and looks for each family
// that the chart's alerts and dashboard ask for.
func TestMeasurements(t *testing.T) {
	at := embedded.FreePort(t)
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), "metrics:\n  listen: "+at+"\n")
	c.CreateNamespace("a")
	c.CreatePod("a", embedded.Pod("p", nil))
	c.Settled("a", "p")

	found := families(t, c.Measurements(at))
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

	for _, name := range []string{"portico_host_cache_lag_revisions", "portico_host_cache_lag_seconds"} {
		lags := map[string]bool{}
		for _, m := range found[name].GetMetric() {
			lags[m.GetLabel()[0].GetValue()] = true
		}
		if !lags["pods"] || !lags["services"] || !lags["persistentvolumeclaims"] {
			t.Errorf("%s is measured for %v only", name, lags)
		}
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
