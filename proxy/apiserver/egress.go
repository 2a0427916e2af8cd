// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"fmt"
	"net/url"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/admission"
	webhookinit "k8s.io/apiserver/pkg/admission/plugin/webhook/initializer"
	"k8s.io/apiserver/pkg/server/egressselector"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/util/webhook"
	aggregatorapiserver "k8s.io/kube-aggregator/pkg/apiserver"
	kubeapiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"

	"portico.dev/portico/proxy/egress"
)

// callers are the admission plugins that call webhooks. Upstream gives them its
// own resolvers while it configures the server, when no informer exists yet
// that ours could be made of; so they are noted then and given ours later.
type callers []admission.Interface

// note has them noted as soon as they exist, before anything wraps them.
func (c *callers) note(o *genericoptions.AdmissionOptions) {
	o.Decorators = append(admission.Decorators{admission.DecoratorFunc(func(plugin admission.Interface, _ string) admission.Interface {
		if _, ok := plugin.(webhookinit.WantsAuthenticationInfoResolverWrapper); ok {
			*c = append(*c, plugin)
		}
		return plugin
	})}, o.Decorators...)
}

// confine makes one dialer the only way to addresses that a tenant's objects
// name.
func confine(kube *kubeapiserver.Config, c callers, cfg egress.Config) error {
	cp := &kube.KubeAPIs.ControlPlane
	view, err := egress.NewView(cp.VersionedInformers, cp.EndpointSliceGetter)
	if err != nil {
		return err
	}
	d := egress.New(cfg, view)
	loopback := cp.Generic.LoopbackClientConfig
	clients, err := d.WebhookClients(loopback)
	if err != nil {
		return err
	}
	self, err := url.Parse(loopback.Host)
	if err != nil {
		return fmt.Errorf("address of the loopback client: %w", err)
	}
	// Only webhooks reach the API server itself under its Service's name, and
	// with clients that lead nowhere else.
	services := aggregatorapiserver.NewLoopbackServiceResolver(d.Resolver(), self)
	if err := c.use(clients, services); err != nil {
		return err
	}
	conversion := &kube.ApiExtensions.ExtraConfig
	conversion.AuthResolverWrapper, conversion.ServiceResolver = clients, services
	kube.Aggregator.ExtraConfig.ServiceResolver = d.UnproxiedResolver()

	// Both servers have the same transport, and a virtual cluster's storages of
	// nodes and pods, which have it as well, are never asked to dial.
	cp.ProxyTransport.DialContext = d.DialContext
	kube.Aggregator.ExtraConfig.ProxyTransport = cp.ProxyTransport
	kube.KubeAPIs.Extra.KubeletClientConfig.Lookup = func(egressselector.NetworkContext) (utilnet.DialFunc, error) {
		return d.DialContext, nil
	}
	return nil
}

// use gives the plugins their way to webhooks.
func (c callers) use(clients webhook.AuthenticationInfoResolverWrapper, services webhook.ServiceResolver) error {
	if len(c) == 0 {
		return fmt.Errorf("no admission plugin calls webhooks: upstream makes them in another way")
	}
	for _, plugin := range c {
		clientsOf, ok := plugin.(webhookinit.WantsAuthenticationInfoResolverWrapper)
		servicesOf, also := plugin.(webhookinit.WantsServiceResolver)
		if !ok || !also {
			return fmt.Errorf("admission plugin %T takes no resolver of Services", plugin)
		}
		clientsOf.SetAuthenticationInfoResolverWrapper(clients)
		servicesOf.SetServiceResolver(services)
	}
	return nil
}
