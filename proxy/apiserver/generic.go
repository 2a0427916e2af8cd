// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"fmt"
	"maps"
	"strings"
	"time"

	apiextensionsapiserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/filters"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/util/openapi"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	aggregatorscheme "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	"k8s.io/kube-openapi/pkg/common"
	kubeapiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kubeoptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/controlplane"
	controlplaneapiserver "k8s.io/kubernetes/pkg/controlplane/apiserver"
	generatedopenapi "k8s.io/kubernetes/pkg/generated/openapi"
	upstreamserver "k8s.io/kubernetes/pkg/kubeapiserver"
)

// informerResync is how often informers call their handlers again, as upstream.
const informerResync = 10 * time.Minute

// configure makes the configurations of the chain's servers. It does the work of
// upstream's NewConfig (cmd/kube-apiserver/app/config.go), with a loopback
// client of ours: upstream's makes two RSA keys at each start, which takes as
// much processor time as all else in here.
func configure(options kubeoptions.CompletedOptions) (*kubeapiserver.Config, error) {
	generic, shared, storage, err := configureGeneric(options)
	if err != nil {
		return nil, err
	}
	native, services, plugins, err := kubeapiserver.CreateKubeAPIServerConfig(options, generic, shared, storage)
	if err != nil {
		return nil, err
	}
	cp := &native.ControlPlane
	authenticates := webhook.NewDefaultAuthenticationInfoResolverWrapper(cp.ProxyTransport, cp.Generic.EgressSelector,
		cp.Generic.LoopbackClientConfig, cp.Generic.TracerProvider)
	extensions, err := controlplaneapiserver.CreateAPIExtensionsConfig(*cp.Generic, cp.VersionedInformers, plugins,
		options.CompletedOptions, options.MasterCount, services, authenticates)
	if err != nil {
		return nil, err
	}
	aggregator, err := controlplaneapiserver.CreateAggregatorConfig(*cp.Generic, options.CompletedOptions, cp.VersionedInformers,
		services, cp.ProxyTransport, cp.Extra.PeerProxy, plugins)
	if err != nil {
		return nil, err
	}
	describeOnlyCRDs(&extensions.GenericConfig.Config)
	return &kubeapiserver.Config{Options: options, KubeAPIs: native, ApiExtensions: extensions, Aggregator: aggregator}, nil
}

// configureGeneric makes what all servers of the chain have in common, in the
// order of upstream's BuildGenericConfig (pkg/controlplane/apiserver/config.go):
// a later step reads what an earlier one has set. Options that an embedded
// server never has (egress selector, tracing by file, CBOR) are left out.
func configureGeneric(options kubeoptions.CompletedOptions) (*genericapiserver.Config, informers.SharedInformerFactory, *serverstorage.DefaultStorageFactory, error) {
	enabled := controlplane.DefaultAPIResourceConfigSource()
	c := genericapiserver.NewConfig(legacyscheme.Codecs)
	c.Flagz, c.MergedResourceConfig = options.Flagz, enabled
	if err := options.GenericServerRunOptions.ApplyTo(c); err != nil {
		return nil, nil, nil, err
	}
	if err := serveSecurely(c, options); err != nil {
		return nil, nil, nil, err
	}
	client, err := kubernetes.NewForConfig(c.LoopbackClientConfig)
	if err != nil {
		return nil, nil, nil, err
	}
	shared := informers.NewSharedInformerFactoryWithOptions(client, informerResync,
		informers.WithTransform(withoutManagedFields), informers.WithInformerName(options.InformerName))
	if err := options.Features.ApplyTo(c, client, shared); err != nil {
		return nil, nil, nil, err
	}
	if err := options.APIEnablement.ApplyTo(c, enabled, legacyscheme.Scheme); err != nil {
		return nil, nil, nil, err
	}
	describeTypes(c)
	c.LongRunningFunc = filters.BasicLongRunningRequestCheck(
		sets.NewString("watch", "proxy"), sets.NewString("attach", "exec", "proxy", "log", "portforward"))

	storage, err := configureStorage(c, options)
	if err != nil {
		return nil, nil, nil, err
	}
	ctx := wait.ContextForChannel(c.DrainedNotify())
	if err := options.Authentication.ApplyTo(ctx, &c.Authentication, c.SecureServing, c.EgressSelector, c.OpenAPIConfig, c.OpenAPIV3Config,
		client, shared, c.APIServerID); err != nil {
		return nil, nil, nil, err
	}
	c.Authorization.Authorizer, c.RuleResolver, _, err = controlplaneapiserver.BuildAuthorizer(ctx, options.CompletedOptions, c.EgressSelector, c.APIServerID, shared)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("authorization: %w", err)
	}
	if err := options.Audit.ApplyTo(c); err != nil {
		return nil, nil, nil, err
	}
	c.AggregatedDiscoveryGroupManager = aggregated.NewResourceManager("apis")
	return c, shared, storage, nil
}

// serveSecurely configures the listener, and the client by which the server
// reaches itself through it.
func serveSecurely(c *genericapiserver.Config, options kubeoptions.CompletedOptions) error {
	if err := options.SecureServing.SecureServingOptions.ApplyTo(&c.SecureServing); err != nil {
		return err
	}
	loopback, err := newLoopback(c.SecureServing)
	if err != nil {
		return err
	}
	c.LoopbackClientConfig = loopback
	c.LoopbackClientConfig.ContentType = runtime.ContentTypeProtobuf
	c.LoopbackClientConfig.DisableCompression = true // the network is this machine's memory
	return nil
}

// describeTypes configures the published schemas, without the fields of features
// that are off.
func describeTypes(c *genericapiserver.Config) {
	definitions := openapi.GetOpenAPIDefinitionsWithoutDisabledFeatures(generatedopenapi.GetOpenAPIDefinitions)
	namer := openapinamer.NewDefinitionNamer(legacyscheme.Scheme, apiextensionsapiserver.Scheme, aggregatorscheme.Scheme)
	c.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(definitions, namer)
	c.OpenAPIConfig.Info.Title = "Kubernetes"
	c.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(definitions, namer)
	c.OpenAPIV3Config.Info.Title = "Kubernetes"
}

// describeOnlyCRDs narrows the types that the server of custom resource
// definitions knows to its own: it builds its schemas at start, and holds all
// that it was given.
func describeOnlyCRDs(c *genericapiserver.Config) {
	own := *c.OpenAPIConfig
	all := own.GetDefinitions
	own.GetDefinitions = func(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
		definitions := all(ref)
		maps.DeleteFunc(definitions, func(name string, _ common.OpenAPIDefinition) bool {
			return !strings.Contains(name, "apiextensions") && !strings.Contains(name, "apimachinery")
		})
		return definitions
	}
	c.OpenAPIConfig = &own
}

// configureStorage decides on the stored versions and encodings of the kinds.
// The storages themselves are replaced by inject.
func configureStorage(c *genericapiserver.Config, options kubeoptions.CompletedOptions) (*serverstorage.DefaultStorageFactory, error) {
	config := upstreamserver.NewStorageFactoryConfigEffectiveVersion(c.EffectiveVersion)
	config.APIResourceConfig = c.MergedResourceConfig
	config.DefaultResourceEncoding.SetEffectiveVersion(c.EffectiveVersion)
	options.Etcd.StorageConfig.Transport.TracerProvider = c.TracerProvider
	storage, err := config.Complete(options.Etcd).New()
	if err != nil {
		return nil, err
	}
	storage.StorageConfig.StorageObjectCountTracker = c.StorageObjectCountTracker
	return storage, options.Etcd.ApplyWithStorageFactoryTo(storage, c)
}

// withoutManagedFields is for informers, none of whose users reads them.
func withoutManagedFields(obj any) (any, error) {
	if m, err := meta.Accessor(obj); err == nil && m.GetManagedFields() != nil {
		m.SetManagedFields(nil)
	}
	return obj, nil
}
