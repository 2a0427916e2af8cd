// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import "slices"

const (
	noFlags = "Flags of Kubernetes' components cannot be set: they are one process, and its options are those of docs/configuration.md."
	noK8s   = "A porticod is one version of upstream Kubernetes, built in: the version is that of the image."

	coreDNS        = "controlPlane.coredns"
	noDNSPods      = "With the default, the embedded DNS, there are no pods of it; those of the mode deployment are a Deployment of the virtual cluster, kube-system/coredns."
	k8s            = "controlPlane.distro.k8s"
	throughIngress = "An Ingress passes TLS through; porticod has the certificate."
)

// newControlRows are the keys of vcluster.yaml under controlPlane, without
// those of the store and of the workload.
var newControlRows = slices.Concat(
	one(
		none(k8s+".enabled", "Portico has one distribution, upstream Kubernetes.", true),
		none(k8s+".version", noK8s),
		none(k8s+".image.registry", noK8s, "ghcr.io"),
		none(k8s+".image.repository", noK8s, "loft-sh/kubernetes"),
		none(k8s+".image.tag", noK8s),
		all(k8s+".imagePullPolicy", noK8s),
		always(k8s+".apiServer.enabled", "porticod is the API server."),
		always(k8s+".controllerManager.enabled", "The controllers are in porticod."),
		via(k8s+".scheduler.enabled", "sync.nodes.enableScheduler", boolean, scheduler, schedulerInside),
	),
	each(none, noFlags,
		k8s+".apiServer.command", k8s+".apiServer.extraArgs", k8s+".controllerManager.command", k8s+".controllerManager.extraArgs",
		k8s+".scheduler.command", k8s+".scheduler.extraArgs"),
	each(all, "There are no images of components: Kubernetes is in porticod.",
		k8s+".apiServer.image", k8s+".apiServer.imagePullPolicy", k8s+".controllerManager.image", k8s+".controllerManager.imagePullPolicy",
		k8s+".scheduler.image", k8s+".scheduler.imagePullPolicy", k8s+".resources"),
	each(none, noFlags, k8s+".env", k8s+".securityContext"),
	each(none, "Portico has one distribution, upstream Kubernetes. Manifests for others work as far as they are Kubernetes'.",
		"controlPlane.distro.k3s", "controlPlane.distro.k0s", "controlPlane.distro.eks"),
	one(
		move("controlPlane.proxy.extraSANs", "certSANs", list, ""),
		none("controlPlane.proxy.bindAddress", "The chart decides where porticod listens.", "0.0.0.0"),
		none("controlPlane.proxy.port", "The chart decides where porticod listens.", 8443),

		move(coreDNS+".enabled", "coredns.enabled", boolean, ""),
		all(coreDNS+".embedded", "The embedded DNS is the default, and costs nothing."),
		via(coreDNS+".deployment.replicas", "coredns.replicas", number, dnsReplicas, "More than one: coredns.mode becomes deployment. The embedded DNS has as many as there are porticods."),
		via(coreDNS+".deployment.image", "coredns.image", text, dnsImage, "coredns.mode becomes deployment."),
		none(coreDNS+".overwriteConfig", "The Corefile cannot be replaced. Resolvers for other names: coredns.upstream."),
		none(coreDNS+".overwriteManifests", noDNSPods),
		none(coreDNS+".priorityClassName", noDNSPods),
		none(coreDNS+".security", noDNSPods),
		none(coreDNS+".service.spec", "kube-dns is a ClusterIP Service.", map[string]any{"type": "ClusterIP"}),
		none(coreDNS+".service.annotations", noDNSPods),
		none(coreDNS+".service.labels", noDNSPods),
	),
	each(none, noDNSPods,
		coreDNS+".deployment.annotations", coreDNS+".deployment.labels", coreDNS+".deployment.pods", coreDNS+".deployment.nodeSelector",
		coreDNS+".deployment.affinity", coreDNS+".deployment.tolerations"),
	one(
		none(coreDNS+".deployment.resources", noDNSPods, dnsResources),
		none(coreDNS+".deployment.topologySpreadConstraints", noDNSPods, dnsSpread),
		always("controlPlane.service.enabled", "Pods reach the API by this Service."),
		none("controlPlane.service.labels", "The Service has the chart's labels."),
		move("controlPlane.service.annotations", "controlPlane.service.annotations", object, ""),
		none("controlPlane.service.kubeletNodePort", "Made-up nodes have no kubelet; with real ones see sync.nodes.proxy."),
		via("controlPlane.service.httpsNodePort", "controlPlane.service.nodePort", number, unlessZero, ""),
		via("controlPlane.service.spec", "controlPlane.service", object, serviceSpec, "Its type, loadBalancerIP, loadBalancerSourceRanges and externalTrafficPolicy."),

		ours("controlPlane.ingress.enabled", boolean),
	),
	when("controlPlane.ingress.enabled",
		ours("controlPlane.ingress.host", text),
		ours("controlPlane.ingress.annotations", object),
		via("controlPlane.ingress.spec", "controlPlane.ingress.className", object, ingressSpec, "Its ingressClassName. "+throughIngress),
		none("controlPlane.ingress.pathType", throughIngress, "ImplementationSpecific"),
		none("controlPlane.ingress.labels", "The Ingress has the chart's labels."),
	),
	one(
		none("controlPlane.tlsRoute", "Routes of the Gateway API are not in the chart: make one for the Service NAME, port 443, TLS passthrough."),
		ours("controlPlane.serviceMonitor.enabled", boolean),
	),
	when("controlPlane.serviceMonitor.enabled",
		ours("controlPlane.serviceMonitor.labels", object),
		none("controlPlane.serviceMonitor.annotations", "The ServiceMonitor has no annotations."),
	),
	one(
		none("controlPlane.hostPathMapper", "A hostPath is a path of the node; whether pods may have one is for the Pod Security level of the host namespace."),
		none("controlPlane.endpoint", noPrivateNodes),
		via("controlPlane.standalone", "", object, ifOn, noPrivateNodes),
	),
)

// Values that vcluster has for its DNS pods by default.
var (
	dnsResources = map[string]any{
		"limits":   map[string]any{"cpu": "1000m", "memory": "170Mi"},
		"requests": map[string]any{"cpu": "20m", "memory": "64Mi"},
	}
	dnsSpread = []any{map[string]any{
		"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
		"labelSelector": map[string]any{"matchLabels": map[string]any{"k8s-app": "vcluster-kube-dns"}},
	}}
)
