// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nslabels

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/pager"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/queue"
)

const (
	// settle is longer than the API server lets a pod's creation take. One that
	// read the old labels has ended then.
	settle = 70 * time.Second
	// parallel and perSecond bound the patches.
	parallel  = 8
	perSecond = 50
)

// Config says where namespaces are read, and where pods are patched.
type Config struct {
	Translator *rewrite.Translator
	// Informers are of the virtual side.
	Informers informers.SharedInformerFactory
	// Host reads the labels of host pods and patches them, in the cluster's
	// host namespace.
	Host metadata.Interface
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Controller patches host pods when the labels of their virtual namespaces change.
type Controller struct {
	translator *rewrite.Translator
	pods       metadata.ResourceInterface
	informers  informers.SharedInformerFactory
	namespaces corelisters.NamespaceLister
	loop       *queue.Loop[string] // over virtual namespaces
	rate       flowcontrol.RateLimiter
}

// New returns a controller. It registers with the informers, so it must be
// called before they are relied on.
func New(cfg Config) (*Controller, error) {
	namespaces := cfg.Informers.Core().V1().Namespaces()
	c := &Controller{
		translator: cfg.Translator, informers: cfg.Informers, namespaces: namespaces.Lister(),
		pods: cfg.Host.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(cfg.Translator.Cluster().HostNamespace),
		rate: flowcontrol.NewTokenBucketRateLimiter(perSecond, perSecond),
	}
	c.loop = queue.NewLoop("nslabels", cfg.Clock, c.reconcile)
	return c, queue.Listen(c.loop, "namespaces", namespaces.Informer(), queue.On[*corev1.Namespace]{
		// A namespace can have pods before it is seen here: at the start of the
		// process, when the watch was broken, and when another replica is ahead. A
		// change may have been missed then.
		Added: c.enqueue,
		Changed: func(old, namespace *corev1.Namespace) {
			if !maps.Equal(old.Labels, namespace.Labels) {
				c.enqueue(namespace)
			}
		},
	})
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	return c.loop.Run(ctx, 1, c.informers)
}

// enqueue asks for a look at the pods that are there, and for another one at those
// that are on their way.
func (c *Controller) enqueue(namespace *corev1.Namespace) {
	c.loop.Add(namespace.Name)
	c.loop.AddAfter(namespace.Name, settle)
}

// reconcile brings the pods of one virtual namespace in step with its labels.
func (c *Controller) reconcile(ctx context.Context, name string) (time.Duration, error) {
	namespace, err := c.namespaces.Get(name)
	if apierrors.IsNotFound(err) {
		return 0, nil // its pods go with it
	}
	if err != nil {
		return 0, err
	}
	patching, ctx := errgroup.WithContext(ctx)
	patching.SetLimit(parallel)
	list := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return c.pods.List(ctx, o) })
	err = list.EachListItem(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(c.translator.NamespaceSelector(name)).String()}, func(obj runtime.Object) error {
		pod, ok := obj.(*metav1.PartialObjectMetadata)
		if !ok {
			return nil
		}
		if changes := c.translator.NamespaceLabelChanges(pod.Labels, namespace.Labels); len(changes) > 0 {
			patching.Go(func() error { return c.patch(ctx, pod, changes) })
		}
		return nil
	})
	if patchErr := patching.Wait(); patchErr != nil {
		return 0, patchErr
	}
	if err != nil {
		return 0, fmt.Errorf("list the host pods of namespace %s: %w", name, err)
	}
	return 0, nil
}

func (c *Controller) patch(ctx context.Context, pod *metav1.PartialObjectMetadata, changes map[string]any) error {
	if err := c.rate.Wait(ctx); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID, "labels": changes}})
	if err != nil {
		return err
	}
	_, err = c.pods.Patch(ctx, pod.Name, types.MergePatchType, body, metav1.PatchOptions{})
	// A pod of this name that is another by now was created with the new
	// labels, or is looked at again.
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		klog.FromContext(ctx).V(4).Info("Refreshed namespace labels", "hostObject", klog.KRef(pod.Namespace, pod.Name), "err", err)
		return nil
	}
	return fmt.Errorf("refresh the namespace labels of host pod %s: %w", pod.Name, err)
}
