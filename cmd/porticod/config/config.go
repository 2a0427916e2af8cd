// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Config is the content of portico.yaml.
type Config struct {
	// Name of the virtual cluster, a DNS label. It is part of every host name,
	// so it cannot change during the cluster's life.
	Name string `json:"name"`

	// Host is the cluster that runs the pods.
	Host Host `json:"host"`

	// DataDir holds the store and the certificates.
	DataDir string `json:"dataDir"`

	// Listen is the address and port of the API. Port 0 chooses one.
	Listen string `json:"listen"`

	// CertSANs are further names and addresses under which people reach the
	// API.
	CertSANs []string `json:"certSANs,omitempty"`

	// KubeconfigPath is where the administrator's kubeconfig is written once
	// the cluster is ready. Default: DataDir/kubeconfig.yaml.
	KubeconfigPath string `json:"kubeconfigPath,omitempty"`

	// ClusterDomain is the DNS domain that pods see.
	ClusterDomain string `json:"clusterDomain"`

	CoreDNS CoreDNS `json:"coredns"`

	Store Store `json:"store"`

	// Reads chooses the source of a read of the latest state of a host-backed
	// kind: "cached" is memory, once it has caught up with every write through
	// this process; "strict" is the host. Default: "cached" for one replica,
	// "strict" for more, which do not see each other's writes.
	Reads string `json:"reads,omitempty"`

	// Replicas is the number of porticod processes of this cluster. If it is
	// more than one, they elect a leader.
	Replicas int `json:"replicas"`

	Sync         Sync         `json:"sync"`
	Integrations Integrations `json:"integrations"`
	Pods         Pods         `json:"pods"`

	Metadata Metadata `json:"metadata"`

	Isolation Isolation `json:"isolation"`

	Egress Egress `json:"egress"`

	ProxyProtocol ProxyProtocol `json:"proxyProtocol"`

	Sleep Sleep `json:"sleep"`

	// MapServices are the Services that pods of one side find by name and the
	// other side has.
	MapServices MapServices `json:"mapServices"`

	// Images maps an image as a tenant writes it to the one that is run.
	Images map[string]string `json:"images,omitempty"`

	// Hooks are webhooks of the operator that see objects of the tenant's on their
	// way to the host, and back.
	Hooks []Hook `json:"hooks,omitempty"`

	// Patches are expressions of the operator that change objects of the tenant's
	// on their way to the host, before the hooks see them.
	Patches []Patch `json:"patches,omitempty"`

	Metrics Metrics `json:"metrics"`

	Audit Audit `json:"audit"`

	Tracing Tracing `json:"tracing"`

	// LogLevel is klog's verbosity, 0 to 10.
	LogLevel int `json:"logLevel"`
}

// Host says how to reach the host cluster, and where in it the cluster lives.
type Host struct {
	// Kubeconfig of the host cluster; empty when porticod is a pod of it.
	Kubeconfig string `json:"kubeconfig,omitempty"`
	// Namespace is the one host namespace of this virtual cluster.
	Namespace string `json:"namespace"`
	// AdvertiseAddress is the IP and port at which pods reach the API when
	// porticod runs outside of the host cluster.
	AdvertiseAddress string `json:"advertiseAddress,omitempty"`
	// ServiceName is the host Service that leads to the API. Default: Name.
	ServiceName string `json:"serviceName,omitempty"`
	// WorkloadServiceAccount is the host ServiceAccount of the pods. It must
	// have no rights. Default: Name-workload.
	WorkloadServiceAccount string `json:"workloadServiceAccount,omitempty"`
	// QPS is how many requests a second this process sends to the host in the
	// long run for tenants, and as many again for itself. Burst is how many it
	// sends at once. Default: twice QPS.
	QPS   int `json:"qps"`
	Burst int `json:"burst"`
	// MaxStreams is how many logs, exec sessions, port forwards and proxied
	// requests this process has open to the host at a time.
	MaxStreams int `json:"maxStreams"`
}

// Store is where everything is kept that is not the host's.
type Store struct {
	// Endpoint of a shared store; empty means SQLite in DataDir. See
	// [Store.Parse].
	Endpoint string `json:"endpoint,omitempty"`
	// Prefix is before every key in a shared etcd. Default:
	// /portico/Host.Namespace/Name.
	Prefix string `json:"prefix,omitempty"`
	// TLS says how a shared store is verified, and how it knows us.
	TLS StoreTLS `json:"tls"`
	// Insecure allows connections to a shared store without TLS. Anyone who can
	// listen on the way then has all Secrets of the cluster.
	Insecure bool `json:"insecure,omitempty"`
	// UsernameFile and PasswordFile hold the credentials for a shared store, so
	// that they are in no configuration, command line or log.
	UsernameFile string `json:"usernameFile,omitempty"`
	PasswordFile string `json:"passwordFile,omitempty"`
	// Durability of the SQLite store: "full" survives a power failure,
	// "normal" survives the end of the process.
	Durability string `json:"durability"`
	// MaxSize is how many bytes the cluster's own objects can have, a Kubernetes
	// quantity; "0" means any number. See [Store.MaxBytes].
	MaxSize string `json:"maxSize"`
}

// StoreTLS is the TLS of connections to a shared store. Its certificate is
// always verified.
type StoreTLS struct {
	// CAFile has the authorities, in PEM; empty means the system's.
	CAFile string `json:"caFile,omitempty"`
	// CertFile and KeyFile are our client certificate, in PEM.
	CertFile string `json:"certFile,omitempty"`
	KeyFile  string `json:"keyFile,omitempty"`
	// ServerName is the name in the store's certificate; empty means the one in
	// the endpoint.
	ServerName string `json:"serverName,omitempty"`
}

// Sync chooses further kinds that are kept in step with the host.
type Sync struct {
	Nodes Nodes `json:"nodes"`
	// FromHost is shown inside as the host has it.
	FromHost FromHost `json:"fromHost"`
	// ToHost has the kinds of which the host gets copies of the tenant's
	// objects.
	ToHost ToHost `json:"toHost"`
	// Custom has kinds without a row of their own, in either direction.
	Custom []Custom `json:"custom,omitempty"`
}

// Nodes chooses the Nodes that the tenant sees. All false means made-up nodes.
type Nodes struct {
	// Enabled shows those host nodes that run a pod of this cluster.
	Enabled bool `json:"enabled"`
	// SyncAllNodes shows all host nodes.
	SyncAllNodes bool `json:"syncAllNodes"`
	// NodeSelector shows the host nodes with these labels, a=b,c=d, and keeps
	// every pod on them.
	NodeSelector string `json:"nodeSelector,omitempty"`
	// ClearImageStatus hides the images of host nodes.
	ClearImageStatus bool `json:"clearImageStatus"`
	// Proxy serves a part of nodes/proxy. It needs a right on the host that is
	// worth every pod of every node there.
	Proxy bool `json:"proxy"`
	// EnableScheduler runs a scheduler in the virtual cluster, which places
	// pods by the labels, taints and cordons that the tenant sees, the tenant's
	// own included.
	EnableScheduler bool `json:"enableScheduler"`
}

// Real says whether the tenant sees host nodes, and not made-up ones.
func (n *Nodes) Real() bool { return n.Enabled || n.SyncAllNodes || n.NodeSelector != "" }

// Labels are those that NodeSelector asks for.
func (n *Nodes) Labels() (map[string]string, error) {
	if n.NodeSelector == "" {
		return nil, nil
	}
	return labels.ConvertSelectorToLabelsMap(n.NodeSelector)
}

// EnforcedNodeSelector has the labels that every pod's host node must have.
func (c *Config) EnforcedNodeSelector() (map[string]string, error) {
	shown, err := c.Sync.Nodes.Labels()
	if err != nil {
		return nil, err
	}
	all := maps.Clone(c.Pods.NodeSelector)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, shown)
	return all, nil
}

// Integrations are services of the host that tenants can use.
type Integrations struct {
	MetricsServer MetricsServer `json:"metricsServer"`
}

// MetricsServer is the host's metrics.k8s.io.
type MetricsServer struct {
	// Enabled true: the virtual cluster serves metrics.k8s.io from the host's,
	// and does not start if the host refuses; false: it does not; unset: it
	// does when the host lets it.
	Enabled *bool `json:"enabled,omitempty"`
}

// Pods is done to pods on the host, unseen by the tenant.
type Pods struct {
	// NodeSelector and Tolerations are enforced on every pod.
	NodeSelector map[string]string   `json:"nodeSelector,omitempty"`
	Tolerations  []corev1.Toleration `json:"tolerations,omitempty"`
	// AllowedTolerations are the keys of host taints that tenants' pods may
	// tolerate, besides those that Kubernetes itself sets (node.kubernetes.io/).
	// The entry "*" allows all.
	AllowedTolerations []string `json:"allowedTolerations,omitempty"`
	// Schedulers are those of the host that pods may name, besides the default
	// one.
	Schedulers []string `json:"schedulers,omitempty"`
	// VolumeDrivers are those of which pods may have volumes without a claim.
	// The entry "*" allows all.
	VolumeDrivers []string `json:"volumeDrivers,omitempty"`
	// HostsImage is porticod's own image. It writes the full name of a pod with
	// a subdomain into its /etc/hosts. Empty: such a pod has a short name.
	HostsImage string `json:"hostsImage,omitempty"`
}

// Values of enumerated fields.
const (
	DurabilityFull   = "full"
	DurabilityNormal = "normal"
	ReadsCached      = "cached"
	ReadsStrict      = "strict"
)

// Default returns the configuration that holds where nothing else is said.
func Default() *Config {
	return &Config{
		Host:          Host{QPS: 500, MaxStreams: 1000},
		DataDir:       "/var/lib/portico",
		Listen:        "0.0.0.0:8443",
		ClusterDomain: "cluster.local",
		CoreDNS:       defaultCoreDNS(),
		Store:         Store{Durability: DurabilityFull, MaxSize: "512Mi"},
		Replicas:      1,
		Metadata:      Metadata{HideNodeAnnotations: true},
		Isolation:     defaultIsolation(),
		Sleep:         defaultSleep(),
		Sync:          Sync{ToHost: ToHost{PriorityClasses: ToHostPriorityClasses{MaxValue: highestPriority}}},
		Tracing:       Tracing{SamplingRatePerMillion: 10_000},
	}
}

// complete fills in the values that follow from others.
func (c *Config) complete() {
	if c.KubeconfigPath == "" {
		c.KubeconfigPath = filepath.Join(c.DataDir, "kubeconfig.yaml")
	}
	if c.Store.Endpoint != "" && c.Store.Prefix == "" {
		c.Store.Prefix = "/portico/" + c.Host.Namespace + "/" + c.Name
	}
	if c.Reads == "" {
		c.Reads = ReadsCached
		if c.Replicas > 1 {
			c.Reads = ReadsStrict
		}
	}
	// A name that is no label is one mistake, and not one of each key that it is
	// the default of.
	named := len(validation.IsDNS1123Label(c.Name)) == 0
	if c.Host.ServiceName == "" && named {
		c.Host.ServiceName = c.Name
	}
	if c.Host.Burst == 0 {
		c.Host.Burst = 2 * c.Host.QPS
	}
	if c.Host.WorkloadServiceAccount == "" && named {
		c.Host.WorkloadServiceAccount = c.Name + "-workload"
	}
	c.CoreDNS.complete(c)
}
