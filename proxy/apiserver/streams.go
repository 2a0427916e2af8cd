// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/features"
	noderest "k8s.io/kubernetes/pkg/registry/core/node/rest"
	podrest "k8s.io/kubernetes/pkg/registry/core/pod/rest"
	podstore "k8s.io/kubernetes/pkg/registry/core/pod/storage"
	servicereg "k8s.io/kubernetes/pkg/registry/core/service"
	servicestore "k8s.io/kubernetes/pkg/registry/core/service/storage"
	"k8s.io/utils/ptr"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/proxy/nodeproxy"
)

// The types here embed upstream's storage for its options, methods and media
// types, and replace the code that would dial a kubelet or a pod by the host's
// own subresource.

// streamFromHost installs them.
func (p *coreProvider) streamFromHost(v1 map[string]rest.Storage, pods podstore.PodStorage, services *servicestore.REST, proxy *servicereg.ProxyREST) error {
	s, err := host.NewStreams(p.host.Config, pods.Pod, services, p.config.ControlPlane.Generic.Authorization.Authorizer)
	if err != nil {
		return fmt.Errorf("streams to the host: %w", err)
	}
	v1["pods/log"] = &podLog{pods.Log, s}
	for subresource, upstream := range map[string]connecter{
		host.Exec: pods.Exec, host.Attach: pods.Attach, host.PortForward: pods.PortForward,
	} {
		v1["pods/"+subresource] = &hostConnecter{upstream, func(ctx context.Context, name string, _ runtime.Object, r rest.Responder) (http.Handler, error) {
			return s.Connect(ctx, subresource, name, r)
		}}
	}
	for resource, upstream := range map[string]connecter{"pods": pods.Proxy, "services": proxy} {
		v1[resource+"/proxy"] = &hostConnecter{upstream, func(ctx context.Context, id string, opts runtime.Object, r rest.Responder) (http.Handler, error) {
			path, err := proxyPath(opts)
			if err != nil {
				return nil, err
			}
			return s.Proxy(ctx, resource, id, path, r)
		}}
	}
	return nil
}

type podLog struct {
	*podrest.LogREST
	streams *host.Streams
}

// Get implements rest.GetterWithOptions.
func (r *podLog) Get(ctx context.Context, name string, opts runtime.Object) (runtime.Object, error) {
	internal, ok := opts.(*api.PodLogOptions)
	if !ok {
		return nil, fmt.Errorf("options of pods/log are a %T", opts)
	}
	selectable := utilfeature.DefaultFeatureGate.Enabled(features.PodLogsQuerySplitStreams)
	if selectable && internal.Stream == nil {
		// No default is applied when the request has no options at all.
		internal.Stream = ptr.To(api.LogStreamAll)
	}
	if errs := validation.ValidatePodLogOptions(internal, selectable); len(errs) > 0 {
		return nil, apierrors.NewInvalid(api.Kind("PodLogOptions"), name, errs)
	}
	versioned := &corev1.PodLogOptions{}
	if err := legacyscheme.Scheme.Convert(internal, versioned, nil); err != nil {
		return nil, err
	}
	return r.streams.Log(ctx, name, versioned)
}

// connecter has the interfaces of upstream's storage of a stream.
type connecter interface {
	rest.Storage
	rest.Connecter
}

// hostConnecter is upstream's, but leads to the host.
type hostConnecter struct {
	connecter
	connect func(ctx context.Context, id string, opts runtime.Object, responder rest.Responder) (http.Handler, error)
}

// Connect implements rest.Connecter.
func (c *hostConnecter) Connect(ctx context.Context, id string, opts runtime.Object, responder rest.Responder) (http.Handler, error) {
	return c.connect(ctx, id, opts, responder)
}

func proxyPath(opts runtime.Object) (string, error) {
	switch o := opts.(type) {
	case *api.PodProxyOptions:
		return o.Path, nil
	case *api.ServiceProxyOptions:
		return o.Path, nil
	default:
		return "", fmt.Errorf("options of a proxy are a %T", opts)
	}
}

// nodeProxy answers for kubelets and passes nothing on to them.
type nodeProxy struct {
	*noderest.ProxyREST
	server *nodeproxy.Server
}

// ConnectMethods implements rest.Connecter. A kubelet changes things by POST.
func (*nodeProxy) ConnectMethods() []string { return []string{http.MethodGet, http.MethodHead} }

// Connect implements rest.Connecter.
func (r *nodeProxy) Connect(_ context.Context, id string, opts runtime.Object, responder rest.Responder) (http.Handler, error) {
	o, ok := opts.(*api.NodeProxyOptions)
	if !ok {
		return nil, fmt.Errorf("options of nodes/proxy are a %T", opts)
	}
	return r.server.Handler(id, o.Path, responder)
}

var (
	_ rest.GetterWithOptions = &podLog{}
	_ rest.Connecter         = &hostConnecter{}
)
