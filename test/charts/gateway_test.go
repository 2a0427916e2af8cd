// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/engine"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	psapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/charts"
)

// gateway renders the chart of the gateway.
func gateway(t *testing.T, values string) (string, error) {
	t.Helper()
	chart, err := charts.Read(os.DirFS(filepath.Join("..", "..", "charts", "portico-gateway")))
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(values), &set); err != nil {
		t.Fatal(err)
	}
	all, err := util.ToRenderValues(chart, set, common.ReleaseOptions{Name: "gw", Namespace: "portico-gateway", IsInstall: true, Revision: 1}, nil)
	if err != nil {
		return "", err
	}
	files, err := engine.Render(chart, all)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if text := strings.TrimSpace(files[name]); text != "" && strings.HasSuffix(name, ".yaml") {
			fmt.Fprintf(&b, "---\n# Source: %s\n%s\n", name, strings.TrimPrefix(text, "---\n"))
		}
	}
	return b.String(), err
}

// gatewayCases are the renderings of all values under testdata/gateway.
func gatewayCases(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "gateway", "*.values.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases (%v)", err)
	}
	all := map[string]string{}
	for _, file := range files {
		values, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if all[file], err = gateway(t, string(values)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return all
}

func TestGatewayGolden(t *testing.T) {
	for file, got := range gatewayCases(t) {
		objects(t, got)
		golden := strings.TrimSuffix(file, ".values.yaml") + ".golden.yaml"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("the chart renders something else; go test ./test/charts -update writes it again (-want +got):\n%s", d)
		}
	}
}

// TestGatewayPodsMeetRestricted: as those of virtual clusters do, and no tenant
// can attract the gateway's traffic.
func TestGatewayPodsMeetRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := psapi.LevelVersion{Level: psapi.LevelRestricted, Version: psapi.LatestVersion()}
	for file, rendering := range gatewayCases(t) {
		all := objects(t, rendering)
		pods := podTemplates(t, all)
		if len(pods) != 1 {
			t.Errorf("%s: %d kinds of pods", file, len(pods))
		}
		for name, pod := range pods {
			for _, r := range evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec) {
				if !r.Allowed {
					t.Errorf("%s: %s: %s: %s", file, name, r.ForbiddenReason, r.ForbiddenDetail)
				}
			}
		}
		for _, obj := range all {
			content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range selectors(content) {
				for key := range s {
					if !strings.HasPrefix(key, "portico.dev/") {
						t.Errorf("%s: %T selects by %s", file, obj, key)
					}
				}
			}
		}
	}
}

// TestGatewayRights: it sees Services, in listed namespaces only if there are
// some, has tokens reviewed if it takes any, and patches control planes if it
// wakes them. It reads no Secret.
func TestGatewayRights(t *testing.T) {
	services := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"get", "list", "watch"}}
	reviews := rbacv1.PolicyRule{APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []string{"create"}}
	wake := rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"statefulsets", "deployments"}, Verbs: []string{"get", "list", "watch", "patch"}}
	for values, want := range map[string]map[string][]rbacv1.PolicyRule{
		"wake: {enabled: true}":                    {"": {services, wake}},
		"{namespaces: [a], wake: {enabled: true}}": {"a": {services, wake}},
		"{}":                                     {"": {services}},
		"namespaces: [a, b]":                     {"a": {services}, "b": {services}},
		"connect: {enabled: true, tlsSecret: s}": {"": {services, reviews}},
		"{namespaces: [a], connect: {enabled: true, tlsSecret: s}}": {"": {reviews}, "a": {services}},
	} {
		rendering, err := gateway(t, values)
		if err != nil {
			t.Fatal(err)
		}
		all, got := objects(t, rendering), map[string][]rbacv1.PolicyRule{}
		for _, r := range of[*rbacv1.ClusterRole](all) {
			got[""] = r.Rules
		}
		for _, r := range of[*rbacv1.Role](all) {
			got[r.Namespace] = r.Rules
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", values, d)
		}
		if bound := len(of[*rbacv1.ClusterRoleBinding](all)) + len(of[*rbacv1.RoleBinding](all)); bound != len(got) {
			t.Errorf("%s: %d roles, %d bindings", values, len(got), bound)
		}
	}
}

func TestGatewayRefuses(t *testing.T) {
	for values, want := range map[string]string{
		"connect: {enabled: true}":        "connect.tlsSecret",
		"domain: gw.example":              "domain",
		"address: gw.example":             "address",
		"address: https://gw.example:443": "address",
		"namespaces: [a.b]":               "namespaces",
		"domains: ['*.gw.example']":       "domains",
		"service: {type: ExternalName}":   "ClusterIP",
		"idleTimeout: 5":                  "idleTimeout",
	} {
		if _, err := gateway(t, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", values, err)
		}
	}
}
