// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/admission"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	apiregistrationclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/controllers/autoregister"

	"portico.dev/portico/proxy/resourcemetrics"
)

// The aggregator notices an APIService within milliseconds.
const (
	aggregatorInterval = 20 * time.Millisecond
	aggregatorTimeout  = 30 * time.Second
)

// ownAPIs are the APIs that a virtual cluster's API server serves itself. The
// aggregator would hand requests for one of them to any server that an APIService
// names, those of porticod's controllers included. In an ordinary cluster that
// is its administrator's affair; here they do not run the controllers, and a
// metrics server that never gets ready, as none can that asks kubelets, takes
// "kubectl top" away and holds up the end of every namespace.
//
// As an admission plugin it refuses such an APIService. One from earlier is put
// back.
type ownAPIs struct {
	native  map[string]*apiregistrationv1.APIService // by the name
	metrics atomic.Bool                              // metrics.k8s.io is served from the host's
	led     func() []string                          // the paths that the aggregator leads somewhere
}

var _ admission.ValidationInterface = (*ownAPIs)(nil)

// guard makes the aggregator ask o about writes.
func (o *ownAPIs) guard(aggregator *genericapiserver.Config) {
	aggregator.AdmissionControl = admission.NewChainHandler(aggregator.AdmissionControl, o)
}

// note learns which APIs the native servers have, and which the aggregator.
func (o *ownAPIs) note(native genericapiserver.DelegationTarget, led func() []string) {
	o.native, o.led = map[string]*apiregistrationv1.APIService{}, led
	priorities := apiServicePriorities()
	for _, path := range native.ListedPaths() {
		gv, ok := groupVersionOf(path)
		p, discoverable := priorities[gv]
		if !ok || !discoverable {
			continue
		}
		o.native[apiServiceName(gv)] = &apiregistrationv1.APIService{
			// As upstream's autoregistration would make it.
			ObjectMeta: metav1.ObjectMeta{Name: apiServiceName(gv), Labels: map[string]string{autoregister.AutoRegisterManagedLabel: "onstart"}},
			Spec: apiregistrationv1.APIServiceSpec{
				Group: gv.Group, Version: gv.Version, GroupPriorityMinimum: p.Group, VersionPriority: p.Version,
			},
		}
	}
}

// groupVersionOf reads the path under which a version of a group is served.
func groupVersionOf(path string) (schema.GroupVersion, bool) {
	if path == "/api/v1" {
		return schema.GroupVersion{Version: "v1"}, true
	}
	rest, ok := strings.CutPrefix(path, "/apis/")
	group, version, two := strings.Cut(rest, "/")
	return schema.GroupVersion{Group: group, Version: version}, ok && two && !strings.Contains(version, "/")
}

func apiServiceName(gv schema.GroupVersion) string { return gv.Version + "." + gv.Group }

// of returns the APIService of that name as it should be, or nil if the API is
// none of ours.
func (o *ownAPIs) of(name string) *apiregistrationv1.APIService {
	if name == metricsService() && o.metrics.Load() {
		return newMetricsService()
	}
	return o.native[name].DeepCopy()
}

// Handles implements admission.Interface.
func (o *ownAPIs) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Validate implements admission.ValidationInterface.
func (o *ownAPIs) Validate(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.GetResource().GroupResource() != apiregistration.Resource("apiservices") || a.GetSubresource() != "" {
		return nil
	}
	service, ok := a.GetObject().(*apiregistration.APIService)
	if !ok || service.Spec.Service == nil {
		return nil
	}
	gv := schema.GroupVersion{Group: service.Spec.Group, Version: service.Spec.Version}
	switch {
	case o.of(apiServiceName(gv)) == nil:
		return nil
	case gv == resourcemetrics.GroupVersion:
		return admission.NewForbidden(a, errOwnMetrics)
	default:
		return admission.NewForbidden(a, fmt.Errorf("%s is served by the API server of this virtual cluster, and no other server can take its place", gv))
	}
}

var errOwnMetrics = errors.New("metrics.k8s.io/v1beta1 is served by the API server of this virtual cluster, from the metrics of its host, and no other server " +
	"can take its place unless the operator sets integrations.metricsServer.enabled to false; kubectl top and autoscalers need no metrics server inside")

// addHook puts back APIServices of before.
func (o *ownAPIs) addHook(server *genericapiserver.GenericAPIServer) error {
	return server.AddPostStartHook("portico-own-apis", func(hook genericapiserver.PostStartHookContext) error {
		client, err := kubernetes.NewForConfig(hook.LoopbackClientConfig)
		if err != nil {
			return err
		}
		services, err := apiregistrationclient.NewForConfig(hook.LoopbackClientConfig)
		if err != nil {
			return err
		}
		go retry(hook, "APIServices that lead to other servers are not put back", func(ctx context.Context) error { return o.putAllBack(ctx, client, services.APIServices()) })
		return nil
	})
}

// putAllBack leaves metrics.k8s.io out: see resourceMetrics.publish.
func (o *ownAPIs) putAllBack(ctx context.Context, client kubernetes.Interface, services apiregistrationclient.APIServiceInterface) error {
	all, err := services.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list APIServices: %w", err)
	}
	for i := range all.Items {
		name := all.Items[i].Name
		if _, native := o.native[name]; !native || all.Items[i].Spec.Service == nil {
			continue
		}
		if err := o.putBack(ctx, client, services, name); err != nil {
			return err
		}
	}
	return nil
}

// putBack makes an APIService lead to this server again, and reports it in an
// Event. It is deleted and created: from an update, the aggregator's discovery
// would not notice that the other server is gone, and be stale until a restart.
func (o *ownAPIs) putBack(ctx context.Context, client kubernetes.Interface, services apiregistrationclient.APIServiceInterface, name string) error {
	want := o.of(name)
	was, err := services.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get APIService %s: %w", name, err)
	}
	if want == nil || was.Spec.Service == nil {
		return nil // another replica was faster
	}
	if err := o.await(ctx, want, true); err != nil {
		return err
	}
	err = services.Delete(ctx, name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(was.UID))})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete APIService %s: %w", name, err)
	}
	if err := o.await(ctx, want, false); err != nil {
		return err
	}
	if _, err := services.Create(ctx, want, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create APIService %s: %w", name, err)
	}
	klog.FromContext(ctx).Info("Put an APIService back that led to another server", "apiService", name)
	o.report(ctx, client, was)
	return nil
}

// await waits until the aggregator leads requests for an API somewhere, or has
// forgotten it.
func (o *ownAPIs) await(ctx context.Context, service *apiregistrationv1.APIService, led bool) error {
	path := "/apis/" + service.Spec.Group + "/" + service.Spec.Version
	if service.Spec.Group == "" {
		path = "/api"
	}
	err := wait.PollUntilContextTimeout(ctx, aggregatorInterval, aggregatorTimeout, true, func(context.Context) (bool, error) {
		return slices.Contains(o.led(), path) == led, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the aggregator to notice APIService %s: %w", service.Name, err)
	}
	return nil
}

func (o *ownAPIs) report(ctx context.Context, client kubernetes.Interface, was *apiregistrationv1.APIService) {
	now := metav1.Now()
	_, err := client.CoreV1().Events(metav1.NamespaceDefault).Create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s.%x", was.Name, now.UnixNano())},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: apiregistrationv1.SchemeGroupVersion.String(), Kind: "APIService", Name: was.Name, UID: was.UID,
		},
		Type: corev1.EventTypeWarning, Reason: "APIServicePutBack",
		Message: fmt.Sprintf("%s is served by the API server of this virtual cluster; requests no longer go to the Service %s/%s",
			schema.GroupVersion{Group: was.Spec.Group, Version: was.Spec.Version}, was.Spec.Service.Namespace, was.Spec.Service.Name),
		Source: corev1.EventSource{Component: "portico"}, FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}, metav1.CreateOptions{})
	if err != nil {
		klog.FromContext(ctx).Error(err, "No Event was written about an APIService that was put back", "apiService", was.Name)
	}
}
