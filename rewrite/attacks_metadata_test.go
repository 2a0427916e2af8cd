// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
)

// onHost is the metadata on the host of an object of each kind with these
// labels and annotations, by kind.
func onHost(t *testing.T, tr *rewrite.Translator, labels, annotations map[string]string) map[string]metav1.Object {
	t.Helper()
	all := translated(labels, annotations)
	maps.Copy(all, copied(labels, annotations))
	out := map[string]metav1.Object{}
	for kind, v := range all {
		h, err := tr.ToHost(v, rewrite.Inputs{})
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		out[kind] = accessor(t, h)
	}
	return out
}

// TestAttackKeysOfToolsOnTheHost: an object of any kind has the labels and
// annotations by which tools of the host give rights away, run commands, copy,
// adopt or make exceptions. None of them is on the host.
func TestAttackKeysOfToolsOnTheHost(t *testing.T) {
	keys := map[string]string{}
	for _, k := range []string{
		// Networks, runtimes and cloud identities.
		"k8s.v1.cni.cncf.io/networks", "v1.multus-cni.io/default-network", "cni.projectcalico.org/ipAddrs", "ovn.kubernetes.io/ip_address",
		"net1.default.ovn.kubernetes.io/ip_address", "io.kubernetes.cri-o.Devices", "cpu-quota.crio.io", "cdi.k8s.io/x", "nvidia.cdi.k8s.io/gpu", "mounts.nri.io/container.main",
		"io.katacontainers.config.hypervisor.path", "container.apparmor.security.beta.kubernetes.io/main", "iam.amazonaws.com/role", "eks.amazonaws.com/role-arn",
		"iam.gke.io/gcp-service-account", "azure.workload.identity/use", "aadpodidbinding", "spiffe.io/spiffe-id",
		// Meshes, and ways around them.
		"sidecar.istio.io/inject", "istio.io/rev", "traffic.sidecar.istio.io/excludeOutboundPorts", "linkerd.io/inject", "config.linkerd.io/skip-outbound-ports",
		"consul.hashicorp.com/connect-inject", "kuma.io/sidecar-injection", "traffic.kuma.io/exclude-outbound-ports", "dapr.io/enabled",
		// Logs, monitoring, secrets, backups, copies.
		"fluentbit.io/exclude", "co.elastic.logs/enabled", "ad.datadoghq.com/main.checks", "admission.datadoghq.com/enabled", "vector.dev/exclude",
		"instrumentation.opentelemetry.io/inject-java", "prometheus.io/scrape", "vault.hashicorp.com/agent-inject", "vault.security.banzaicloud.io/vault-role",
		"operator.1password.io/inject", "secrets-webhook.security.bank-vaults.io/mutate", "pre.hook.backup.velero.io/command", "backup.velero.io/backup-volumes",
		"k8up.io/backupcommand", "replicator.v1.mittwald.de/replicate-to", "reflector.v1.k8s.emberstack.com/reflection-auto-enabled", "reloader.stakater.com/auto",
		// Names, load balancers, deployment tools.
		"external-dns.alpha.kubernetes.io/hostname", "dns.alpha.kubernetes.io/external", "service.beta.kubernetes.io/aws-load-balancer-internal", "metallb.universe.tf/address-pool",
		"argocd.argoproj.io/instance", "kustomize.toolkit.fluxcd.io/name", "applyset.kubernetes.io/part-of", "kapp.k14s.io/app", "objectset.rio.cattle.io/hash",
		// Schedulers, autoscalers, policies.
		"kueue.x-k8s.io/queue-name", "scheduling.k8s.io/group-name", "scheduling.x-k8s.io/pod-group", "volcano.sh/queue-name", "yunikorn.apache.org/queue", "quota.scheduling.koordinator.sh/name",
		"kai.scheduler/queue", "multicluster.admiralty.io/elect", "cluster-autoscaler.kubernetes.io/safe-to-evict", "karpenter.sh/do-not-disrupt", "descheduler.alpha.kubernetes.io/evict",
		"policies.kyverno.io/scored", "admission.gatekeeper.sh/ignore", "openpolicyagent.org/policy", "image-policy.k8s.io/break-glass",
		"alpha.image-policy.k8s.io/break-glass", "admission.stackrox.io/break-glass", "polaris.fairwinds.com/exempt",
	} {
		keys[k] = "x"
	}
	for kind, m := range onHost(t, mustNew(t, testCluster()), keys, keys) {
		for k := range keys {
			if _, there := m.GetLabels()[k]; there {
				t.Errorf("%s: label %s is on the host", kind, k)
			}
			if _, there := m.GetAnnotations()[k]; there {
				t.Errorf("%s: annotation %s is on the host", kind, k)
			}
		}
	}
}

// TestAttackKeysThatNobodyListed: a tenant's Service, Secret or claim has keys
// of an unknown tool. A key that is not on the list of its kind does not reach
// the host.
func TestAttackKeysThatNobodyListed(t *testing.T) {
	keys := map[string]string{"new-tool.example/act": "now", "app": "web"}
	for kind, m := range onHost(t, mustNew(t, testCluster()), keys, keys) {
		if kind == "Pod" {
			continue // keys of pods pass unless they are on a list
		}
		got := slices.Concat(slices.Collect(maps.Keys(unreserved(m.GetLabels()))), slices.Collect(maps.Keys(unreserved(m.GetAnnotations()))))
		if kind == "EndpointSlice" {
			got = slices.DeleteFunc(got, func(k string) bool { return k == "endpointslice.kubernetes.io/managed-by" })
		}
		if len(got) > 0 {
			t.Errorf("%s: %v is on the host", kind, got)
		}
	}
}

// TestAttackAllowedKeyIsNoWayAround: the operator allows everything, and a
// tenant writes the keys by which a kubelet takes a pod for its own. They do not
// reach the host.
func TestAttackAllowedKeyIsNoWayAround(t *testing.T) {
	annotations := map[string]string{"kubernetes.io/config.mirror": "x", "kubernetes.io/config.source": "file", "kubernetes.io/service-account.name": "admin"}
	for kind, m := range onHost(t, mustNew(t, allowing([]string{"*"}, []string{"*"})), nil, annotations) {
		if got := unreserved(m.GetAnnotations()); len(got) > 0 {
			t.Errorf("%s: %v is on the host", kind, got)
		}
	}
}

// TestAttackClaimMarkedAsTheHosts: a tenant's claim of a device says that the
// host's scheduler made it. The host does not read so.
func TestAttackClaimMarkedAsTheHosts(t *testing.T) {
	m := onHost(t, mustNew(t, testCluster()), nil, map[string]string{"resource.kubernetes.io/extended-resource-claim": "true"})["ResourceClaim"]
	if got := unreserved(m.GetAnnotations()); len(got) > 0 {
		t.Errorf("%v is on the host", got)
	}
}

// TestAttackTakeOverAKeyOfTheHosts: a tenant gives a key that the host wrote the
// host's own value and another one after that, to pass for its owner. The host's
// value stays.
func TestAttackTakeOverAKeyOfTheHosts(t *testing.T) {
	tr := mustNew(t, testCluster())
	h := toHost(t, tr, pod("demo", "p", map[string]string{"team": "x"}), rewrite.Inputs{}).(*corev1.Pod)
	h.Labels["team"] = "billing"
	for _, value := range []string{"billing", "y", "x", "billing", "", "y"} {
		v := toVirtual(t, tr, h).(*corev1.Pod)
		v.Labels = map[string]string{"team": value}
		if value == "" {
			v.Labels = nil
		}
		h = toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.Pod)
		if h.Labels["team"] != "billing" {
			t.Fatalf("after the tenant wrote %q, the host has %q", value, h.Labels["team"])
		}
	}
}
