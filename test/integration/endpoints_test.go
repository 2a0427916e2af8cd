// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"strings"
	"testing"
	"time"
)

// An API server serves more than resources. Each endpoint answers soon, and those
// of health have the checks that upstream's tests look for
// (test/e2e/apimachinery/health_handlers.go).
func TestEndpointsBesideResources(t *testing.T) {
	c := newCluster(t)
	get := func(ctx context.Context, path string) string {
		t.Helper()
		// Far above the needs, and far below the time for which upstream waits
		// for an etcd that is not there.
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		b, err := c.Virtual.CoreV1().RESTClient().Get().RequestURI(path).DoRaw(ctx)
		if err != nil {
			t.Errorf("GET %s: %v", path, err)
		}
		return string(b)
	}
	for path, has := range map[string]string{
		"/metrics":                          "\napiserver_storage_size_bytes{",
		"/metrics/slis":                     "kubernetes_healthcheck{",
		"/statusz":                          "Binary version",
		"/version":                          `"gitVersion"`,
		"/openapi/v2":                       `"swagger"`,
		"/openapi/v3":                       `"paths"`,
		"/.well-known/openid-configuration": `"jwks_uri"`,
		"/openid/v1/jwks":                   `"keys"`,
		"/debug/api_priority_and_fairness/dump_priority_levels": "PriorityLevelName",
	} {
		if got := get(t.Context(), path); !strings.Contains(got, has) {
			t.Errorf("GET %s: no %q in %.300s", path, has, got)
		}
	}
	hooks := []string{
		"start-apiserver-admission-initializer", "generic-apiserver-start-informers", "start-apiextensions-informers",
		"start-apiextensions-controllers", "crd-informer-synced", "bootstrap-controller", "start-system-namespaces-controller",
		"start-service-ip-repair-controllers", "scheduling/bootstrap-system-priority-classes",
		"start-cluster-authentication-info-controller", "start-kube-aggregator-informers", "apiservice-registration-controller",
		"apiservice-status-local-available-controller", "apiservice-status-remote-available-controller",
		"kube-apiserver-autoregistration", "apiservice-openapi-controller", "storage-readiness", "rbac/bootstrap-roles",
		"priority-and-fairness-config-producer", "start-kubernetes-service-cidr-controller",
	}
	for path, more := range map[string][]string{
		"/healthz": nil,
		"/livez":   nil,
		"/readyz":  {"informer-sync", "shutdown", "etcd-readiness", "store", "entrance"},
	} {
		got := get(t.Context(), path+"?verbose=1")
		for _, check := range append([]string{"ping", "log", "etcd", "autoregister-completion"}, more...) {
			if !strings.Contains(got, "[+]"+check+" ok\n") {
				t.Errorf("%s?verbose: no check %s in\n%s", path, check, got)
			}
		}
		for _, hook := range hooks {
			if !strings.Contains(got, "[+]poststarthook/"+hook+" ok\n") {
				t.Errorf("%s?verbose: no hook %s in\n%s", path, hook, got)
			}
		}
		if one := get(t.Context(), path+"/etcd"); one != "ok" {
			t.Errorf("%s/etcd: %q", path, one)
		}
	}
}
