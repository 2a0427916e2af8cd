// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/tracing"
	kubeoptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"portico.dev/portico/proxy/egress"
	"portico.dev/portico/proxy/host"
	"portico.dev/portico/store"
)

// watchGrace is how long open watches may take to end when the server has to:
// upstream ends them one after the other, so that not all clients come back at the
// same moment.
const watchGrace = 2 * time.Second

// Config is a caller's configuration of an embedded API server.
type Config struct {
	// Name distinguishes the informers of this process in metrics.
	Name string

	// Backend stores every kind that is not in a host cluster.
	Backend store.Backend

	// StorePrefix is before the cluster's keys in Backend, for one that is
	// shared with others. Empty means upstream's default.
	StorePrefix string

	// Host is set for a virtual cluster: pods, services and
	// persistentvolumeclaims live in the host cluster that it describes. It is
	// called once while the server is composed, with its loopback client and
	// informers; scheme, memory and, if unset, inputs are filled in. Nil
	// means an ordinary cluster with all kinds in Backend.
	Host func(loopback *rest.Config, shared informers.SharedInformerFactory) (Host, error)

	// Listener is where the API is served with TLS. The server closes it.
	Listener net.Listener

	// AdvertiseAddress is how this server is known to others.
	AdvertiseAddress net.IP

	// Doors returns the addresses that default/kubernetes leads to. Nil means
	// that its endpoints are not kept.
	Doors func() []netip.AddrPort

	// Entrance returns a fault of the objects that lead to this server, as a
	// part of /readyz. Nil means that there are none.
	Entrance func() error

	// ShutdownDelay is how long the server, when it has to end, goes on to
	// serve while it reports that it is not ready, so that load balancers
	// notice.
	ShutdownDelay time.Duration

	// ServiceCIDR is where ClusterIPs are allocated: by an ordinary cluster
	// itself, for a virtual one by its host. The default ServiceCIDR shows it.
	// It may be empty for a virtual cluster whose host does not show it.
	ServiceCIDR string

	// Files of the cluster's PKI.
	Files Files

	// Issuer is the OIDC issuer of service account tokens, an https URL.
	Issuer string

	// Audit logs requests.
	Audit Audit

	// Tracing makes the spans of requests. Nil means none.
	Tracing tracing.TracerProvider

	// PodSecurity holds for every pod of a virtual cluster. Nil means that only
	// the labels of namespaces do.
	PodSecurity *PodSecurity

	// Egress lists the addresses that a virtual cluster's API server may dial
	// where the tenant's objects name them.
	Egress egress.Config
}

// Host is the host of a virtual cluster, as package host needs it for the
// translated kinds, and its other parts that are served.
type Host struct {
	host.Config

	// NodeShown says whether the virtual cluster shows the host node of that
	// name. It must not be answered from virtual Nodes, which a tenant can make
	// under any name. Nil means that none is shown.
	NodeShown func(name string) bool

	// NodeProxy serves a part of nodes/proxy for the nodes that are shown. It
	// needs the right to get nodes/proxy on the host.
	NodeProxy bool

	// ResourceMetrics serves metrics.k8s.io from the host's.
	ResourceMetrics bool

	// Around, if set, wraps the requests that were authenticated and permitted.
	Around func(http.Handler) http.Handler

	// Undone judges writes that porticod would put back, or that have no effect.
	Undone []Undone
}

// unusedServiceCIDR satisfies upstream's validation where no range is known.
const unusedServiceCIDR = "10.96.0.0/16"

// Files are the paths of the certificates and keys that the API server reads.
// All are PEM.
type Files struct {
	ClientCA                string // who may come with a client certificate
	ServingCert             string
	ServingKey              string
	FrontProxyCA            string // who may speak for others to aggregated APIs
	FrontProxyClientCert    string
	FrontProxyClientKey     string
	ServiceAccountKey       string // private, signs tokens
	ServiceAccountPublicKey string
}

// virtual reports whether the configured cluster is a virtual one.
func (c *Config) virtual() bool { return c.Host != nil }

// unusedEtcd satisfies upstream's validation, which wants an etcd server even
// where nothing dials it. The reserved top-level domain makes sure that
// nothing could.
const unusedEtcd = "http://in-process.invalid"

// options makes upstream's options of c.
func (c *Config) options(ctx context.Context) (kubeoptions.CompletedOptions, error) {
	o := kubeoptions.NewServerRunOptions()
	_, inProcess := c.Backend.(store.Exclusive)
	if err := setProcessGlobals(o.GenericServerRunOptions.ComponentGlobalsRegistry, inProcess); err != nil {
		return kubeoptions.CompletedOptions{}, err
	}
	informerName, err := cache.NewInformerName(c.Name)
	if err != nil {
		return kubeoptions.CompletedOptions{}, fmt.Errorf("name the informers %q: %w", c.Name, err)
	}
	o.InformerName = informerName

	o.Etcd.StorageConfig.Transport.ServerList = []string{unusedEtcd}
	if c.StorePrefix != "" {
		o.Etcd.StorageConfig.Prefix = c.StorePrefix
	}
	o.Etcd.SkipHealthEndpoints = true
	o.EndpointReconcilerType = "none"
	o.ServiceClusterIPRanges = cmp.Or(c.ServiceCIDR, unusedServiceCIDR)
	o.AllowPrivileged = true

	o.SecureServing.Listener = c.Listener
	o.SecureServing.BindPort, err = port(c.Listener.Addr())
	if err != nil {
		return kubeoptions.CompletedOptions{}, err
	}
	o.SecureServing.ServerCert.CertKey.CertFile = c.Files.ServingCert
	o.SecureServing.ServerCert.CertKey.KeyFile = c.Files.ServingKey
	o.GenericServerRunOptions.AdvertiseAddress = c.AdvertiseAddress
	o.GenericServerRunOptions.ShutdownDelayDuration = c.ShutdownDelay
	// Without this, connections are refused while watches are still open, and
	// watches go on until the process ends. So they end with the first notice, and
	// requests that come until the last one has ended get 429 with Retry-After.
	o.GenericServerRunOptions.ShutdownSendRetryAfter = true
	o.GenericServerRunOptions.ShutdownWatchTerminationGracePeriod = watchGrace

	o.Authentication.ClientCert.ClientCA = c.Files.ClientCA
	o.Authentication.RequestHeader.ClientCAFile = c.Files.FrontProxyCA
	o.Authentication.RequestHeader.AllowedNames = []string{"front-proxy-client"}
	o.Authentication.RequestHeader.UsernameHeaders = []string{"X-Remote-User"}
	o.Authentication.RequestHeader.UIDHeaders = []string{"X-Remote-Uid"}
	o.Authentication.RequestHeader.GroupHeaders = []string{"X-Remote-Group"}
	o.Authentication.RequestHeader.ExtraHeaderPrefixes = []string{"X-Remote-Extra-"}
	o.ProxyClientCertFile = c.Files.FrontProxyClientCert
	o.ProxyClientKeyFile = c.Files.FrontProxyClientKey
	o.Authentication.ServiceAccounts.Issuers = []string{c.Issuer}
	o.Authentication.ServiceAccounts.KeyFiles = []string{c.Files.ServiceAccountPublicKey}
	o.ServiceAccountSigningKeyFile = c.Files.ServiceAccountKey
	o.Authorization.Modes = []string{"RBAC"}
	c.Audit.apply(o.Audit)
	if c.virtual() {
		o.Admission.GenericAdmission.EnablePlugins = pluginsThat(func(p plugin) bool { return p.added })
		o.Admission.GenericAdmission.DisablePlugins = pluginsThat(func(p plugin) bool { return p.off })
		if c.PodSecurity != nil {
			c.PodSecurity.register(o.Admission.GenericAdmission)
		}
		// The administrator of a virtual cluster is not that of this process: its
		// stacks, its memory and its log level are none of a tenant's business.
		o.Features.EnableProfiling = false
	}

	// Upstream applies these as if each were set, and logs an error for the
	// file of a list that does not exist. Nil means the defaults.
	o.Metrics = nil

	completed, err := o.Complete(ctx)
	if err != nil {
		return kubeoptions.CompletedOptions{}, fmt.Errorf("complete API server options: %w", err)
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return kubeoptions.CompletedOptions{}, fmt.Errorf("API server options: %w", utilerrors.NewAggregate(errs))
	}
	return completed, nil
}

func port(a net.Addr) (int, error) {
	_, p, err := net.SplitHostPort(a.String())
	if err != nil {
		return 0, fmt.Errorf("listener address %q: %w", a, err)
	}
	return strconv.Atoi(p)
}
