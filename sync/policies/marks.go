// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package policies

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/queue"
)

// byEgress indexes policies on the host for connections that pods open, by the
// virtual namespace of those pods.
const byEgress = "portico.dev/egress-policies-by-namespace"

// marks keeps rewrite.LabelEgressPolicy on host pods.
type marks struct {
	c      *Controller
	pods   metadata.ResourceInterface
	pushed cache.SharedIndexInformer         // of policies on the host
	loop   *queue.Loop[types.NamespacedName] // over virtual pods; without a name, all of a namespace
}

func newMarks(c *Controller, pushed cache.SharedIndexInformer) (*marks, error) {
	m := &marks{
		c: c, pushed: pushed,
		pods: c.cfg.Pods.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(c.cfg.Translator.Cluster().HostNamespace),
	}
	if err := pushed.AddIndexers(cache.Indexers{byEgress: m.indexByEgress}); err != nil {
		return nil, fmt.Errorf("index policies by namespace: %w", err)
	}
	m.loop = queue.NewLoop("egress-policy-marks", c.cfg.Clock, m.reconcile)
	return m, errors.Join(
		queue.Listen(m.loop, "pushed network policies", pushed, queue.Each(m.enqueuePods)),
		// A namespace may have lost its last policy while no process watched.
		queue.Listen(m.loop, "namespaces", c.informers.Core().V1().Namespaces().Informer(), queue.On[*corev1.Namespace]{
			Added: func(n *corev1.Namespace) { m.loop.Add(types.NamespacedName{Namespace: n.Name}) },
		}),
		queue.Listen(m.loop, "pods", c.informers.Core().V1().Pods().Informer(), queue.On[*corev1.Pod]{
			Added: m.enqueue,
			Changed: func(old, pod *corev1.Pod) {
				if old.UID != pod.UID || !maps.Equal(old.Labels, pod.Labels) {
					m.enqueue(pod)
				}
			},
		}),
	)
}

// runWith runs the loop besides that of the policies, with the view that both
// read.
func (m *marks) runWith(ctx context.Context, policies func(context.Context) error) error {
	running, ctx := errgroup.WithContext(ctx)
	running.Go(func() error { return policies(ctx) })
	running.Go(func() error { return m.loop.Run(ctx, workers, m.c.informers) })
	return running.Wait()
}

func (m *marks) enqueuePods(p *networkingv1.NetworkPolicy) {
	if namespace, _, ours := m.c.row.ToVirtual(m.c.cfg.Translator, p); ours {
		m.loop.Add(types.NamespacedName{Namespace: namespace})
	}
}

// enqueue asks for one pod, if there is a policy that could select it.
func (m *marks) enqueue(pod *corev1.Pod) {
	if keys, err := m.pushed.GetIndexer().IndexKeys(byEgress, pod.Namespace); err != nil || len(keys) > 0 {
		m.loop.Add(types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name})
	}
}

func (m *marks) reconcile(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	return 0, m.mark(ctx, key, "")
}

// indexByEgress leaves out a policy that is being deleted: it selects nothing
// any more.
func (m *marks) indexByEgress(obj any) ([]string, error) {
	p, ok := obj.(*networkingv1.NetworkPolicy)
	if !ok || p.DeletionTimestamp != nil || !slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) {
		return nil, nil
	}
	namespace, _, ours := m.c.row.ToVirtual(m.c.cfg.Translator, p)
	if !ours {
		return nil, nil
	}
	return []string{namespace}, nil
}

// selectors are those of a namespace's policies on the host for connections that
// pods open, except for the policy that is about to go.
func (m *marks) selectors(namespace, without string) ([]labels.Selector, error) {
	policies, err := m.pushed.GetIndexer().ByIndex(byEgress, namespace)
	if err != nil {
		return nil, err
	}
	var out []labels.Selector
	for _, obj := range policies {
		p, ok := obj.(*networkingv1.NetworkPolicy)
		if !ok || p.Name == without {
			continue
		}
		if s, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector); err == nil { // the host's API has taken it
			out = append(out, s)
		}
	}
	return out, nil
}

// mark brings the label of one pod, or of all of a namespace, in step with the
// policies on the host.
func (m *marks) mark(ctx context.Context, key types.NamespacedName, without string) error {
	selectors, err := m.selectors(key.Namespace, without)
	if err != nil {
		return err
	}
	each := func(pod *metav1.PartialObjectMetadata) error {
		selected := slices.ContainsFunc(selectors, func(s labels.Selector) bool { return s.Matches(labels.Set(pod.Labels)) })
		_, marked := pod.Labels[rewrite.LabelEgressPolicy]
		if selected == marked {
			return nil
		}
		return m.patch(ctx, pod, selected)
	}
	if key.Name != "" {
		return m.one(ctx, key, each)
	}
	list := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return m.pods.List(ctx, o) })
	of := metav1.ListOptions{LabelSelector: labels.SelectorFromSet(m.c.cfg.Translator.NamespaceSelector(key.Namespace)).String()}
	err = list.EachListItem(ctx, of, func(obj runtime.Object) error {
		pod, ok := obj.(*metav1.PartialObjectMetadata)
		if !ok {
			return nil
		}
		return each(pod)
	})
	if err != nil {
		return fmt.Errorf("mark the host pods of namespace %s: %w", key.Namespace, err)
	}
	return nil
}

// one does something with the host pod of a virtual pod, under whichever of its
// names it is there.
func (m *marks) one(ctx context.Context, key types.NamespacedName, do func(*metav1.PartialObjectMetadata) error) error {
	pod, err := rewrite.Find(m.c.cfg.Translator, "Pod", key.Namespace, key.Name, func(name string) (*metav1.PartialObjectMetadata, error) {
		return m.pods.Get(ctx, name, metav1.GetOptions{})
	})
	switch {
	case apierrors.IsNotFound(err), errors.Is(err, rewrite.ErrForeign):
		return nil
	case err != nil:
		return fmt.Errorf("read the host pod of %s: %w", key, err)
	}
	return do(pod)
}

func (m *marks) patch(ctx context.Context, pod *metav1.PartialObjectMetadata, selected bool) error {
	var value any
	if selected {
		value = "true"
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID, "labels": map[string]any{rewrite.LabelEgressPolicy: value}}})
	if err != nil {
		return err
	}
	_, err = m.pods.Patch(ctx, pod.Name, types.MergePatchType, body, metav1.PatchOptions{})
	// A pod of this name that is another by now has an event of its own.
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("mark host pod %s: %w", pod.Name, err)
}
