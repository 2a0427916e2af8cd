// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericapifilters "k8s.io/apiserver/pkg/endpoints/filters"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/notfoundhandler"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	aggregatorapiserver "k8s.io/kube-aggregator/pkg/apiserver"
	"k8s.io/kube-openapi/pkg/common"
	kubeapiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/controlplane"
	controlplaneapiserver "k8s.io/kubernetes/pkg/controlplane/apiserver"
	admissionregistrationrest "k8s.io/kubernetes/pkg/registry/admissionregistration/rest"
	apiserverinternalrest "k8s.io/kubernetes/pkg/registry/apiserverinternal/rest"
	appsrest "k8s.io/kubernetes/pkg/registry/apps/rest"
	authenticationrest "k8s.io/kubernetes/pkg/registry/authentication/rest"
	authorizationrest "k8s.io/kubernetes/pkg/registry/authorization/rest"
	autoscalingrest "k8s.io/kubernetes/pkg/registry/autoscaling/rest"
	batchrest "k8s.io/kubernetes/pkg/registry/batch/rest"
	certificatesrest "k8s.io/kubernetes/pkg/registry/certificates/rest"
	coordinationrest "k8s.io/kubernetes/pkg/registry/coordination/rest"
	discoveryrest "k8s.io/kubernetes/pkg/registry/discovery/rest"
	eventsrest "k8s.io/kubernetes/pkg/registry/events/rest"
	flowcontrolrest "k8s.io/kubernetes/pkg/registry/flowcontrol/rest"
	lifecyclerest "k8s.io/kubernetes/pkg/registry/lifecycle/rest"
	networkingrest "k8s.io/kubernetes/pkg/registry/networking/rest"
	noderest "k8s.io/kubernetes/pkg/registry/node/rest"
	policyrest "k8s.io/kubernetes/pkg/registry/policy/rest"
	rbacrest "k8s.io/kubernetes/pkg/registry/rbac/rest"
	resourcerest "k8s.io/kubernetes/pkg/registry/resource/rest"
	storagerest "k8s.io/kubernetes/pkg/registry/storage/rest"
	svmrest "k8s.io/kubernetes/pkg/registry/storagemigration/rest"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/proxy/revocation"
)

// Server is an embedded API server that has been composed and not yet run.
type Server struct {
	aggregator *aggregatorapiserver.APIAggregator
	informers  informers.SharedInformerFactory
	types      *common.OpenAPIV3Config
}

// New composes the server chain of cfg. Nothing is served before Run.
func New(ctx context.Context, cfg Config) (*Server, error) {
	options, err := cfg.options(ctx)
	if err != nil {
		return nil, err
	}
	var webhooks callers
	if cfg.virtual() {
		webhooks.note(options.Admission.GenericAdmission)
	}
	kube, err := configure(options)
	if err != nil {
		return nil, fmt.Errorf("configure API server: %w", err)
	}
	shared := kube.KubeAPIs.ControlPlane.VersionedInformers
	st := &storages{backend: cfg.Backend}
	if cfg.virtual() {
		if err := confine(kube, webhooks, cfg.Egress); err != nil {
			return nil, fmt.Errorf("confine the API server's connections: %w", err)
		}
		if st.host, err = cfg.describeHost(kube.KubeAPIs.ControlPlane.Generic.LoopbackClientConfig, shared); err != nil {
			return nil, fmt.Errorf("describe the host cluster: %w", err)
		}
	}
	inject(kube, st)
	endRevoked(kube)
	dismissClients(kube)
	var own ownAPIs
	if cfg.virtual() {
		withoutMetrics(kube)
		own.guard(&kube.Aggregator.GenericConfig.Config)
		surround(kube, st.host.Around)
		guardUndone(kube.KubeAPIs.ControlPlane.Generic, st.host.Undone)
	}
	if cfg.Tracing != nil {
		kube.Aggregator.GenericConfig.TracerProvider = cfg.Tracing // the outermost handlers
	}
	addHealthChecks(kube, cfg)
	measureStore(cfg.Backend)

	// installOpenAPI does it, in less memory.
	kube.KubeAPIs.ControlPlane.Generic.SkipOpenAPIInstallation = true

	complete, err := kube.Complete()
	if err != nil {
		return nil, fmt.Errorf("complete API server configuration: %w", err)
	}

	notFound := notfoundhandler.New(kube.KubeAPIs.ControlPlane.Generic.Serializer, genericapifilters.NoMuxAndDiscoveryIncompleteKey)
	extensions, err := complete.ApiExtensions.New(genericapiserver.NewEmptyDelegateWithCustomHandler(notFound))
	if err != nil {
		return nil, fmt.Errorf("create custom resource server: %w", err)
	}
	var metrics *resourceMetrics
	if st.host != nil && st.host.ResourceMetrics {
		if metrics, err = newResourceMetrics(st.host, shared, &own); err != nil {
			return nil, err
		}
	}
	native, err := installNative(cfg, st, metrics, complete.KubeAPIs, extensions.GenericAPIServer)
	if err != nil {
		return nil, err
	}
	aggregator, err := controlplaneapiserver.CreateAggregatorServer(complete.Aggregator, native.GenericAPIServer,
		extensions.Informers.Apiextensions().V1().CustomResourceDefinitions(),
		complete.ApiExtensions.GenericConfig.MergedResourceConfig.ResourceEnabled(apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")),
		apiServicePriorities())
	if err != nil {
		return nil, fmt.Errorf("create aggregator: %w", err)
	}
	if cfg.virtual() {
		installMetrics(aggregator.GenericAPIServer)
		own.note(native.GenericAPIServer, aggregator.GenericAPIServer.Handler.NonGoRestfulMux.ListedPaths)
		if err := errors.Join(own.addHook(aggregator.GenericAPIServer), addMetricsHook(aggregator.GenericAPIServer, metrics)); err != nil {
			return nil, err
		}
	}
	return &Server{aggregator: aggregator, informers: shared, types: kube.KubeAPIs.ControlPlane.Generic.OpenAPIV3Config}, nil
}

// describeHost returns the host of a virtual cluster, with all that its storages
// share.
func (c Config) describeHost(loopback *rest.Config, shared informers.SharedInformerFactory) (*Host, error) {
	client, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return nil, err
	}
	h, err := c.Host(rest.CopyConfig(loopback), shared)
	if err != nil {
		return nil, err
	}
	h.Scheme = legacyscheme.Scheme
	if h.Memory == nil {
		h.Memory = host.NewMemory()
	}
	if h.Inputs == nil {
		h.Inputs = newInputs(client, shared)
	}
	return &h, nil
}

// endRevoked has the requests of a client end whose certificate is no longer
// valid; upstream verifies only those that begin. The aggregator's handlers are
// the outermost.
func endRevoked(kube *kubeapiserver.Config) {
	authorities := kube.KubeAPIs.ControlPlane.Generic.SecureServing.ClientCA
	guard := revocation.NewGuard(authorities.VerifyOptions)
	authorities.AddListener(guard)
	outermost := &kube.Aggregator.GenericConfig.Config
	build := outermost.BuildHandlerChainFunc
	outermost.BuildHandlerChainFunc = func(api http.Handler, c *genericapiserver.Config) http.Handler {
		return guard.Wrap(build(api, c))
	}
}

// dismissClients has connections closed after the answer, once the server is about
// to end: a client that keeps its connection would go on to use it until requests
// are refused, although its load balancer leads new connections elsewhere already.
// HTTP/2 clients get GOAWAY by this header, as with upstream's WithRetryAfter.
func dismissClients(kube *kubeapiserver.Config) {
	outermost := &kube.Aggregator.GenericConfig.Config
	build := outermost.BuildHandlerChainFunc
	outermost.BuildHandlerChainFunc = func(api http.Handler, c *genericapiserver.Config) http.Handler {
		return dismissing(build(api, c), c.ShutdownInitiatedNotify())
	}
}

// dismissing closes connections after the answer, once ending is closed.
func dismissing(handler http.Handler, ending <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-ending:
			w.Header().Set("Connection", "close")
		default:
		}
		handler.ServeHTTP(w, r)
	})
}

// surround puts a handler around those that answer permitted requests, behind
// the filters of the outermost server.
func surround(kube *kubeapiserver.Config, around func(http.Handler) http.Handler) {
	if around == nil {
		return
	}
	outermost := &kube.Aggregator.GenericConfig.Config
	build := outermost.BuildHandlerChainFunc
	outermost.BuildHandlerChainFunc = func(api http.Handler, c *genericapiserver.Config) http.Handler {
		return build(around(api), c)
	}
}

// inject puts our storages under all four servers of the chain. There are four
// getters because upstream clears and rebuilds the getter for each server:
// native resources, custom resource definitions, custom resources, API services.
func inject(kube *kubeapiserver.Config, st *storages) {
	native := kube.KubeAPIs.ControlPlane.Generic
	native.RESTOptionsGetter = st.wrap(native.RESTOptionsGetter)
	crds := &kube.ApiExtensions.GenericConfig.Config
	crds.RESTOptionsGetter = st.wrap(crds.RESTOptionsGetter)
	kube.ApiExtensions.ExtraConfig.CRDRESTOptionsGetter = st.wrap(kube.ApiExtensions.ExtraConfig.CRDRESTOptionsGetter)
	aggregated := &kube.Aggregator.GenericConfig.Config
	aggregated.RESTOptionsGetter = st.wrap(aggregated.RESTOptionsGetter)
}

// installNative creates the server of the native resources. It does the same as
// controlplane.CompletedConfig.New, without the parts that dial etcd or
// allocate addresses that a host allocates.
func installNative(cfg Config, st *storages, metrics *resourceMetrics, c controlplane.CompletedConfig, delegate genericapiserver.DelegationTarget) (*controlplaneapiserver.Server, error) {
	server, err := c.ControlPlane.New(controlplaneapiserver.KubeAPIServer, delegate)
	if err != nil {
		return nil, fmt.Errorf("create native resource server: %w", err)
	}
	client, err := kubernetes.NewForConfig(c.ControlPlane.Generic.LoopbackClientConfig)
	if err != nil {
		return nil, err
	}
	core, err := newCoreProvider(c, client, st.host)
	if err != nil {
		return nil, err
	}
	if err := server.InstallAPIs(providers(c, client, core)...); err != nil {
		return nil, fmt.Errorf("install native APIs: %w", err)
	}
	if metrics != nil {
		if err := metrics.install(server.GenericAPIServer); err != nil {
			return nil, err
		}
	}
	if err := installOpenAPI(server.GenericAPIServer, c.ControlPlane.Generic.OpenAPIConfig, c.ControlPlane.Generic.OpenAPIV3Config); err != nil {
		return nil, err
	}
	if err := core.addHooks(server.GenericAPIServer); err != nil {
		return nil, err
	}
	if cfg.ServiceCIDR != "" {
		if err := addServiceCIDRHook(server.GenericAPIServer, c, client); err != nil {
			return nil, err
		}
	}
	if err := addIdentityHook(server.GenericAPIServer, client); err != nil {
		return nil, err
	}
	return server, addEndpointsHook(server.GenericAPIServer, client, cfg.Doors)
}

// providers lists the API groups in upstream's order, which discovery keeps and
// which decides the meaning of an unqualified resource name
// (CompletedConfig.StorageProviders in pkg/controlplane/instance.go; that
// function itself would dial etcd).
func providers(c controlplane.CompletedConfig, client *kubernetes.Clientset, core *coreProvider) []controlplaneapiserver.RESTStorageProvider {
	g := c.ControlPlane.Generic
	return []controlplaneapiserver.RESTStorageProvider{
		core,
		apiserverinternalrest.StorageProvider{},
		authenticationrest.RESTStorageProvider{Authenticator: g.Authentication.Authenticator, APIAudiences: g.Authentication.APIAudiences},
		authorizationrest.RESTStorageProvider{Authorizer: g.Authorization.Authorizer, RuleResolver: g.RuleResolver},
		autoscalingrest.RESTStorageProvider{},
		batchrest.RESTStorageProvider{},
		certificatesrest.RESTStorageProvider{Authorizer: g.Authorization.Authorizer},
		coordinationrest.RESTStorageProvider{},
		discoveryrest.StorageProvider{},
		lifecyclerest.RESTStorageProvider{},
		networkingrest.RESTStorageProvider{},
		noderest.RESTStorageProvider{},
		policyrest.RESTStorageProvider{},
		rbacProvider{rbacrest.RESTStorageProvider{Authorizer: g.Authorization.Authorizer}},
		schedulingProvider{},
		storagerest.RESTStorageProvider{},
		svmrest.RESTStorageProvider{},
		flowcontrolrest.RESTStorageProvider{InformerFactory: g.SharedInformerFactory},
		appsrest.StorageProvider{},
		admissionregistrationrest.RESTStorageProvider{Authorizer: g.Authorization.Authorizer, DiscoveryClient: client.Discovery()},
		eventsrest.RESTStorageProvider{TTL: c.ControlPlane.EventTTL},
		core.triesClaims(resourcerest.RESTStorageProvider{NamespaceClient: client.CoreV1().Namespaces(), Authorizer: g.Authorization.Authorizer}),
	}
}

// apiServicePriorities orders the groups in discovery as kube-apiserver does
// (the table in cmd/kube-apiserver/app/aggregator.go is not exported). A group
// that is missing here would not be discoverable at all.
func apiServicePriorities() map[schema.GroupVersion]controlplaneapiserver.APIServicePriority {
	all := map[schema.GroupVersion]controlplaneapiserver.APIServicePriority{}
	maps.Copy(all, controlplaneapiserver.DefaultGenericAPIServicePriorities())
	for _, p := range []struct {
		group, version string
		of, within     int32
	}{
		{"", "v1", 18000, 1},
		{"apps", "v1", 17800, 15},
		{"autoscaling", "v2", 17500, 30},
		{"autoscaling", "v1", 17500, 15},
		{"batch", "v1", 17400, 15},
		{"networking.k8s.io", "v1", 17200, 15},
		{"networking.k8s.io", "v1beta1", 17200, 9},
		{"policy", "v1", 17100, 15},
		{"storage.k8s.io", "v1", 16800, 15},
		{"storage.k8s.io", "v1beta1", 16800, 9},
		{"storage.k8s.io", "v1alpha1", 16800, 1},
		{"scheduling.k8s.io", "v1", 16600, 15},
		{"scheduling.k8s.io", "v1beta1", 16600, 9},
		{"scheduling.k8s.io", "v1alpha3", 16600, 3},
		{"node.k8s.io", "v1", 16300, 15},
		{"resource.k8s.io", "v1", 16200, 21},
		{"resource.k8s.io", "v1beta2", 16200, 15},
		{"resource.k8s.io", "v1beta1", 16200, 9},
		{"resource.k8s.io", "v1alpha3", 16200, 1},
		{"lifecycle.k8s.io", "v1alpha1", 15700, 1},
	} {
		all[schema.GroupVersion{Group: p.group, Version: p.version}] = controlplaneapiserver.APIServicePriority{Group: p.of, Version: p.within}
	}
	return all
}

// Loopback is the configuration of a client with all rights that reaches this
// server from inside the process. It works once Run serves.
func (s *Server) Loopback() *rest.Config {
	return rest.CopyConfig(s.aggregator.GenericAPIServer.LoopbackClientConfig)
}

// Informers are the server's own informers. Controllers of this process use
// them instead of holding a second copy of every object.
func (s *Server) Informers() informers.SharedInformerFactory { return s.informers }

// Run serves until ctx ends, then drains requests and returns.
func (s *Server) Run(ctx context.Context) error {
	prepared, err := s.aggregator.PrepareRun()
	if err != nil {
		return fmt.Errorf("prepare API server: %w", err)
	}
	// Every API has been installed by these descriptions of all types. Documents
	// that clients ask for later are built from new ones.
	s.types.Definitions = nil
	return prepared.Run(ctx)
}
