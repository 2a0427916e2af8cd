// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/kwok/pkg/kwok/controllers"
	kwoklog "sigs.k8s.io/kwok/pkg/log"
)

// DefaultPrefix is the prefix of the names of simulated nodes.
const DefaultPrefix = "simulated"

// Options says which nodes there are.
type Options struct {
	// Nodes is how many; 0 runs the controllers for nodes that exist.
	Nodes int
	// Prefix begins each name, before "-1", "-2" and so on; DefaultPrefix if empty.
	Prefix string
}

func (o Options) complete() (Options, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Nodes < 0 || o.Nodes > maxNodes {
		return o, fmt.Errorf("number of simulated nodes is %d, must be 0 to %d", o.Nodes, maxNodes)
	}
	return o, nil
}

// Run creates the nodes that do not exist yet and plays kubelet for them until
// ctx ends; then it returns nil. The API server behind cfg must be serving.
func Run(ctx context.Context, cfg *rest.Config, o Options) error {
	o, err := o.complete()
	if err != nil {
		return err
	}
	// The API server's own flow control is the limit, not the client's: a
	// simulated node must not be slower than the servers it is compared with.
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	config, err := controllersConfig(cfg)
	if err != nil {
		return err
	}
	return run(ctx, config, o)
}

func run(ctx context.Context, config controllers.Config, o Options) error {
	logger := klog.FromContext(ctx).WithName("simulate")
	for i := range o.Nodes {
		_, err := config.TypedClient.CoreV1().Nodes().Create(ctx, node(o.Prefix, i), metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create simulated node %d: %w", i+1, err)
		}
	}
	controller, err := controllers.NewController(config)
	if err != nil {
		return fmt.Errorf("set up kwok: %w", err)
	}
	if err := controller.Start(kwoklog.NewContext(ctx, newKwokLogger(logger))); err != nil {
		return fmt.Errorf("start kwok: %w", err)
	}
	logger.V(2).Info("Started simulated nodes", "nodes", o.Nodes)
	<-ctx.Done()
	return nil
}

// controllersConfig returns the configuration that kwok's own command makes
// from its defaults.
func controllersConfig(cfg *rest.Config) (controllers.Config, error) {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return controllers.Config{}, fmt.Errorf("client for simulated nodes: %w", err)
	}
	dynamicClient, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return controllers.Config{}, fmt.Errorf("dynamic client for simulated nodes: %w", err)
	}
	discoveryClient, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return controllers.Config{}, fmt.Errorf("discovery client for simulated nodes: %w", err)
	}
	config, err := baseConfig(client)
	if err != nil {
		return controllers.Config{}, err
	}
	config.DynamicClient = dynamicClient
	config.RESTClient = discoveryClient.RESTClient()
	config.RESTMapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discoveryClient))
	return config, nil
}

// holder is who holds the leases of the nodes. A cluster has one process that plays
// them: one that starts again after a kill goes on at once, and does not wait for 40
// seconds until the leases of the one before have ended.
const holder = "porticod-simulate"

// baseConfig is the part that needs nothing but a typed client.
func baseConfig(client kubernetes.Interface) (controllers.Config, error) {
	played, err := stages()
	if err != nil {
		return controllers.Config{}, err
	}
	return controllers.Config{
		Clock:                             clock.RealClock{},
		TypedClient:                       carefulClient{client},
		ManageNodesWithAnnotationSelector: nodeAnnotation + "=" + nodeSimulated,
		CIDR:                              "10.127.0.0/16", // of pods on nodes without a podCIDR
		LocalStages:                       played,
		PodPlayStageParallelism:           4,
		NodePlayStageParallelism:          4,
		NodeLeaseParallelism:              4,
		NodeLeaseDurationSeconds:          40,
		PodsOnNodeSyncParallelism:         1,
		ID:                                holder,
	}, nil
}

// WaitReady waits until pods can be scheduled to every simulated node: it is
// Ready, and the node lifecycle controller has removed the taints that
// admission puts on new nodes.
func WaitReady(ctx context.Context, client kubernetes.Interface, o Options) error {
	o, err := o.complete()
	if err != nil {
		return err
	}
	for i := range o.Nodes {
		name := node(o.Prefix, i).Name
		if err := waitNode(ctx, client, name); err != nil {
			return fmt.Errorf("wait for simulated node %q: %w", name, err)
		}
	}
	return nil
}

func waitNode(ctx context.Context, client kubernetes.Interface, name string) error {
	selector := fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	listWatch := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selector
			return client.CoreV1().Nodes().List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selector
			return client.CoreV1().Nodes().Watch(ctx, o)
		},
	}, client)
	_, err := watchtools.UntilWithSync(ctx, listWatch, &corev1.Node{}, nil, func(e watch.Event) (bool, error) {
		node, ok := e.Object.(*corev1.Node)
		return ok && node.Name == name && schedulable(node), nil
	})
	return err
}

func schedulable(node *corev1.Node) bool {
	for _, taint := range node.Spec.Taints {
		if taint.Effect != corev1.TaintEffectPreferNoSchedule {
			return false
		}
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
