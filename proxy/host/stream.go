// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"

	"portico.dev/portico/rewrite"
)

// Streams serves the subresources that are streams rather than objects, by
// handing bytes between the tenant and the host's own subresources: log, exec,
// attach, portforward, and the proxies of pods and services. SPDY and WebSocket
// pass alike; the host translates between them where needed.
//
// Headers that identify the tenant stay here (see scrub). The host sees the
// door, which is authenticated by Config.REST. The virtual object is looked up
// first, so that a missing one is not found under its virtual name and no name
// that the tenant made up is ever sent to the host. The host's answers instead
// of a stream are shown in virtual names.
type Streams struct {
	cfg        Config
	namespace  string // on the host
	pods       rest.Getter
	services   rest.Getter
	authorizer authorizer.UnconditionalAuthorizer

	plain   http.RoundTripper // for logs, HTTP/2 where the host has it
	upgrade http.RoundTripper // HTTP/1.1, which alone can change protocols
}

// NewStreams returns the streams of a virtual cluster. The getters read the
// virtual objects; the authorizer is the virtual cluster's.
func NewStreams(cfg Config, pods, services rest.Getter, a authorizer.UnconditionalAuthorizer) (*Streams, error) {
	cfg = cfg.complete()
	if cfg.REST == nil {
		return nil, errors.New("streams need the REST configuration of the host")
	}
	plain, upgrade, err := transports(cfg.REST)
	if err != nil {
		return nil, fmt.Errorf("make the host transports: %w", err)
	}
	if cfg.Streams != nil {
		plain, upgrade = cfg.Streams.Bound(plain), cfg.Streams.Bound(upgrade)
	}
	return &Streams{
		cfg: cfg, namespace: cfg.Translator.Cluster().HostNamespace,
		pods: pods, services: services, authorizer: a,
		plain: plain, upgrade: upgrade,
	}, nil
}

// target is one object and the subresource of it that is streamed.
type target struct {
	resource    string // pods, services
	subresource string
	id          string // as in the URL; for proxies [scheme:]name[:port]
	namespace   string // virtual
	name        string // virtual
	hostName    string
}

// find looks up the virtual object that a stream is about.
func (s *Streams) find(ctx context.Context, resource, subresource, id string) (target, error) {
	t := target{resource: resource, subresource: subresource, id: id, namespace: request.NamespaceValue(ctx), name: id}
	getter := s.pods
	if resource == "services" {
		getter = s.services
	}
	if subresource == "proxy" {
		_, name, _, valid := utilnet.SplitSchemeNamePort(id)
		if !valid {
			return t, apierrors.NewBadRequest(fmt.Sprintf("invalid %s request %q", strings.TrimSuffix(resource, "s"), id))
		}
		t.name = name
	}
	obj, err := getter.Get(ctx, t.name, &metav1.GetOptions{})
	if err != nil {
		return t, err
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return t, err
	}
	t.namespace = m.GetNamespace()
	t.hostName, err = s.hostName(ctx, t)
	return t, err
}

// hostName returns the host name of the target. The host is asked if there are
// two that it can have.
func (s *Streams) hostName(ctx context.Context, t target) (string, error) {
	kind := kindOf(schema.GroupResource{Resource: t.resource})
	if names := s.cfg.Translator.HostNames(kind.name, t.namespace, t.name); len(names) == 1 {
		return names[0], nil
	}
	of := newHostAPI(s.cfg, kind)
	found, err := rewrite.Find(s.cfg.Translator, kind.name, t.namespace, t.name, func(hostName string) (runtime.Object, error) {
		return of.get(ctx, hostName, "")
	})
	var m metav1.Object
	if err == nil {
		m, err = meta.Accessor(found)
	}
	switch {
	case err == nil:
		return m.GetName(), nil
	case apierrors.IsNotFound(err), errors.Is(err, rewrite.ErrForeign):
		return "", apierrors.NewNotFound(schema.GroupResource{Resource: t.resource}, t.name)
	}
	klog.FromContext(ctx).Info("Host object of a stream not found", "resource", t.resource, "virtualObject", klog.KRef(t.namespace, t.name), "err", err)
	return "", unavailable("the host of this cluster cannot be reached for %s/%s", t.resource, t.subresource)
}

// hostID is the id of the host object in a URL.
func (t target) hostID() string {
	if t.subresource != "proxy" {
		return t.hostName
	}
	scheme, _, port, _ := utilnet.SplitSchemeNamePort(t.id)
	return utilnet.JoinSchemeNamePort(scheme, t.hostName, port)
}

// shows refuses a container that the tenant does not see, as upstream refuses
// one that does not exist (pkg/registry/core/pod, validateContainer).
func (t target) shows(containers ...string) error {
	if slices.Contains(containers, rewrite.EtcHostsName) {
		return apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", rewrite.EtcHostsName, t.name))
	}
	return nil
}

// known are the host names that an answer about the target may mention.
func (t target) known() map[string]rewrite.VirtualRef {
	return map[string]rewrite.VirtualRef{t.hostName: {Namespace: t.namespace, Name: t.name}}
}

// virtualPath and hostPath are where the target is served on either side.
func (t target) virtualPath() string {
	return path.Join("/api/v1/namespaces", t.namespace, t.resource, t.id, t.subresource)
}

// hostURL fails for an id that is no path segment, such as one with a port of
// "%": without the name, the subresource would be taken for it.
func (s *Streams) hostURL(t target) (*url.URL, error) {
	r := s.cfg.Client.CoreV1().RESTClient().Get().
		Namespace(s.namespace).Resource(t.resource).Name(t.hostID()).SubResource(t.subresource)
	if err := r.Error(); err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid %s request %q", strings.TrimSuffix(t.resource, "s"), t.id))
	}
	return r.URL(), nil
}

// Subresources of a pod that need a connection that changes protocols.
const (
	Exec        = "exec"
	Attach      = "attach"
	PortForward = "portforward"
)

// Connect serves exec, attach and portforward. The options of the request go to
// the host as they are, and it validates them.
func (s *Streams) Connect(ctx context.Context, subresource, name string, responder rest.Responder) (http.Handler, error) {
	// A WebSocket begins with GET, for which "get" would do; but it opens more
	// than reading. See https://github.com/kubernetes/kubernetes/issues/133515.
	if err := s.authorize(ctx, "create"); err != nil {
		return nil, err
	}
	t, err := s.find(ctx, "pods", subresource, name)
	if err != nil {
		return nil, err
	}
	location, err := s.hostURL(t)
	if err != nil {
		return nil, err
	}
	proxy := s.proxy(t, location, responder)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if err := t.shows(req.URL.Query()["container"]...); err != nil {
			responder.Error(err)
			return
		}
		if !httpstream.IsUpgradeRequest(req) {
			responder.Error(apierrors.NewBadRequest("Upgrade request required"))
			return
		}
		proxy.ServeHTTP(w, req)
	}), nil
}

// Proxy serves the proxy subresource of a pod or a service: resource is "pods"
// or "services", id [scheme:]name[:port], subpath the path behind it.
func (s *Streams) Proxy(ctx context.Context, resource, id, subpath string, responder rest.Responder) (http.Handler, error) {
	t, err := s.find(ctx, resource, "proxy", id)
	if err != nil {
		return nil, err
	}
	location, err := s.hostURL(t)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		to := *location
		to.Path = below(to.Path, subpath, req.URL.Path)
		s.proxy(t, &to, responder).ServeHTTP(w, req)
	}), nil
}

// below appends subpath to base and does not let it lead out of there: the
// paths above are the host's API, and the door has rights in it. The path
// parsing before has lost a slash at the end, which has a meaning for web
// servers, and without which the host's proxy redirects to the path with it.
func below(base, subpath, requested string) string {
	joined := strings.TrimSuffix(base, "/") + strings.TrimSuffix(path.Clean("/"+subpath), "/")
	if strings.HasSuffix(requested, "/") && !strings.HasSuffix(joined, "/") {
		joined += "/"
	}
	return joined
}

// authorize checks the request again under another verb, as upstream's
// ensureAuthorizedForVerb does (pkg/registry/core/pod/rest/authorize.go).
func (s *Streams) authorize(ctx context.Context, verb string) error {
	info, ok := request.RequestInfoFrom(ctx)
	if !ok {
		return apierrors.NewInternalError(errors.New("no request info in context"))
	}
	if info.Verb == verb {
		return nil // it was under this one
	}
	if s.authorizer == nil {
		return apierrors.NewInternalError(errors.New("no authorizer available"))
	}
	attributes, err := filters.GetAuthorizerAttributes(ctx)
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("attributes of the request: %w", err))
	}
	decision, reason, err := s.authorizer.Authorize(ctx, otherVerb{attributes, verb})
	if err != nil {
		return err
	}
	if decision != authorizer.DecisionAllow {
		return apierrors.NewForbidden(schema.GroupResource{Group: info.APIGroup, Resource: info.Resource}, info.Name, errors.New(reason))
	}
	return nil
}

type otherVerb struct {
	authorizer.Attributes
	verb string
}

// GetVerb implements authorizer.Attributes.
func (o otherVerb) GetVerb() string { return o.verb }

// Log serves a pod's log. The caller has validated the options.
func (s *Streams) Log(ctx context.Context, name string, opts *corev1.PodLogOptions) (runtime.Object, error) {
	t, err := s.find(ctx, "pods", "log", name)
	if err != nil {
		return nil, err
	}
	if err := t.shows(opts.Container); err != nil {
		return nil, err
	}
	return s.newLog(t, opts)
}
