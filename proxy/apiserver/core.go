// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"errors"
	"fmt"

	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/controlplane"
	endpointsstore "k8s.io/kubernetes/pkg/registry/core/endpoint/storage"
	limitrangestore "k8s.io/kubernetes/pkg/registry/core/limitrange/storage"
	nodestore "k8s.io/kubernetes/pkg/registry/core/node/storage"
	pvstore "k8s.io/kubernetes/pkg/registry/core/persistentvolume/storage"
	pvcstore "k8s.io/kubernetes/pkg/registry/core/persistentvolumeclaim/storage"
	podstore "k8s.io/kubernetes/pkg/registry/core/pod/storage"
	podtemplatestore "k8s.io/kubernetes/pkg/registry/core/podtemplate/storage"
	controllerstore "k8s.io/kubernetes/pkg/registry/core/replicationcontroller/storage"
	corerest "k8s.io/kubernetes/pkg/registry/core/rest"
	servicestore "k8s.io/kubernetes/pkg/registry/core/service/storage"
	serviceaccountstore "k8s.io/kubernetes/pkg/registry/core/serviceaccount/storage"

	"portico.dev/portico/proxy/nodeproxy"
)

// coreProvider installs the core group. Upstream's own provider cannot be
// used: its constructor dials etcd for the node port allocator
// (corerest.New in pkg/registry/core/rest/storage_core.go).
//
// The resources that upstream shares between control planes with and without
// containers (events, secrets, config maps, namespaces, quotas) come from the
// embedded generic part. componentstatuses is left out: it has been deprecated
// since 1.19, and the components it asks for do not exist here.
type coreProvider struct {
	*corerest.GenericConfig
	config     controlplane.CompletedConfig
	client     *kubernetes.Clientset
	allocators *allocators
	host       *Host // nil in an ordinary cluster
}

func newCoreProvider(c controlplane.CompletedConfig, client *kubernetes.Clientset, h *Host) (*coreProvider, error) {
	a, err := newAllocators(c, client, h != nil)
	if err != nil {
		return nil, err
	}
	return &coreProvider{GenericConfig: c.ControlPlane.NewCoreGenericConfig(), config: c, client: client, allocators: a, host: h}, nil
}

// addHooks starts the background work of the installed resources.
func (p *coreProvider) addHooks(server *genericapiserver.GenericAPIServer) error {
	if p.host != nil {
		return addServiceRepairHook(server)
	}
	if err := addNodePortHook(server, p.client, p.allocators); err != nil {
		return err
	}
	return addKubernetesServiceHook(server, p.config, p.client)
}

// NewRESTStorage implements controlplaneapiserver.RESTStorageProvider.
func (p *coreProvider) NewRESTStorage(enabled serverstorage.APIResourceConfigSource, opts generic.RESTOptionsGetter) (genericapiserver.APIGroupInfo, error) {
	info, err := p.GenericConfig.NewRESTStorage(enabled, opts)
	if err != nil {
		return info, err
	}
	v1 := info.VersionedResourcesStorageMap["v1"]
	if v1 == nil {
		return info, errors.New("upstream's generic core provider installed no v1 resources")
	}
	if err := p.addPlain(v1, opts); err != nil {
		return info, err
	}
	if err := p.addWorkloads(v1, opts); err != nil {
		return info, err
	}
	return info, nil
}

// addPlain adds the resources that are the same in both kinds of cluster.
func (p *coreProvider) addPlain(v1 map[string]rest.Storage, opts generic.RESTOptionsGetter) error {
	podTemplates, err := podtemplatestore.NewREST(opts)
	if err != nil {
		return fmt.Errorf("podtemplates: %w", err)
	}
	limitRanges, err := limitrangestore.NewREST(opts)
	if err != nil {
		return fmt.Errorf("limitranges: %w", err)
	}
	volumes, volumeStatus, err := pvstore.NewREST(opts)
	if err != nil {
		return fmt.Errorf("persistentvolumes: %w", err)
	}
	claims, claimStatus, err := pvcstore.NewREST(opts)
	if err != nil {
		return fmt.Errorf("persistentvolumeclaims: %w", err)
	}
	endpoints, err := endpointsstore.NewREST(opts)
	if err != nil {
		return fmt.Errorf("endpoints: %w", err)
	}
	controllers, err := controllerstore.NewStorage(opts)
	if err != nil {
		return fmt.Errorf("replicationcontrollers: %w", err)
	}
	v1["podtemplates"] = podTemplates
	v1["limitranges"] = limitRanges
	v1["persistentvolumes"], v1["persistentvolumes/status"] = volumes, volumeStatus
	v1["persistentvolumeclaims"], v1["persistentvolumeclaims/status"] = claims, claimStatus
	v1["endpoints"] = endpoints
	v1["replicationcontrollers"] = controllers.Controller
	v1["replicationcontrollers/status"] = controllers.Status
	v1["replicationcontrollers/scale"] = controllers.Scale
	return nil
}

// addWorkloads adds pods, services, nodes and service accounts, which refer to
// one another.
func (p *coreProvider) addWorkloads(v1 map[string]rest.Storage, opts generic.RESTOptionsGetter) error {
	extra := p.config.ControlPlane.Extra
	authorizer := p.config.ControlPlane.Generic.Authorization.Authorizer
	nodes, err := nodestore.NewStorage(opts, p.config.Extra.KubeletClientConfig, extra.ProxyTransport)
	if err != nil {
		return fmt.Errorf("nodes: %w", err)
	}
	pods, err := podstore.NewStorage(opts, nodes.KubeletConnectionInfo, extra.ProxyTransport, p.client.PolicyV1(), authorizer)
	if err != nil {
		return fmt.Errorf("pods: %w", err)
	}
	services, serviceStatus, serviceProxy, err := servicestore.NewREST(opts, p.allocators.family, p.allocators.clusterIP,
		p.allocators.nodePort, extra.EndpointSliceGetter, pods.Pod, extra.ProxyTransport)
	if err != nil {
		return fmt.Errorf("services: %w", err)
	}
	secrets, ok := v1["secrets"].(rest.Getter)
	if !ok {
		return fmt.Errorf("secrets: %T cannot be read", v1["secrets"])
	}
	// The generic part made a service account storage that knows no pods;
	// tokens bound to pods need this one. Release the other one.
	v1["serviceaccounts"].Destroy()
	v1["serviceaccounts/token"].Destroy()
	accounts, err := serviceaccountstore.NewREST(opts, p.ServiceAccountIssuer, p.APIAudiences, authorizer,
		p.ServiceAccountMaxExpiration, pods.Pod.Store, secrets, nodes.Node.Store,
		p.client.AdmissionregistrationV1().ValidatingWebhookConfigurations(),
		p.client.AdmissionregistrationV1().MutatingWebhookConfigurations(), p.ExtendExpiration, p.MaxExtendedExpiration)
	if err != nil {
		return fmt.Errorf("serviceaccounts: %w", err)
	}

	v1["nodes"], v1["nodes/status"] = nodes.Node, nodes.Status
	v1["pods"], v1["pods/status"] = pods.Pod, pods.Status
	v1["pods/binding"], v1["bindings"] = pods.Binding, pods.LegacyBinding
	v1["pods/eviction"] = pods.Eviction
	v1["pods/ephemeralcontainers"] = pods.EphemeralContainers
	v1["pods/resize"] = pods.Resize
	v1["pods/log"] = pods.Log
	v1["pods/exec"], v1["pods/attach"] = pods.Exec, pods.Attach
	v1["pods/portforward"] = pods.PortForward
	v1["pods/proxy"] = pods.Proxy
	v1["services"], v1["services/status"] = services, serviceStatus
	v1["services/proxy"] = serviceProxy
	v1["serviceaccounts"], v1["serviceaccounts/token"] = accounts, accounts.Token
	if p.host == nil {
		v1["nodes/proxy"] = nodes.Proxy
		return nil
	}
	// Upstream's nodes/proxy must not be here: a tenant may create a Node with
	// any address, and the door would dial it on the tenant's behalf.
	if p.host.NodeProxy && p.host.NodeShown != nil {
		v1["nodes/proxy"] = &nodeProxy{nodes.Proxy, nodeproxy.New(nodeproxy.Config{
			Host: p.host.Client, Translator: p.host.Translator, Shown: p.host.NodeShown,
			Pods: p.config.ControlPlane.VersionedInformers.Core().V1().Pods().Lister(),
		})}
	}
	letHostAllocate(services)
	dryRuns(v1)
	return p.streamFromHost(v1, pods, services, serviceProxy)
}
