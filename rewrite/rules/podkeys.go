// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// PodKeys are the labels and annotations of pods on which tooling of the host
// acts, with rights that no tenant has. A label stands on the host under a
// hashed key, so that selectors find it; an annotation is kept in the overlay.
var PodKeys = []KeyGroup{
	{
		Name: "deployment tools", Reason: "a tool of the host would take the pod for its own, and change or prune it",
		Keys: []string{
			"*.argoproj.io/", "*.toolkit.fluxcd.io/", "*.fluxcd.io/", "meta.helm.sh/",
			"applyset.kubernetes.io/", "config.k8s.io/", "addonmanager.kubernetes.io/", "kubernetes.io/cluster-service",
			"*.carvel.dev/", "*.k14s.io/", "*.cattle.io/", "operators.coreos.com/", "olm.*", "keel.sh/",
		},
	},
	{
		Name: "service meshes", Reason: "they choose whether the mesh of the host takes the pod in, how, or lets it out",
		Keys: []string{
			"*.istio.io/", "mesh.cloud.google.com/", "*.linkerd.io/", "consul.hashicorp.com/", "*.kuma.io/",
			"openservicemesh.io/", "appmesh.k8s.aws/", "mesh.traefik.io/", "*.nsm.nginx.com/", "*.getambassador.io/",
			"dapr.io/", "skupper.io/",
		},
	},
	{
		Name: "secret injectors", Reason: "a webhook of the host would fetch secrets of an outside store into the pod",
		Keys: []string{
			"vault.hashicorp.com/", "vault.security.banzaicloud.io/", "*.bank-vaults.io/", "*.1password.io/", "*.1password.com/",
			"*.onepassword.com/", "conjur.org/", "secrets.doppler.com/", "*.infisical.com/", "akeyless/", "akv2k8s.io/",
			"external-secrets.io/", "sealedsecrets.bitnami.com/",
		},
	},
	{
		Name: "logs and monitoring", Reason: "an agent of the host would read, drop or file the pod's data as it says, call addresses that it names, or put code into it",
		Keys: []string{
			"fluentbit.io/", "fluentd.org/", "co.elastic.*", "*.datadoghq.com/", "vector.dev/", "collectord.io/",
			"logging.banzaicloud.io/", "sumologic.com/", "*.sumologic.com/", "*.splunk.com/", "*.grafana.com/",
			"*.opentelemetry.io/", "io.opentelemetry.*", "*.dynatrace.com/", "*.newrelic.com/", "*.prometheus.io/",
		},
	},
	{
		Name: "names and load balancers", Reason: "a controller of the host would make DNS records, certificates or routes of it",
		Keys: []string{
			"external-dns.alpha.kubernetes.io/", "dns.alpha.kubernetes.io/", "service.beta.kubernetes.io/",
			"*.ingress.kubernetes.io/", "metallb.io/", "metallb.universe.tf/", "kube-vip.io/", "*.cert-manager.io/",
			"*.k8s.aws/", "*.traefik.io/", "*.konghq.com/", "*.tailscale.com/",
		},
	},
	{
		Name: "backups", Reason: "hooks in it are commands that the host's backup runs, and it can keep the pod out of a backup",
		Keys: []string{
			"*.velero.io/", "*.k8up.io/", "k8up.syn.tools/", "*.kanister.io/", "*.kasten.io/", "stash.appscode.com/", "*.kubestash.com/",
		},
	},
	{
		Name: "copies and restarts", Reason: "a controller of the host would copy, restart or delete objects because of it",
		Keys: []string{
			"replicator.v1.mittwald.de/", "reflector.v1.k8s.emberstack.com/", "kubed.appscode.com/", "*.stakater.com/",
			"wave.pusher.com/", "janitor/", "pod-reaper/", "downscaler/",
		},
	},
	{
		Name: "autoscalers and deschedulers", Reason: "with it, a pod would hold a node of the host that is to be drained or saved",
		Keys: []string{
			"cluster-autoscaler.kubernetes.io/", "*.karpenter.sh/", "karpenter.k8s.aws/", "descheduler.alpha.kubernetes.io/",
			"*.descheduler.io/", "*.keda.sh/",
		},
	},
	{
		Name: "schedulers and queues", Reason: "it names a queue, a group or a quota of the host's, which may be a neighbour's",
		Keys: []string{
			"*.kueue.x-k8s.io/", "scheduling.k8s.io/", "scheduler.alpha.kubernetes.io/", "*.scheduling.x-k8s.io/",
			"*.scheduling.sigs.k8s.io/", "alpha.jobset.sigs.k8s.io/", "*.volcano.sh/", "yunikorn.apache.org/", "*.koordinator.sh/",
			"kai.scheduler/", "*.run.ai/", "runai/", "*.armadaproject.io/", "*.diktyo.x-k8s.io/", "*.godel.bytedance.com/",
			"*.admiralty.io/", "*.liqo.io/", "virtual-kubelet.io/",
		},
		// These two are YuniKorn's, and have no prefix.
		Labels: []string{"queue", "applicationId"},
	},
	{
		Name: "policies", Reason: "a policy engine of the host would make an exception for the pod",
		Keys: []string{
			"*.kyverno.io/", "*.gatekeeper.sh/", "*.openpolicyagent.org/", "*.kubewarden.io/", "*.fairwinds.com/", "*.sigstore.dev/",
			"*.image-policy.k8s.io/", "pod-security.kubernetes.io/", "*.stackrox.io/", "*.aquasecurity.github.io/", "*.aquasec.com/",
			"*.neuvector.com/", "*.nirmata.io/", "ignore-check.kube-linter.io/", "admissions.enforcer/",
		},
	},
	{
		Name: "disturbance", Reason: "a test tool of the host would disturb the pod, or leave it alone, because of it",
		Keys: []string{"*.chaos-mesh.org/", "*.litmuschaos.io/", "kube-monkey/"},
	},
	{
		Name: "platforms", Reason: "controllers of the platform that the host runs on act on their own keys only",
		Keys: []string{
			"*.gke.io/", "cloud.google.com/", "kubernetes.azure.com/", "*.openshift.io/", "*.aliyun.com/", "*.alibabacloud.com/",
			"*.kubevirt.io/", "*.kubevirt.io", "*.harvesterhci.io/", "*.crossplane.io/",
		},
	},
}

// NodeKeys are keys of pods that change the network, the runtime or the cloud
// identity of a pod on its node, behind the back of the host's policies. They
// are treated as [PodKeys] unless the cluster is set up to let them pass.
var NodeKeys = []KeyGroup{
	{
		Name: "networks", Reason: "a network plug-in of the node would give the pod further networks, a chosen address, or another bandwidth",
		Keys: []string{
			"*.cncf.io/", "v1.multus-cni.io/", "*.projectcalico.org/", "*.cilium.io/", "io.cilium.*", "*.antrea.io/", "*.ovn.org/",
			"*.ovn.kubernetes.io/", "*.kube-router.io/", "*.spidernet.io/", "danm.k8s.io/", "flannel.alpha.coreos.com/",
			"kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth",
		},
	},
	{
		Name: "container runtimes", Reason: "the runtime of the node, or a plug-in of it, would give the pod devices, mounts or other rights",
		Keys: []string{
			"io.kubernetes.cri-o.*", "io.kubernetes.cri.*", "*.cri-o.io/", "*.crio.io", "*.crio.io/", "io.containerd.*", "io.katacontainers.*",
			"dev.gvisor.*", "org.systemd.property.*", "run.oci.*", "*.cdi.k8s.io/", "*.nri.io/", "*.nri.containerd.io/",
			"*.noderesource.dev/", "*.nvidia.com/", "hami.io/", "security.alpha.kubernetes.io/",
			"seccomp.security.alpha.kubernetes.io/", "container.seccomp.security.alpha.kubernetes.io/",
			"container.apparmor.security.beta.kubernetes.io/",
		},
	},
	{
		Name: "cloud identities", Reason: "an agent of the node or a webhook of the host would hand out the identity that is named",
		Keys: []string{
			"*.amazonaws.com/", "iam.gke.io/", "azure.workload.identity/", "aadpodidbinding", "*.aadpodidentity.k8s.io/",
			"*.spiffe.io/",
		},
	},
}
