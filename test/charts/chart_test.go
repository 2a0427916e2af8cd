// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	stdcmp "cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	psapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/charts"
	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/cmd/porticod/rights"
)

// withEverything has every option of the chart that adds an object.
func withEverything(t *testing.T) []runtime.Object {
	t.Helper()
	var all []runtime.Object
	files, err := filepath.Glob(filepath.Join("testdata", "*.values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		values, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, objects(t, render(t, string(values)), "ServiceMonitor", "PrometheusRule")...)
	}
	return all
}

// TestRightsAreThoseOfTheConfiguration: the templates repeat by hand a table in
// package rights, and must not say anything else.
func TestRightsAreThoseOfTheConfiguration(t *testing.T) {
	features := make(chan map[string]bool, 1)
	features <- map[string]bool{}
	t.Run("configurations", func(t *testing.T) {
		for name, values := range map[string]string{
			"nothing":                 "",
			"no metrics":              "integrations: {metricsServer: {enabled: false}}",
			"metrics":                 "integrations: {metricsServer: {enabled: true}}",
			"devices":                 "sync: {toHost: {resourceClaims: {enabled: true}}, fromHost: {deviceClasses: {enabled: true}}}",
			"network policies":        "sync: {toHost: {networkPolicies: {enabled: true}}}",
			"disruption budgets":      "sync: {toHost: {podDisruptionBudgets: {enabled: true}}}",
			"ingresses":               "sync: {toHost: {ingresses: {enabled: true, classes: [web], allowedHosts: ['*.example.com']}}}",
			"nodes":                   "sync: {nodes: {enabled: true}}",
			"all nodes":               "sync: {nodes: {syncAllNodes: true}}",
			"selected nodes":          "sync: {nodes: {nodeSelector: a=b}}",
			"nodes without metrics":   "{sync: {nodes: {enabled: true}}, integrations: {metricsServer: {enabled: false}}}",
			"scheduler":               "sync: {nodes: {syncAllNodes: true, enableScheduler: true}}",
			"scheduler, no classes":   "sync: {nodes: {syncAllNodes: true, enableScheduler: true}, fromHost: {storageClasses: {enabled: false}}}",
			"kubelets":                "sync: {nodes: {enabled: true, proxy: true}}",
			"host's priority classes": "sync: {fromHost: {priorityClasses: {enabled: true}}}",
			"host's runtime classes":  "sync: {fromHost: {runtimeClasses: {enabled: true}}}",
			"host's storage classes":  "sync: {fromHost: {storageClasses: {enabled: true}}}",
			"some storage classes":    "sync: {fromHost: {storageClasses: {selector: {matchExpressions: [{key: tenants, operator: Exists}]}}}}",
			"no storage classes":      "sync: {fromHost: {storageClasses: {enabled: false}}}",
			"custom kinds":            "{mapServices: {fromHost: [{from: infra/db, to: shop/db}]}, sync: {custom: [{group: cert-manager.io, kind: Certificate, direction: toHost}, {group: networking.k8s.io, kind: IngressClass, resource: ingressclasses, versions: [v1], direction: fromHost, scope: Cluster}, {group: cert-manager.io, kind: ClusterIssuer, direction: fromHost, scope: Cluster}, {group: example.com, kind: Plan, direction: fromHost, namespaceMapping: {infra: plans, other: more}}]}}",
			"mapped Services":         "mapServices: {fromVirtual: [{from: shop/web, to: web}], fromHost: [{from: infra/db, to: shop/db}]}",
			"sleep":                   "{sleep: {afterInactivity: 30m}, coredns: {mode: deployment}}",
			"sleep with workloads":    "{sleep: {afterInactivity: 30m, scope: workloads}}",
			"sleep by a calendar":     "{sleep: {schedule: '0 20 * * *'}, coredns: {mode: deployment}}",
			"sleep, with an etcd":     "{sleep: {afterInactivity: 30m}, coredns: {enabled: false}, controlPlane: {etcd: {enabled: true}}}",
			"own priority classes":    "sync: {toHost: {priorityClasses: {enabled: true}}}",
			"own storage classes":     "sync: {toHost: {storageClasses: {enabled: true, provisioners: [example.com/disk]}}}",
			"host's volumes":          "sync: {fromHost: {persistentVolumes: {enabled: true}}}",
			"host's ingress classes":  "sync: {fromHost: {ingressClasses: {enabled: true}}}",
			"own volumes":             "sync: {toHost: {persistentVolumes: {enabled: true, drivers: [kubernetes.io/nfs]}}}",
			"own classes":             "sync: {toHost: {priorityClasses: {enabled: true}, storageClasses: {enabled: true}}}",
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				all := objects(t, render(t, values))
				c := configOf(t, file(t, all, "demo-config"))
				grants := rights.For(c)
				for role, want := range map[string][]rights.Grant{"demo": grants, "demo-uninstall": rights.ForRemoval(c)} {
					if d := cmp.Diff(rights.Role(want), roleOf(t, all, role)); d != "" {
						t.Errorf("Role %s (-rights +chart):\n%s", role, d)
					}
					name := "portico:portico-demo:" + strings.Replace(role, "-", ":", 1)
					if d := cmp.Diff(rights.ClusterRole(want), clusterRoleOf(t, all, name, role)); d != "" {
						t.Errorf("ClusterRole %s (-rights +chart):\n%s", name, d)
					}
				}
				seen := <-features
				for _, g := range grants {
					seen[g.Feature] = true
				}
				features <- seen
			})
		}
	})
	seen := <-features
	for _, g := range rights.All() {
		if !seen[g.Feature] {
			t.Errorf("no configuration above needs the rights of %s", g.Feature)
		}
	}
}

// roleOf returns the rules of the one Role of a name, which is bound to the
// ServiceAccount of the same name.
func roleOf(t *testing.T, all []runtime.Object, name string) []rbacv1.PolicyRule {
	t.Helper()
	bound := slices.ContainsFunc(of[*rbacv1.RoleBinding](all), func(b *rbacv1.RoleBinding) bool {
		return b.RoleRef.Name == name && len(b.Subjects) == 1 && b.Subjects[0].Name == name && b.Subjects[0].Namespace == "portico-demo"
	})
	for _, r := range of[*rbacv1.Role](all) {
		if r.Name == name && bound {
			return r.Rules
		}
	}
	t.Fatalf("no Role %s that is bound to the ServiceAccount %s", name, name)
	return nil
}

// clusterRoleOf returns the rules of the ClusterRole of a name, if there is one;
// it is bound to a ServiceAccount.
func clusterRoleOf(t *testing.T, all []runtime.Object, name, account string) []rbacv1.PolicyRule {
	t.Helper()
	bound := slices.ContainsFunc(of[*rbacv1.ClusterRoleBinding](all), func(b *rbacv1.ClusterRoleBinding) bool {
		return b.RoleRef.Name == name && len(b.Subjects) == 1 && b.Subjects[0].Name == account && b.Subjects[0].Namespace == "portico-demo"
	})
	for _, r := range of[*rbacv1.ClusterRole](all) {
		if r.Name == name && bound {
			return r.Rules
		}
	}
	if bound {
		t.Errorf("a binding to %s, which is not there", name)
	}
	return nil
}

// file returns portico.yaml of a ConfigMap.
func file(t *testing.T, all []runtime.Object, name string) string {
	t.Helper()
	for _, c := range of[*corev1.ConfigMap](all) {
		if c.Name == name {
			return c.Data["portico.yaml"]
		}
	}
	t.Fatalf("no ConfigMap %s", name)
	return ""
}

// hostsDNS are selectors of objects that are in no namespace of a tenant:
// porticod connects to the host's DNS.
var hostsDNS = map[string]bool{
	"map[k8s-app:kube-dns]":                        true,
	"map[kubernetes.io/metadata.name:kube-system]": true,
}

// TestAttackSelectorsOfTheChart: a tenant labels a pod as the chart labels those
// of porticod, to get the traffic of the cluster's API, or to be counted among
// its pods. Objects of the chart must select by keys that no tenant can write.
func TestAttackSelectorsOfTheChart(t *testing.T) {
	found := 0
	for _, obj := range withEverything(t) {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
		if err != nil {
			t.Fatal(err)
		}
		for _, selector := range selectors(content) {
			found++
			ours := hostsDNS[fmt.Sprint(selector)]
			for key := range selector {
				ours = ours || strings.HasPrefix(key, "portico.dev/")
			}
			if !ours {
				t.Errorf("%T selects by %v", obj, selector)
			}
		}
	}
	if found < 4 {
		t.Errorf("%d selectors found, want those of the Service and of the workload at least", found)
	}
}

// selectors returns every selector in an object.
func selectors(v any) []map[string]any {
	var all []map[string]any
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			m, ok := value.(map[string]any)
			if key == "matchLabels" && ok {
				all = append(all, m)
				continue
			}
			if _, labels := m["matchLabels"]; key == "selector" && ok && !labels {
				all = append(all, m)
				continue
			}
			all = append(all, selectors(value)...)
		}
	case []any:
		for _, value := range v {
			all = append(all, selectors(value)...)
		}
	}
	return all
}

// TestPodsMeetRestricted: a namespace that enforces the highest Pod Security
// Standard takes every pod of the chart.
func TestPodsMeetRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := psapi.LevelVersion{Level: psapi.LevelRestricted, Version: psapi.LatestVersion()}
	templates := podTemplates(t, withEverything(t))
	if len(templates) < 5 {
		t.Errorf("%d pod templates, want two StatefulSets', a Deployment's, a Job's and a Pod at least", len(templates))
	}
	for name, pod := range templates {
		result := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec))
		if !result.Allowed {
			t.Errorf("%s: %s", name, result.ForbiddenDetail())
		}
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			if c.SecurityContext == nil || c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
				t.Errorf("%s: the root file system of %s is not read-only", name, c.Name)
			}
			if c.Resources.Limits.Memory().IsZero() {
				t.Errorf("%s: the memory of %s has no limit", name, c.Name)
			}
		}
	}
}

func podTemplates(t *testing.T, all []runtime.Object) map[string]corev1.PodTemplateSpec {
	t.Helper()
	templates := map[string]corev1.PodTemplateSpec{}
	for _, s := range of[*appsv1.StatefulSet](all) {
		templates["StatefulSet "+s.Name] = s.Spec.Template
	}
	for _, d := range of[*appsv1.Deployment](all) {
		templates["Deployment "+d.Name] = d.Spec.Template
	}
	for _, j := range of[*batchv1.Job](all) {
		templates["Job "+j.Name] = j.Spec.Template
	}
	for _, p := range of[*corev1.Pod](all) {
		templates["Pod "+p.Name] = corev1.PodTemplateSpec{ObjectMeta: p.ObjectMeta, Spec: p.Spec}
	}
	return templates
}

// TestRenderingIsPure: tools that render and compare find no difference where
// no value changed.
func TestRenderingIsPure(t *testing.T) {
	impure := regexp.MustCompile(`\b(lookup|rand[A-Z]\w*|gen(CA|SelfSigned|Signed|Private)\w*|uuidv4|now|htpasswd|bcrypt|getHostByName)\b`)
	read := 0
	err := fs.WalkDir(charts.Portico, "portico/templates", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(charts.Portico, path)
		for _, action := range regexp.MustCompile(`(?s)\{\{.*?\}\}`).FindAll(content, -1) {
			read++
			if m := impure.Find(action); m != nil {
				t.Errorf("%s: %s", path, action)
			}
		}
		return err
	})
	if err != nil || read == 0 {
		t.Fatalf("%d actions read: %v", read, err)
	}
}

// TestPausedClusterIsNotWoken: nothing that applies the chart says how many
// replicas there are, unless it is more than the API's default.
func TestPausedClusterIsNotWoken(t *testing.T) {
	for name, c := range map[string]struct {
		values string
		want   *int32
		paused string
	}{
		"one":            {values: ""},
		"paused":         {values: "controlPlane: {paused: true}", want: new(int32), paused: "1"},
		"paused of many": {values: "{controlPlane: {paused: true, replicas: 3}, store: {endpoint: 'etcds://etcd:2379'}}", want: new(int32), paused: "3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := objects(t, render(t, c.values))
			var replicas *int32
			var annotations map[string]string
			for _, s := range of[*appsv1.StatefulSet](all) {
				replicas, annotations = s.Spec.Replicas, s.Annotations
			}
			for _, d := range of[*appsv1.Deployment](all) {
				replicas, annotations = d.Spec.Replicas, d.Annotations
			}
			if !cmp.Equal(replicas, c.want) {
				t.Errorf("replicas %v, want %v", replicas, c.want)
			}
			if got := annotations["portico.dev/replicas"]; got != c.paused || (annotations["portico.dev/paused"] == "true") != (c.paused != "") {
				t.Errorf("annotations %v", annotations)
			}
		})
	}
}

// TestMistakesAreRefused that no schema could find.
func TestMistakesAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ values, release, want string }{
		"replicas over SQLite":  {values: "controlPlane: {replicas: 2}", want: "needs a shared store"},
		"isolated from a store": {values: "{isolation: {enabled: true}, store: {endpoint: 'etcds://etcd:2379'}}", want: "would not reach store.endpoint"},
		"a night without DNS":   {values: "sleep: {schedule: '0 20 * * *'}", want: "coredns.mode"},
		"two replicas to leave": {values: "sleep: {afterInactivity: 30m, scope: workloads}\ncontrolPlane: {replicas: 2, etcd: {enabled: true}}", want: "controlPlane.replicas 1"},
		"a sleep without DNS":   {values: "sleep: {afterInactivity: 30m}", want: "coredns.mode"},
		"two stores":            {values: "{controlPlane: {etcd: {enabled: true}}, store: {endpoint: 'etcds://etcd:2379'}}", want: "two stores"},
		"a name too long":       {release: strings.Repeat("a", 41), want: "at most 40"},
		"a name with a dot":     {release: "a.b", want: "name of the virtual cluster"},
		"a name for a number":   {release: "1st", want: "begin with a letter"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := refused(t, stdcmp.Or(c.release, "demo"), c.values); !strings.Contains(got, c.want) {
				t.Errorf("refused with %q, want %q", got, c.want)
			}
		})
	}
}

// TestConfigurationPassesVerbatim: every key reaches porticod as it was written.
func TestConfigurationPassesVerbatim(t *testing.T) {
	values := `
sync: {toHost: {priorityClasses: {enabled: true, maxValue: 900000000}}}
isolation: {enabled: true, resourceQuota: {quota: {count/pods: 30}}, limitRange: {enabled: false}}
coredns: {upstream: [192.0.2.53], queriesPerSecond: 250}
pods: {nodeSelector: {tenants: "true"}, hostsImage: example.com/own:v1}
images: {"nginx:1": "example.com/nginx:1"}
host: {qps: 40, burst: 80, maxStreams: 5}
store: {maxSize: 64Mi, durability: normal}
certSANs: [vc.example.com]
logLevel: 2
`
	content := file(t, objects(t, render(t, values)), "demo-config")
	configOf(t, content)
	var want, got map[string]any
	if err := yaml.Unmarshal([]byte(values), &want); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(content), &got); err != nil {
		t.Fatal(err)
	}
	want["name"], want["replicas"], want["dataDir"], want["listen"] = "demo", 1.0, "/var/lib/portico", "0.0.0.0:8443"
	want["host"].(map[string]any)["namespace"] = "portico-demo"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("portico.yaml (-want +got):\n%s", d)
	}
}

// TestRemovalRunsAfterEverythingIsDeleted, and leaves nothing of its own.
func TestRemovalRunsAfterEverythingIsDeleted(t *testing.T) {
	hooks, weights := 0, map[string]string{}
	for _, obj := range objects(t, render(t, "sync: {toHost: {priorityClasses: {enabled: true}}}")) {
		m, err := meta.Accessor(obj)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(m.GetName(), "uninstall") {
			continue
		}
		hooks++
		a := m.GetAnnotations()
		if a["helm.sh/hook"] != "post-delete" || a["helm.sh/hook-delete-policy"] != "before-hook-creation,hook-succeeded" {
			t.Errorf("%T %s: %v", obj, m.GetName(), a)
		}
		_, job := obj.(*batchv1.Job)
		weights[a["helm.sh/hook-weight"]] = fmt.Sprint(job)
	}
	if d := cmp.Diff(map[string]string{"-1": "false", "0": "true"}, weights); d != "" || hooks != 7 {
		t.Errorf("%d hooks, want 7; whether it is the Job, by weight (-want +got):\n%s", hooks, d)
	}
}

// TestIsolationIsThatOfTheConfiguration: the template repeats by hand the
// defaults of package config.
func TestIsolationIsThatOfTheConfiguration(t *testing.T) {
	for name, values := range map[string]string{
		"defaults": "isolation: {enabled: true}",
		"others": `isolation: {enabled: true, resourceQuota: {quota: {count/pods: 7, limits.cpu: ""}}, limitRange: {default: {cpu: 3}, max: {cpu: 9}},
networkPolicy: {outgoingConnections: {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := objects(t, render(t, values))
			want := configOf(t, file(t, all, "demo-config")).Isolation
			quotas, ranges := of[*corev1.ResourceQuota](all), of[*corev1.LimitRange](all)
			if len(quotas) != 1 || len(ranges) != 1 || len(ranges[0].Spec.Limits) != 1 {
				t.Fatalf("%d quotas, %d ranges", len(quotas), len(ranges))
			}
			limits := ranges[0].Spec.Limits[0]
			for _, c := range []struct {
				what string
				want config.Quantities
				got  corev1.ResourceList
			}{
				{"quota", want.ResourceQuota.Quota, quotas[0].Spec.Hard},
				{"default", want.LimitRange.Default, limits.Default},
				{"default request", want.LimitRange.DefaultRequest, limits.DefaultRequest},
				{"min", want.LimitRange.Min, limits.Min},
				{"max", want.LimitRange.Max, limits.Max},
			} {
				if d := cmp.Diff(amounts(t, c.want), c.got, cmpopts.EquateEmpty()); d != "" {
					t.Errorf("%s (-configuration +chart):\n%s", c.what, d)
				}
			}
			blocks := 0
			for _, p := range of[*networkingv1.NetworkPolicy](all) {
				for _, rule := range p.Spec.Egress {
					for _, peer := range rule.To {
						if peer.IPBlock != nil {
							blocks++
							block := want.NetworkPolicy.OutgoingConnections.IPBlock
							if d := cmp.Diff(networkingv1.IPBlock{CIDR: block.CIDR, Except: block.Except}, *peer.IPBlock); d != "" {
								t.Errorf("%s (-configuration +chart):\n%s", p.Name, d)
							}
						}
					}
				}
			}
			if blocks != 1 {
				t.Errorf("%d blocks of addresses", blocks)
			}
		})
	}
}

func amounts(t *testing.T, q config.Quantities) corev1.ResourceList {
	t.Helper()
	all := corev1.ResourceList{}
	for name, amount := range q {
		if amount == "" {
			continue
		}
		parsed, err := resource.ParseQuantity(string(amount))
		if err != nil {
			t.Fatal(err)
		}
		all[corev1.ResourceName(name)] = parsed
	}
	return all
}

// TestIsolationIsOffByDefault, and each of its parts can be.
func TestIsolationIsOffByDefault(t *testing.T) {
	for values, want := range map[string]int{
		"": 0,
		"isolation: {resourceQuota: {quota: {count/pods: 7}}}":        0,
		"isolation: {enabled: true}":                                  4,
		"isolation: {enabled: true, resourceQuota: {enabled: false}}": 3,
		"isolation: {enabled: true, limitRange: {enabled: false}}":    3,
		"isolation: {enabled: true, networkPolicy: {enabled: false}}": 2,
		"isolation: {enabled: false, networkPolicy: {enabled: true}}": 0,
	} {
		all := objects(t, render(t, values))
		got := len(of[*corev1.ResourceQuota](all)) + len(of[*corev1.LimitRange](all)) + len(of[*networkingv1.NetworkPolicy](all))
		if got != want {
			t.Errorf("%q: %d objects, want %d", values, got, want)
		}
	}
}
