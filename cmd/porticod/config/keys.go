// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import "strings"

// key documents keys of the file that are explained together.
type key struct {
	paths    string // separated by commas; KIND stands for each of the kinds of metadata.allowed
	standard string // the default, in words
	meaning  string
}

// each returns the paths one by one.
func (k key) each() []string {
	var all []string
	for path := range strings.SplitSeq(k.paths, ", ") {
		before, after, found := strings.Cut(path, kindPlaceholder)
		if !found {
			all = append(all, path)
			continue
		}
		for _, kind := range allowedKinds {
			all = append(all, before+kind+after)
		}
	}
	return all
}

const kindPlaceholder = "KIND"

var allowedKinds = []string{"pods", "services", "secrets", "configMaps", "persistentVolumeClaims", "resourceClaims", "endpointSlices"}

// reference documents every key of the file, in the order of the documentation. The
// texts are Markdown.
var reference = []key{
	{"name", "(required)",
		"the virtual cluster's name, a DNS label of at most 40 characters. It is part of every host name: it can't be changed later"},
	{"host.namespace", "(required)",
		"the one host namespace that the cluster lives in"},
	{"host.kubeconfig", "empty",
		"the way to the host; empty means that porticod is a pod of it"},
	{"host.advertiseAddress", "the listener's",
		"`IP:port` at which pods reach the API when porticod runs outside of the host"},
	{"host.serviceName", "`name`",
		"the host Service that leads to the API"},
	{"host.workloadServiceAccount", "`name`-workload",
		"the host ServiceAccount that pods run as. It must have no rights"},
	{"host.qps", "500",
		"requests a second that porticod sends to the host's API for tenants in the long run, 1 to 100000. Its own work has as many again. See [bounds](#bounds)"},
	{"host.burst", "twice `host.qps`",
		"requests that it sends at once"},
	{"host.maxStreams", "1000",
		"logs, exec sessions, port forwards and proxied requests that are open at a time; one user has half of them at most"},
	{"dataDir", "`/var/lib/portico`",
		"store, certificates and keys; an absolute path. One process at a time: with SQLite a second is refused"},
	{"listen", "`0.0.0.0:8443`",
		"`IP:port` of the API; port 0 lets the kernel choose"},
	{"certSANs", "none",
		"a list of further names and addresses in the serving certificate"},
	{"kubeconfigPath", "`dataDir`/kubeconfig.yaml",
		"where the administrator's kubeconfig is written once the cluster is ready"},
	{"clusterDomain", "`cluster.local`",
		"the DNS domain in the names that pods see"},
	{"coredns.enabled", "`true`",
		"a DNS of the cluster's own, see [DNS](#dns). Without it pods use the host's, and `kube-dns` is a name like any other"},
	{"coredns.mode", "`embedded`",
		"`embedded`: porticod answers; `deployment`: pods of a Deployment `kube-system/coredns` do"},
	{"coredns.listen", "IP of `listen`",
		"`IP:port` of the embedded DNS, for UDP and TCP; port 0 lets the kernel choose. The default port is 1053 inside of the host, 0 outside. Pods reach it at the address that the API is advertised at"},
	{"coredns.upstream", "none",
		"a list of `IP` or `IP:port` of resolvers for names outside of the cluster. Without any, those in `/etc/resolv.conf` of porticod, or with `deployment` of the node"},
	{"coredns.clients", "loopback",
		"a list of networks in CIDR notation that may ask the embedded DNS, besides the cluster's own pods and their nodes, see [DNS](#dns)"},
	{"coredns.queriesPerSecond", "1000",
		"questions of one client in a second; the embedded DNS does not answer more"},
	{"coredns.connections", "50",
		"TCP connections of one client to the embedded DNS at a time"},
	{"coredns.replicas, coredns.image", "1, `registry.k8s.io/coredns/coredns:v1.14.6`",
		"pods of the mode `deployment`, and their image"},
	{"store.durability", "`full`",
		"`full`: an acknowledged write survives a power failure; `normal`: it survives the end of the process"},
	{"store.maxSize", "`512Mi`",
		"bytes of the cluster's own objects, a quantity of at least `16Mi`; `0` means any number. See [bounds](#bounds)"},
	{"store.endpoint", "empty",
		"empty means SQLite in `dataDir`; otherwise a [shared store](#shared-stores)"},
	{"store.prefix", "`/portico/`host.namespace`/`name",
		"the prefix of every key in a shared store"},
	{"store.tls.caFile", "the system's",
		"PEM file of the authorities that a shared store's certificate is verified with"},
	{"store.tls.certFile, store.tls.keyFile", "none",
		"PEM files of the client certificate for a shared store; read again for each new connection"},
	{"store.tls.serverName", "the endpoint's",
		"the name that is in a shared store's certificate"},
	{"store.insecure", "false",
		"`true` lets a shared store be spoken to without TLS; without it such an endpoint is refused"},
	{"store.usernameFile, store.passwordFile", "none",
		"files, each of one line, with the credentials for a shared store; read at the start"},
	{"reads", "`cached` for one replica, `strict` for more",
		"`cached`: reads of the newest state of pods, services and claims are answered from memory once it has caught up with every write through this process; `strict`: they ask the host. See [replicas](#replicas)"},
	{"replicas", "1",
		"the number of porticod processes that serve this cluster at the same time. More than 1 needs a [shared store](#shared-stores), and is refused with SQLite"},
	{"pods.nodeSelector, pods.tolerations", "none",
		"added to every pod on the host, unseen by the tenant"},
	{"pods.allowedTolerations", "none",
		"a list of keys of host taints that pods may tolerate on the host, besides Kubernetes' own (`node.kubernetes.io/`); `*` means all. See [references to the host](#references-to-the-host)"},
	{"pods.schedulers", "none",
		"a list of schedulers of the host that pods may name, besides `default-scheduler`"},
	{"pods.volumeDrivers", "none",
		"a list of drivers of which pods may have volumes without a claim; `*` means all"},
	{"pods.hostsImage", "empty",
		"porticod's own image, for [full names of pods](#full-names-of-pods); empty: pods have short names only"},
	{"metadata.movedLabels", "none",
		"a list of labels that tooling of the host acts on, in addition to [those that are known](metadata.md); they do not reach the host, and those of pods have another key there. An entry is a key, a prefix that ends in `/` or `*`, or a domain with all below it: `*.example.com/`"},
	{"metadata.hiddenAnnotations", "none",
		"the same for annotations, which then do not reach the host at all"},
	{"metadata.hideNodeAnnotations", "true",
		"also hold back the labels and annotations of pods that are known to change the network, the runtime or the cloud identity of a pod on its node, such as `k8s.v1.cni.cncf.io/networks`. Set it to false only for tenants that are trusted with the nodes"},
	{"metadata.allowed.KIND.labels, metadata.allowed.KIND.annotations", "none",
		"lists of keys that reach the host all the same. KIND is `pods`, `services`, `secrets`, `configMaps`, `persistentVolumeClaims`, `resourceClaims` or `endpointSlices`. Keys of the two lists above, and keys that [never pass](metadata.md#keys-that-never-reach-the-host), do not. See [Metadata](metadata.md)"},
	{"egress.allow", "none",
		"a list of networks in CIDR notation that porticod may reach where a tenant's object names them, besides the cluster's own pods and Services: see [Webhooks and aggregated APIs](#webhooks-and-aggregated-apis)"},
	{"mapServices.fromHost", "none",
		"a list of `{from: NAMESPACE/NAME, to: NAMESPACE/NAME}`: host Services, of any host namespace, that appear inside under the name in `to`: see [Mapped Services](#mapped-services)"},
	{"mapServices.fromVirtual", "none",
		"a list of `{from: NAMESPACE/NAME, to: NAME}`: virtual Services that appear in `host.namespace` under the name in `to`"},
	{"images", "none",
		"a map from an image as a tenant writes it to the one that is run; exact matches only"},
	{"sync.nodes.enabled", "false",
		"show the host nodes that run a pod of this cluster as they are, instead of made-up ones: see [Nodes](#nodes)"},
	{"sync.nodes.syncAllNodes", "false",
		"show all host nodes; implies `enabled`"},
	{"sync.nodes.nodeSelector", "empty",
		"show the host nodes with these labels (`a=b,c=d`), and keep every pod on them; implies `enabled`"},
	{"sync.nodes.clearImageStatus", "false",
		"leave `status.images` out of the nodes: it names the images of all users of the host"},
	{"sync.nodes.proxy", "false",
		"serve a part of `nodes/proxy` in the real modes: see [Kubelets](#kubelets)"},
	{"sync.fromHost.priorityClasses.enabled, sync.fromHost.priorityClasses.selector", "false, all",
		"show the host's PriorityClasses with these labels (`matchLabels`, `matchExpressions`), and let pods have them on the host: see [Classes of the host](#classes-of-the-host)"},
	{"sync.fromHost.runtimeClasses.enabled, sync.fromHost.runtimeClasses.selector", "false, all",
		"the same for RuntimeClasses"},
	{"sync.fromHost.deviceClasses.enabled, sync.fromHost.deviceClasses.selector", "false, all",
		"show the host's DeviceClasses, and let resource claims have devices of them: see [Devices](#devices)"},
	{"sync.fromHost.storageClasses.enabled, sync.fromHost.storageClasses.selector", "unset, all",
		"show the host's StorageClasses; `true`, or a selector: and do not start if the host refuses; unset: if the host lets it. With a selector, claims may name no other class of the host: see [Storage classes](#storage-classes)"},
	{"sync.toHost.resourceClaims.enabled", "false",
		"make the tenant's ResourceClaims claims of the host, so that pods get the devices that they claim: see [Devices](#devices). Needs `sync.fromHost.deviceClasses`"},
	{"sync.toHost.priorityClasses.enabled", "false",
		"give the host a copy of each PriorityClass that the tenant makes, and let pods have it there: see [Classes of the tenant](#classes-of-the-tenant)"},
	{"sync.toHost.priorityClasses.maxValue", "1000000000",
		"the highest value of such a copy, and at most 1000000000; a higher class is pushed with this"},
	{"sync.nodes.enableScheduler", "false",
		"not supported yet, and refused"},
	{"integrations.metricsServer.enabled", "unset",
		"`true`: serve `metrics.k8s.io` from the host's, and do not start if the host refuses; `false`: do not; unset: if the host lets it. See [Metrics](#metrics)"},
	{"metrics.listen", "empty",
		"`IP:port` of a listener with the measurements of the process, for the operator: see [Measurements](operations.md#measurements). Empty means none; port 0 lets the kernel choose"},
	{"tracing.endpoint", "empty",
		"URL of a collector that speaks OTLP, `https` for TLS, for the traces of requests: see [Traces](#traces). Empty leaves it to `OTEL_EXPORTER_OTLP_ENDPOINT`; without either there are no traces"},
	{"tracing.protocol", "empty",
		"`grpc` or `http/protobuf`; empty leaves it to `OTEL_EXPORTER_OTLP_PROTOCOL`, and else means `grpc`"},
	{"tracing.samplingRatePerMillion", "10000",
		"how many of a million requests are traced. `OTEL_TRACES_SAMPLER` is stronger"},
	{"tracing.trusted", "none",
		"a list of users and groups of the virtual cluster whose own traces are continued, and sampled as they say. All others' are links"},
	{"tracing.tls.caFile, tracing.tls.certFile, tracing.tls.keyFile", "the system's, none, none",
		"authorities of the collector, and a certificate and a key for it, in PEM"},
	{"logLevel", "0",
		"verbosity, 0 to 10. From 8 on client-go would log the bodies of requests, with Secrets and tokens in them: 8 to 10 are as 7"},
}
