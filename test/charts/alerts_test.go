// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// ruleSpec is the content of the rendered PrometheusRule.
type ruleSpec struct {
	Groups []struct {
		Name  string
		Rules []struct{ Alert string }
	}
}

func renderedRules(t *testing.T) (spec []byte, alerts []string) {
	t.Helper()
	rendered := render(t, "controlPlane: {prometheusRule: {enabled: true}}")
	for document := range strings.SplitSeq(rendered, "\n---\n") {
		var object struct {
			Kind string
			Spec json.RawMessage
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil || object.Kind != "PrometheusRule" {
			continue
		}
		var s ruleSpec
		if err := json.Unmarshal(object.Spec, &s); err != nil {
			t.Fatal(err)
		}
		for _, g := range s.Groups {
			for _, r := range g.Rules {
				alerts = append(alerts, r.Alert)
			}
		}
		return object.Spec, alerts
	}
	t.Fatal("the chart renders no PrometheusRule")
	return nil, nil
}

// TestAlertsAreRules has Prometheus' own parser read the rules of the chart.
func TestAlertsAreRules(t *testing.T) {
	spec, alerts := renderedRules(t)
	asYAML, err := yaml.JSONToYAML(spec)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "alerts.yaml")
	if err := os.WriteFile(file, asYAML, 0o600); err != nil {
		t.Fatal(err)
	}
	check := exec.CommandContext(t.Context(), "go", "run", ".", file)
	check.Dir = "../alerts"
	check.Env = append(os.Environ(), "GOFLAGS=-mod=readonly")
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%d alerts: %v\n%s", len(alerts), err, out)
	}
}

// TestEachAlertIsExplained compares the alerts with the sections of the page for
// operators.
func TestEachAlertIsExplained(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var explained []string
	for _, m := range regexp.MustCompile(`(?m)^### (Portico\w+)$`).FindAllStringSubmatch(string(page), -1) {
		explained = append(explained, m[1])
	}
	_, alerts := renderedRules(t)
	if d := cmp.Diff(alerts, explained); d != "" {
		t.Errorf("docs/operations.md explains other alerts (-alerts +sections):\n%s", d)
	}
}

// TestTheDashboardIsJSON: nothing else reads it before Grafana does.
func TestTheDashboardIsJSON(t *testing.T) {
	content, err := os.ReadFile("../../charts/portico/files/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		if p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %+v shows nothing", p)
		}
	}
}
