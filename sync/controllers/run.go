// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	controllersmetrics "k8s.io/component-base/metrics/prometheus/controllers"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
)

const (
	// component is the name that upstream's metrics and this process's shared
	// clients carry.
	component = "kube-controller-manager"
	// startTimeout bounds the wait for an API server that authorizes. It starts
	// in the same process, so a longer wait means that it will not come.
	startTimeout = time.Minute
	// stopTimeout bounds the wait for controllers that are asked to end.
	stopTimeout = 10 * time.Second
	// mapperReset is how often kinds are discovered again, as upstream.
	mapperReset = 30 * time.Second
)

// Run builds the controllers of cfg.Mode, starts them and blocks until ctx ends
// (then it returns nil) or one of them fails (then it ends the others and
// returns the error). It waits by itself for the API server to answer.
//
// Run is for once per process at a time: upstream registers names that are
// unique in a process.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	clients := serviceAccountClients{base: cfg.Kubeconfig}
	if err := waitForAuthorization(ctx, cfg.Kubeconfig, clients); err != nil {
		return stopped(ctx, err)
	}
	var release func()
	direct := cfg
	cfg.Informers, release = hold(ctx, cfg.Informers)
	controllers, shared, err := build(ctx, cfg, clients)
	if err != nil {
		return stopped(ctx, err)
	}
	release()

	// Starting is idempotent: the API server has started most of these already.
	shared.InformerFactory.Start(ctx.Done())
	shared.ObjectOrMetadataInformerFactory.Start(ctx.Done())
	close(shared.InformersStarted)
	go wait.UntilWithContext(ctx, func(context.Context) { shared.RESTMapper.Reset() }, mapperReset)

	for i := range controllers {
		controllers[i] = guard(controllers[i], fail)
	}
	for name := range lateControllers() {
		controllers = append(controllers, guard(loop{name: name, run: func(ctx context.Context) {
			if err := (late{name, direct, shared, fail}).run(ctx); err != nil {
				fail(err)
			}
		}}, fail))
	}
	klog.FromContext(ctx).Info("Started controllers", "mode", cfg.Mode.String(), "count", len(controllers))
	if !app.RunControllers(ctx, shared, controllers, app.ControllerStartJitter, stopTimeout) {
		return stopped(ctx, errors.New("controllers did not end in time"))
	}
	return stopped(ctx, nil)
}

// stopped returns why Run ends: the failure of a controller before anything
// else, and nothing when the caller's context ended, because errors that follow
// from that are no news.
func stopped(ctx context.Context, err error) error {
	var failed *panicError
	if errors.As(context.Cause(ctx), &failed) {
		return failed
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// bootstrapRoles is the API server's own check of whether it has written the
// roles and bindings of all controllers.
const bootstrapRoles = "/readyz/poststarthook/rbac/bootstrap-roles"

// waitForAuthorization returns when the API server answers and lets the
// controllers' accounts do their work: before the bootstrap roles exist, every
// controller would begin with refusals and back off.
func waitForAuthorization(ctx context.Context, base *rest.Config, clients serviceAccountClients) error {
	server, err := kubernetes.NewForConfig(rest.AddUserAgent(rest.CopyConfig(base), component))
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	account, err := clients.Client("namespace-controller")
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	ask := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Resource: "namespaces"},
	}}
	var last error
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, startTimeout, true, func(ctx context.Context) (bool, error) {
		// A server that writes its roles before it serves has no such check.
		last = server.Discovery().RESTClient().Get().AbsPath(bootstrapRoles).Do(ctx).Error()
		if last != nil && !apierrors.IsNotFound(last) {
			return false, nil
		}
		answer, err := account.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, ask, metav1.CreateOptions{})
		if err != nil {
			last = err
			return false, nil
		}
		last = errors.New("the namespace controller may not list namespaces")
		return answer.Status.Allowed, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the API server: %w", errors.Join(err, last))
	}
	return nil
}

// build makes every controller of the mode. Constructors register their event
// handlers, which must not be called before all of them have returned: see
// heldInformers.
func build(ctx context.Context, cfg Config, clients serviceAccountClients) (list []app.Controller, shared app.ControllerContext, err error) {
	defer func() {
		// Some of upstream's constructors and the OrDie clients panic.
		if r := recover(); r != nil {
			err = fmt.Errorf("build controllers: %w", newPanicError("constructor", r))
		}
	}()
	shared, err = newContext(ctx, cfg, clients)
	if err != nil {
		return nil, shared, err
	}
	descriptors, err := selected(ctx, cfg)
	if err != nil {
		return nil, shared, err
	}
	maps.DeleteFunc(descriptors, func(name string, _ *app.ControllerDescriptor) bool { return lateControllers()[name] != nil })

	tokens, err := newTokenController(ctx, cfg, shared)
	if err != nil {
		return nil, shared, err
	}
	others, err := app.BuildControllers(ctx, shared, descriptors, nil, noHealthChecks{})
	if err != nil {
		return nil, shared, fmt.Errorf("build controllers: %w", err)
	}
	list = append([]app.Controller{tokens}, others...)
	if cfg.Scheduler {
		sched, err := newScheduler(ctx, cfg)
		if err != nil {
			return nil, shared, err
		}
		list = append(list, sched)
	}
	return list, shared, nil
}

// selected returns upstream's descriptors of the controllers that run. The
// token controller is not among them.
func selected(ctx context.Context, cfg Config) (map[string]*app.ControllerDescriptor, error) {
	descriptors := app.NewControllerDescriptors()
	rows := table()
	for name := range descriptors {
		row, known := rows[name]
		if !known {
			return nil, fmt.Errorf("select controllers: upstream's %q is not in the table", name)
		}
		if reason := row.skipped(cfg); reason != "" {
			klog.FromContext(ctx).V(4).Info("Left out controller", "controller", name, "reason", reason)
			delete(descriptors, name)
		}
	}
	delete(descriptors, names.ServiceAccountTokenController)
	return descriptors, nil
}

// newContext fills upstream's ControllerContext, as its CreateControllerContext
// does, around informers that exist.
func newContext(ctx context.Context, cfg Config, clients serviceAccountClients) (app.ControllerContext, error) {
	settings, err := cfg.component()
	if err != nil {
		return app.ControllerContext{}, err
	}
	period := resync(settings.Generic.MinResyncPeriod.Duration)
	base := rest.AddUserAgent(rest.CopyConfig(cfg.Kubeconfig), component)
	metadataClient, err := metadata.NewForConfig(base)
	if err != nil {
		return app.ControllerContext{}, fmt.Errorf("make the metadata client: %w", err)
	}
	client, err := kubernetes.NewForConfig(base)
	if err != nil {
		return app.ControllerContext{}, fmt.Errorf("make the discovery client: %w", err)
	}
	metadataInformers := metadatainformer.NewSharedInformerFactoryWithOptions(metadataClient, period(),
		metadatainformer.WithTransform(trimManagedFields))

	controllersmetrics.Register()
	shared := app.ControllerContext{
		ClientBuilder:                   clients,
		InformerFactory:                 cfg.Informers,
		ObjectOrMetadataInformerFactory: informerfactory.NewInformerFactory(cfg.Informers, metadataInformers),
		ComponentConfig:                 settings,
		RESTMapper:                      restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery())),
		InformersStarted:                make(chan struct{}),
		ResyncPeriod:                    period,
		ControllerManagerMetrics:        controllersmetrics.NewControllerManagerMetrics(component),
	}
	ignored := make(map[schema.GroupResource]struct{})
	for _, r := range settings.GarbageCollectorController.GCIgnoredResources {
		ignored[schema.GroupResource{Group: r.Group, Resource: r.Resource}] = struct{}{}
	}
	shared.GraphBuilder = garbagecollector.NewDependencyGraphBuilder(ctx, metadataClient, shared.RESTMapper, ignored,
		shared.ObjectOrMetadataInformerFactory, shared.InformersStarted)
	return shared, nil
}

// trimManagedFields drops fields that no controller reads, as the API server's
// own informers do.
func trimManagedFields(obj any) (any, error) {
	if object, ok := obj.(metav1.Object); ok && object.GetManagedFields() != nil {
		object.SetManagedFields(nil)
	}
	return obj, nil
}

// noHealthChecks drops upstream's per-controller health checks: they always
// pass, or belong to a server we do not have.
type noHealthChecks struct{}

var _ app.HealthCheckAdder = noHealthChecks{}

// AddHealthChecker does nothing.
func (noHealthChecks) AddHealthChecker(...healthz.HealthChecker) {}

// guard makes a panic in a controller's own goroutine end Run with an error
// rather than the process.
func guard(c app.Controller, fail context.CancelCauseFunc) app.Controller {
	return loop{name: c.Name(), run: func(ctx context.Context) {
		defer func() {
			if r := recover(); r != nil {
				fail(newPanicError(c.Name(), r))
			}
		}()
		c.Run(ctx)
	}}
}

// panicError is a controller's panic with the stack it happened on.
type panicError struct {
	controller string
	value      any
	stack      []byte
}

func newPanicError(controller string, value any) *panicError {
	return &panicError{controller: controller, value: value, stack: debug.Stack()}
}

// Error names the controller and holds the stack: there is no other place from
// which to learn it.
func (e *panicError) Error() string {
	return fmt.Sprintf("controller %s panicked: %v\n%s", e.controller, e.value, e.stack)
}
