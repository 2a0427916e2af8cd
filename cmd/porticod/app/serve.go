// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"portico.dev/portico/certs"
	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/proxy/apiserver"
	"portico.dev/portico/proxy/dns"
	"portico.dev/portico/proxy/door"
	"portico.dev/portico/proxy/egress"
	"portico.dev/portico/proxy/fairshare"
	"portico.dev/portico/proxy/hooks"
	"portico.dev/portico/proxy/host"
	"portico.dev/portico/proxy/tracing"
	"portico.dev/portico/rewrite"
	"portico.dev/portico/store"
	"portico.dev/portico/sync/controllers"
	"portico.dev/portico/sync/nap"
)

func newServe() *cobra.Command {
	var loader *config.Loader
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve one virtual cluster",
		Long: `Serve one virtual cluster: an API server whose pods, services and volume
claims live in one namespace of a host cluster, and everything else in a store
of its own.

Configuration comes from flags, PORTICO_* environment variables and a file, in
this order of precedence. The kubeconfig of the cluster's administrator is
written when the cluster is ready.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loader.Load()
			if err != nil {
				return &usageError{withHint(err, "docs/configuration.md explains each key")}
			}
			return runServe(c.Context(), cfg)
		},
	}
	loader = config.NewLoader(c.Flags(), os.LookupEnv)
	return c
}

func runServe(ctx context.Context, cfg *config.Config) error {
	if err := setupLogging(cfg.LogLevel); err != nil {
		return err
	}
	honourMemoryLimit(ctx, os.DirFS("/"))
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return err
	}
	if awake, err := beginSleeping(ctx, cfg); !awake || err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", cfg.Listen, err)
	}
	listener = introduced(listener, cfg.ProxyProtocol.Networks())
	// The server closes it, or the end of the process does. A server that could
	// not end in time must keep it: upstream's panics when it is taken away.
	vc, err := newVirtualCluster(ctx, cfg, listener)
	if err != nil {
		return err
	}
	defer vc.closeDNS()
	defer vc.closeMetrics()
	if err = vc.run(ctx); errors.Is(err, nap.ErrLeaves) {
		a, err := away(cfg, vc.hostClient)
		if err != nil {
			return err
		}
		return a.Leave(ctx)
	}
	return err
}

// virtualCluster is a control plane with everything that ties it to its host.
type virtualCluster struct {
	*controlPlane
	config     *config.Config
	hostConfig *rest.Config
	hostClient kubernetes.Interface
	translator *rewrite.Translator
	at         netip.AddrPort // where others reach the door
	services   netip.Prefix   // of the host's ClusterIPs; invalid when the host does not say
	doors      *door.Doors
	keeper     *door.Keeper
	keys       *door.Keys
	gateway    *gatewayNames

	// hooks are the operator's; nil if there are none.
	hooks *hooks.Hooks

	// placement is asked by a scheduler inside.
	placement placement

	// storageClassesSeen says that the host lets porticod see its storage classes.
	storageClassesSeen bool

	// dnsSockets and dns are those of an embedded DNS.
	dnsSockets *dns.Sockets
	dns        *door.DNSEndpoint

	// metrics is the listener of the measurements, if there is one.
	metrics net.Listener

	// work is made by describeHost (parts.go), when the loopback client and the
	// informers exist.
	work work
}

func newVirtualCluster(ctx context.Context, cfg *config.Config, listener net.Listener) (*virtualCluster, error) {
	// The store comes first: in a data directory it holds the lock, and a
	// second process must not touch the certificates of the first, or lead its
	// Services on the host elsewhere.
	backend, err := openerOf(cfg)(ctx)
	if err != nil {
		return nil, err
	}
	vc, err := composeVirtualCluster(ctx, cfg, backend, listener)
	if err != nil {
		return nil, errors.Join(err, backend.Close())
	}
	return vc, nil
}

func composeVirtualCluster(ctx context.Context, cfg *config.Config, backend store.Backend, listener net.Listener) (*virtualCluster, error) {
	hostConfig, err := hostClientConfig(cfg)
	if err != nil {
		return nil, err
	}
	traces, err := tracesOf(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if traces != nil {
		hostConfig.Wrap(traces.Client())
	}
	hostClient, err := kubernetes.NewForConfig(hostConfig)
	if err != nil {
		return nil, fmt.Errorf("host client: %w", err)
	}
	vc := &virtualCluster{config: cfg, hostConfig: hostConfig, hostClient: hostClient}
	if vc.at, err = vc.advertised(listener); err != nil {
		return nil, err
	}
	at := vc.at
	entrance, err := door.EnsureService(ctx, hostClient, vc.doorOptions(at))
	if err != nil {
		return nil, withHint(fmt.Errorf("prepare host namespace %s: %w", cfg.Host.Namespace, err),
			"the namespace must exist, and porticod needs the rights there that porticod rights prints")
	}
	vc.warnOfExcess(ctx)
	for _, check := range []func(context.Context) error{vc.checkHost, vc.checkNodes, vc.checkScheduler, vc.checkToHost, vc.checkCustom, vc.checkClasses, vc.checkMetrics} {
		if err := check(ctx); err != nil {
			return nil, err
		}
	}
	cluster, err := vc.cluster(entrance)
	if err != nil {
		return nil, err
	}
	if err := vc.prepareDNS(ctx, &cluster, entrance, at); err != nil {
		return nil, err
	}
	vc.translator, err = rewrite.New(cluster)
	if err != nil {
		return nil, err
	}
	vc.doors = door.NewDoors(hostClient, vc.doorOptions(at), vc.translator.Owner)
	if vc.hooks, err = vc.operatorsHooks(); err != nil {
		return nil, err
	}
	vc.keeper, err = door.NewKeeper(hostClient, vc.doorOptions(at), entrance, vc.translator, vc.ownedToo()...)
	if err != nil {
		return nil, err
	}
	if vc.shareRoots() != nil {
		vc.keeper.KeepRoots(vc.keepRoots)
	}
	vc.gateway = &gatewayNames{host: hostClient, cluster: cfg.Name, namespace: cfg.Host.Namespace}
	vc.gateway.read(ctx)
	vc.services = vc.serviceRange(ctx, entrance.ClusterIP)
	if err := vc.listenForMetrics(ctx); err != nil {
		return nil, err
	}
	dials, err := vc.egress(listener)
	if err != nil {
		return nil, err
	}
	vc.controlPlane, err = newControlPlane(ctx, vc.controlPlaneOptions(backend, dials, traces), listener)
	if err != nil {
		return nil, err
	}
	vc.keeper.OnChange(vc.pki.Wake)
	vc.keys.OnChange(vc.pki.Wake)
	return vc, nil
}

// controlPlaneOptions describes the API server, its store and its controllers.
func (vc *virtualCluster) controlPlaneOptions(backend store.Backend, dials egress.Config, traces *tracing.Provider) controlPlaneOptions {
	ip := net.IP(vc.at.Addr().AsSlice())
	return controlPlaneOptions{
		name:             vc.config.Name,
		dataDir:          vc.config.DataDir,
		backend:          backend,
		storePrefix:      vc.config.Store.Prefix,
		clusterDomain:    vc.config.ClusterDomain,
		serviceCIDR:      vc.serviceCIDR(),
		advertiseIP:      ip,
		advertisePort:    int(vc.at.Port()),
		names:            append([]string{ip.String(), vc.inHost() + "." + vc.config.ClusterDomain}, vc.config.CertSANs...),
		moreNames:        func() []string { return append(vc.keeper.Names(), vc.gateway.Names()...) },
		doors:            vc.doors.Ready,
		entrance:         vc.keeper.Ready,
		shutdownDelay:    vc.shutdownDelay(),
		host:             vc.describeHost,
		podSecurity:      podSecurity(&vc.config.Isolation),
		egress:           dials,
		shareRoots:       vc.shareRoots(),
		shareCredentials: vc.shareCredentials,
		audit:            auditOf(&vc.config.Audit),
		tracing:          atDoor(traces, vc.config.Tracing.Trusted),
		kubeconfigPath:   vc.config.KubeconfigPath,
		controllers:      vc.controllers(),
	}
}

// auditOf is the audit of a configuration, for the API server.
func auditOf(a *config.Audit) apiserver.Audit {
	return apiserver.Audit{
		PolicyFile: a.PolicyFile, LogPath: a.Log.Path, LogMaxAge: a.Log.MaxAge, LogMaxBackups: a.Log.MaxBackups, LogMaxSize: a.Log.MaxSize,
		WebhookConfigFile: a.Webhook.ConfigFile,
	}
}

// cluster returns all that translations go by, but for the DNS.
func (vc *virtualCluster) cluster(entrance door.Door) (rewrite.Cluster, error) {
	nodeSelector, err := vc.config.EnforcedNodeSelector()
	if err != nil {
		return rewrite.Cluster{}, err
	}
	return rewrite.Cluster{
		Name:                   vc.config.Name,
		HostNamespace:          vc.config.Host.Namespace,
		Service:                vc.config.Host.ServiceName,
		Owner:                  entrance.Owner,
		WorkloadServiceAccount: vc.config.Host.WorkloadServiceAccount,
		APIServerIP:            entrance.ClusterIP,
		ClusterDomain:          vc.config.ClusterDomain,
		NodeSelector:           nodeSelector,
		Tolerations:            vc.config.Pods.Tolerations,
		AllowedTolerations:     vc.config.Pods.AllowedTolerations,
		Schedulers:             vc.config.Pods.Schedulers,
		SchedulesInside:        vc.config.Sync.Nodes.EnableScheduler,
		VolumeDrivers:          vc.config.Pods.VolumeDrivers,
		Images:                 vc.config.Images,
		EtcHostsImage:          vc.config.Pods.HostsImage,
		MovedLabels:            vc.config.Metadata.MovedLabels,
		HiddenAnnotations:      vc.config.Metadata.HiddenAnnotations,
		AllowedKeys:            allowedKeys(&vc.config.Metadata.Allowed),
		PassNodeKeys:           !vc.config.Metadata.HideNodeAnnotations,
		ResourceClaims:         vc.config.Sync.ToHost.ResourceClaims.Enabled,
	}, nil
}

// controllers is the selection of upstream's controllers, with the scheduler.
func (vc *virtualCluster) controllers() controllers.Config {
	c := controllers.Config{Mode: controllers.Virtual, ResourceClaims: vc.config.Sync.ToHost.ResourceClaims.Enabled}
	if vc.config.Sync.Nodes.EnableScheduler {
		c.Scheduler, c.Placement = true, &vc.placement
	}
	return c
}

// shareRoots keeps the cluster's keys on the host wherever the store is shared:
// a data directory may then be empty at every start.
func (vc *virtualCluster) shareRoots() func(context.Context, func() (certs.Roots, error)) (certs.Roots, error) {
	if vc.config.Store.Endpoint == "" {
		return nil
	}
	return func(ctx context.Context, offer func() (certs.Roots, error)) (certs.Roots, error) {
		return door.EnsureRoots(ctx, vc.hostClient, vc.translator, offer)
	}
}

// serviceRange is where the host allocates the addresses of Services. A host
// that does not say does not prevent the start.
func (vc *virtualCluster) serviceRange(ctx context.Context, doorIP string) netip.Prefix {
	p, err := door.ServiceRange(ctx, vc.hostClient, vc.config.Host.Namespace, doorIP)
	if err != nil {
		klog.FromContext(ctx).Info("Host does not say its range of ClusterIPs", "err", err)
	}
	return p
}

func (vc *virtualCluster) serviceCIDR() string {
	if !vc.services.IsValid() {
		return ""
	}
	return vc.services.String()
}

// hostClientConfig reaches the host API: through a kubeconfig when we run
// outside of the host cluster, as a pod's ServiceAccount inside it. All clients
// that are made from it share one limit.
func hostClientConfig(cfg *config.Config) (*rest.Config, error) {
	var c *rest.Config
	var err error
	if cfg.Host.Kubeconfig == "" {
		c, err = rest.InClusterConfig()
	} else {
		c, err = clientcmd.BuildConfigFromFlags("", cfg.Host.Kubeconfig)
	}
	if err != nil {
		return nil, withHint(fmt.Errorf("configure the host client: %w", err),
			"run porticod as a pod of the host cluster, or set host.kubeconfig")
	}
	limiter := fairshare.NewLimiter(fairshare.Options{QPS: cfg.Host.QPS, Burst: cfg.Host.Burst})
	return host.ClientConfig(rest.AddUserAgent(c, "porticod/"+cfg.Name), limiter), nil
}

// doorOptions say how the host reaches the door. A loopback address is of no
// use to it: then the Service leads nowhere, as in the demo, whose pods run no
// containers that could ask.
func (vc *virtualCluster) doorOptions(at netip.AddrPort) door.Options {
	o := door.Options{
		Cluster:        vc.config.Name,
		Namespace:      vc.config.Host.Namespace,
		Service:        vc.config.Host.ServiceName,
		ServiceAccount: vc.config.Host.WorkloadServiceAccount,
		TargetPort:     int32(at.Port()),
		DNS:            vc.dns,
		Replicas:       vc.config.Replicas > 1,
	}
	if vc.config.Host.Kubeconfig != "" && !at.Addr().IsLoopback() {
		o.Advertise = at.Addr()
	}
	return o
}

// advertised is the address at which pods and people reach the door.
func (vc *virtualCluster) advertised(l net.Listener) (netip.AddrPort, error) {
	if a := vc.config.Host.AdvertiseAddress; a != "" {
		at, err := netip.ParseAddrPort(a)
		if err != nil {
			return at, fmt.Errorf("host.advertiseAddress: %w", err)
		}
		return at, nil
	}
	at, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		return at, fmt.Errorf("address of the listener: %w", err)
	}
	if at.Addr().IsUnspecified() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port()), nil
	}
	return at, nil
}

// run serves the cluster and keeps it in step with its host until ctx ends.
func (vc *virtualCluster) run(ctx context.Context) error { return vc.controlPlane.run(ctx, vc.work) }

// reporter writes Events about objects of a cluster into it.
type reporter struct {
	record.EventRecorder
	broadcaster record.EventBroadcaster
	client      kubernetes.Interface
}

func newReporter(client kubernetes.Interface) *reporter {
	b := record.NewBroadcaster()
	return &reporter{
		EventRecorder: b.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "portico"}),
		broadcaster:   b,
		client:        client,
	}
}

// begin writes the Events that are reported from here on, until the broadcaster
// is shut down.
func (r *reporter) begin() {
	r.broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: r.client.CoreV1().Events("")})
}

// Run begins to write the reports, and ends when ctx does.
func (r *reporter) Run(ctx context.Context) error {
	return r.during(func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})(ctx)
}

// during returns work whose reports are written from its beginning to its end.
func (r *reporter) during(work func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		r.begin()
		defer r.broadcaster.Shutdown()
		return work(ctx)
	}
}
