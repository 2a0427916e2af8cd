// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/tracing"
)

// maxCallRetries is how often the client repeats a call that the host answered
// with Retry-After. The tenant's own client repeats too, and waiting here holds
// its connection.
const maxCallRetries = 2

// hostAPI is the host's API for one kind in the host namespace: its verbs, and
// no translation.
type hostAPI struct {
	kind      kind
	client    rest.Interface // for the kind's group
	namespace string
	timeout   time.Duration // of a call that is not a stream
}

func newHostAPI(cfg Config, k kind) hostAPI {
	return hostAPI{kind: k, client: k.client(cfg.Client), namespace: cfg.Translator.Cluster().HostNamespace, timeout: cfg.CallTimeout}
}

// request addresses the kind's resource.
func (a hostAPI) request(r *rest.Request) *rest.Request {
	return r.Namespace(a.namespace).Resource(a.kind.resource).MaxRetries(maxCallRetries)
}

// slowCall is from when on a host call is worth a line in the log.
const slowCall = 500 * time.Millisecond

// timed bounds a host call that is not a stream, measures it, and makes a span
// of it, so that a trace of the request shows the host's time apart from ours.
// The caller reports the call's error when it is over.
func (a hostAPI) timed(ctx context.Context, verb string) (context.Context, func(*error)) {
	ctx, span := tracing.Start(ctx, "Host call", attribute.String("verb", verb), attribute.String("resource", a.kind.resource))
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	began := time.Now()
	return ctx, func(err *error) {
		cancel()
		span.End(slowCall)
		hostCalls.WithLabelValues(verb, a.kind.resource, codeOf(*err)).Inc()
		hostCallSeconds.WithLabelValues(verb, a.kind.resource).Observe(time.Since(began).Seconds())
	}
}

func (a hostAPI) get(ctx context.Context, name, rv string) (out runtime.Object, err error) {
	ctx, done := a.timed(ctx, "get")
	defer done(&err)
	out = a.kind.new()
	err = a.request(a.client.Get()).Name(name).
		VersionedParams(&metav1.GetOptions{ResourceVersion: rv}, scheme.ParameterCodec).
		Do(ctx).Into(out)
	return out, err
}

func (a hostAPI) create(ctx context.Context, obj runtime.Object) (out runtime.Object, err error) {
	ctx, done := a.timed(ctx, "create")
	defer done(&err)
	out = a.kind.new()
	err = a.request(a.client.Post()).
		VersionedParams(&metav1.CreateOptions{FieldManager: fieldManager, DryRun: dryRun(ctx)}, scheme.ParameterCodec).
		Body(obj).Do(ctx).Into(out)
	return out, err
}

func (a hostAPI) patch(ctx context.Context, name string, p patch) (out runtime.Object, err error) {
	ctx, done := a.timed(ctx, "patch")
	defer done(&err)
	out = a.kind.new()
	err = a.request(a.client.Patch(p.format)).Name(name).SubResource(p.subresources()...).
		VersionedParams(&metav1.PatchOptions{FieldManager: fieldManager, DryRun: dryRun(ctx)}, scheme.ParameterCodec).
		Body(p.body).Do(ctx).Into(out)
	return out, err
}

// post posts to a subresource that answers with a Status.
func (a hostAPI) post(ctx context.Context, name, subresource string, body runtime.Object) (err error) {
	ctx, done := a.timed(ctx, "create")
	defer done(&err)
	return a.request(a.client.Post()).Name(name).SubResource(subresource).
		VersionedParams(&metav1.CreateOptions{FieldManager: fieldManager, DryRun: dryRun(ctx)}, scheme.ParameterCodec).
		Body(body).Do(ctx).Error()
}

// delete deletes at the given grace period the very object that was read, in the
// state of the revision rv unless that is empty.
// Dependents on the host (a pod's token Secret) go in the background; its
// virtual dependents are left to the virtual garbage collector.
//
// The reply is the object, or nil when an old host answers with a Status.
func (a hostAPI) delete(ctx context.Context, name string, grace *int64, uid types.UID, rv string) (out runtime.Object, err error) {
	ctx, done := a.timed(ctx, "delete")
	defer done(&err)
	background := metav1.DeletePropagationBackground
	only := &metav1.Preconditions{UID: &uid}
	if rv != "" {
		only.ResourceVersion = &rv
	}
	out, err = a.request(a.client.Delete()).Name(name).
		Body(&metav1.DeleteOptions{
			GracePeriodSeconds: grace,
			Preconditions:      only,
			PropagationPolicy:  &background,
			DryRun:             dryRun(ctx),
		}).Do(ctx).Get()
	if err != nil {
		return nil, err
	}
	if _, ok := out.(*metav1.Status); ok {
		return nil, nil
	}
	return out, nil
}

func (a hostAPI) list(ctx context.Context, o metav1.ListOptions) (out runtime.Object, err error) {
	ctx, done := a.timed(ctx, "list")
	defer done(&err)
	out = a.kind.newList()
	err = a.request(a.client.Get()).
		VersionedParams(&o, scheme.ParameterCodec).Do(ctx).Into(out)
	return out, err
}

func (a hostAPI) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.Watch = true
	return a.request(a.client.Get()).
		VersionedParams(&o, scheme.ParameterCodec).Watch(ctx)
}
