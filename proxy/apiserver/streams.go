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
	podrest "k8s.io/kubernetes/pkg/registry/core/pod/rest"
	podstore "k8s.io/kubernetes/pkg/registry/core/pod/storage"
	servicereg "k8s.io/kubernetes/pkg/registry/core/service"
	servicestore "k8s.io/kubernetes/pkg/registry/core/service/storage"
	"k8s.io/utils/ptr"

	"portico.dev/portico/proxy/host"
)

// The types here embed upstream's storage for its options, methods and media
// types, and replace what would dial a kubelet or a pod by the host's own
// subresource.

// streamFromHost installs them.
func (p *coreProvider) streamFromHost(v1 map[string]rest.Storage, pods podstore.PodStorage, services *servicestore.REST, proxy *servicereg.ProxyREST) error {
	s, err := host.NewStreams(*p.host, pods.Pod, services, p.config.ControlPlane.Generic.Authorization.Authorizer)
	if err != nil {
		return fmt.Errorf("streams to the host: %w", err)
	}
	v1["pods/log"] = &podLog{pods.Log, s}
	v1["pods/exec"] = &podExec{pods.Exec, s}
	v1["pods/attach"] = &podAttach{pods.Attach, s}
	v1["pods/portforward"] = &podPortForward{pods.PortForward, s}
	v1["pods/proxy"] = &podProxy{pods.Proxy, s}
	v1["services/proxy"] = &serviceProxy{proxy, s}
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

type podExec struct {
	*podrest.ExecREST
	streams *host.Streams
}

// Connect implements rest.Connecter.
func (r *podExec) Connect(ctx context.Context, name string, _ runtime.Object, responder rest.Responder) (http.Handler, error) {
	return r.streams.Connect(ctx, host.Exec, name, responder)
}

type podAttach struct {
	*podrest.AttachREST
	streams *host.Streams
}

// Connect implements rest.Connecter.
func (r *podAttach) Connect(ctx context.Context, name string, _ runtime.Object, responder rest.Responder) (http.Handler, error) {
	return r.streams.Connect(ctx, host.Attach, name, responder)
}

type podPortForward struct {
	*podrest.PortForwardREST
	streams *host.Streams
}

// Connect implements rest.Connecter.
func (r *podPortForward) Connect(ctx context.Context, name string, _ runtime.Object, responder rest.Responder) (http.Handler, error) {
	return r.streams.Connect(ctx, host.PortForward, name, responder)
}

type podProxy struct {
	*podrest.ProxyREST
	streams *host.Streams
}

// Connect implements rest.Connecter.
func (r *podProxy) Connect(ctx context.Context, id string, opts runtime.Object, responder rest.Responder) (http.Handler, error) {
	o, ok := opts.(*api.PodProxyOptions)
	if !ok {
		return nil, fmt.Errorf("options of pods/proxy are a %T", opts)
	}
	return r.streams.Proxy(ctx, "pods", id, o.Path, responder)
}

type serviceProxy struct {
	*servicereg.ProxyREST
	streams *host.Streams
}

// Connect implements rest.Connecter.
func (r *serviceProxy) Connect(ctx context.Context, id string, opts runtime.Object, responder rest.Responder) (http.Handler, error) {
	o, ok := opts.(*api.ServiceProxyOptions)
	if !ok {
		return nil, fmt.Errorf("options of services/proxy are a %T", opts)
	}
	return r.streams.Proxy(ctx, "services", id, o.Path, responder)
}

var (
	_ rest.GetterWithOptions = &podLog{}
	_ rest.Connecter         = &podExec{}
	_ rest.Connecter         = &podAttach{}
	_ rest.Connecter         = &podPortForward{}
	_ rest.Connecter         = &podProxy{}
	_ rest.Connecter         = &serviceProxy{}
)
