// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"errors"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/podsecret"
	"portico.dev/portico/sync/internal/queue"
)

// workers bounds the pods whose tokens are written at the same time: one call
// to each API server per token, and a pod waits for its tokens before it
// starts.
const workers = 16

// Config says where tokens come from, and where they are written.
type Config struct {
	Translator *rewrite.Translator
	// Virtual mints the tokens; it must have the right to create
	// serviceaccounts/token.
	Virtual kubernetes.Interface
	// Informers are of the virtual side.
	Informers informers.SharedInformerFactory
	// Host writes the Secrets, in the cluster's host namespace.
	Host kubernetes.Interface
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Controller writes and renews the token Secrets of pods.
type Controller struct {
	virtual kubernetes.Interface
	clock   clock.WithTicker

	writer    podsecret.Writer
	informers informers.SharedInformerFactory
	view      informers.SharedInformerFactory
	pods      corelisters.PodLister
	loop      *queue.Loop[types.NamespacedName] // over pods
	written   sync.Map                          // types.NamespacedName of a pod -> written
}

// written is the record of this process's last write for a pod.
type written struct {
	uid     types.UID
	renewAt time.Time
}

// New returns a controller. It registers with the informers, so it must be
// called before they are relied on.
func New(cfg Config) (*Controller, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	writer := podsecret.Writer{
		Translator: cfg.Translator, Host: cfg.Host, Purpose: hostview.Token, Name: cfg.Translator.TokenSecretName, Former: cfg.Translator.FormerTokenSecretName,
		Since: cfg.Clock.Now(),
	}
	view, err := writer.View()
	if err != nil {
		return nil, err
	}
	pods, secrets := cfg.Informers.Core().V1().Pods(), view.Core().V1().Secrets()
	writer.Secrets = secrets.Lister()
	c := &Controller{
		virtual: cfg.Virtual, clock: cfg.Clock, writer: writer,
		informers: cfg.Informers, view: view, pods: pods.Lister(),
	}
	c.loop = queue.NewLoop("tokens", cfg.Clock, c.reconcile)
	return c, errors.Join(
		queue.Listen(c.loop, "pods", pods.Informer(), queue.On[*corev1.Pod]{
			Added: c.enqueuePod,
			Changed: func(old, pod *corev1.Pod) {
				if !placed(old) && placed(pod) {
					c.enqueuePod(pod)
				}
			},
			Deleted: c.enqueuePod,
		}),
		// A Secret that is deleted on the host, or given to another owner, is
		// written again.
		queue.Listen(c.loop, "token secrets", secrets.Informer(), queue.On[*corev1.Secret]{
			Changed: func(_, secret *corev1.Secret) { c.enqueueSecret(secret) },
			Deleted: c.secretDeleted,
		}),
	)
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	return c.loop.Run(ctx, workers, c.informers, c.view)
}

func (c *Controller) enqueuePod(pod *corev1.Pod) {
	if len(rewrite.TokenProjections(pod)) > 0 {
		c.loop.Add(types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name})
	}
}

func (c *Controller) enqueueSecret(secret *corev1.Secret) {
	if key, ok := c.writer.KeyOf(secret); ok {
		c.loop.Add(key)
	}
}

func (c *Controller) secretDeleted(secret *corev1.Secret) {
	key, ok := c.writer.KeyOf(secret)
	if !ok {
		return
	}
	// The Secret of an earlier pod of this name goes after the new one was
	// written, which is no reason to write it again.
	if last, ok := c.written.Load(key); ok && podsecret.OwnedBy(secret, last.(written).uid) {
		c.written.Delete(key)
	}
	c.loop.Add(key)
}

// reconcile writes the Secret of one pod if it is due, and says when it will be.
func (c *Controller) reconcile(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	pod, err := c.pods.Pods(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		c.written.Delete(key)
		return 0, nil // the host's garbage collector removes the Secret
	}
	if err != nil {
		return 0, err
	}
	projections := rewrite.TokenProjections(pod)
	if len(projections) == 0 || podsecret.Finished(pod) {
		c.written.Delete(key)
		return 0, nil
	}
	if !placed(pod) {
		return 0, nil // the update that places it comes here again
	}
	now := c.clock.Now()
	if at := c.renewAt(key, pod, projections); now.Before(at) {
		return at.Sub(now), nil
	}

	tokens, err := mint(ctx, c.virtual, pod, projections, now)
	if err != nil {
		return 0, c.unlessGone(err, pod)
	}
	// Recorded before the write: if the Secret is deleted right after it, the
	// delete event must find the record and drop it.
	c.written.Store(key, written{uid: pod.UID, renewAt: tokens.renewAt})
	if err := c.writer.Write(ctx, pod, tokens.data, tokens.renewAt); err != nil {
		c.written.Delete(key)
		return 0, c.unlessGone(err, pod)
	}
	klog.FromContext(ctx).V(4).Info("Wrote token secret", "virtualObject", klog.KObj(pod), "renewAt", tokens.renewAt)
	return tokens.renewAt.Sub(now), nil
}

// renewAt says when the pod's tokens are due: by the record of this process,
// because the view may be behind, or by the view's Secret, which an earlier
// process wrote.
func (c *Controller) renewAt(key types.NamespacedName, pod *corev1.Pod, projections []rewrite.TokenProjection) time.Time {
	if last, ok := c.written.Load(key); ok && last.(written).uid == pod.UID {
		return last.(written).renewAt
	}
	secret := c.writer.Seen(pod)
	if secret == nil {
		return time.Time{}
	}
	keys := make([]string, 0, len(projections))
	for _, p := range projections {
		keys = append(keys, p.Key)
	}
	return c.writer.Due(secret, pod, keys)
}

// Due returns when the first tokens of a pod are due, which is the zero time for
// those that a pod waits for. False means that no pod has any.
func (c *Controller) Due() (first time.Time, some bool) {
	pods, err := c.pods.List(labels.Everything())
	if err != nil {
		return time.Time{}, true // as if it were now
	}
	for _, pod := range pods {
		projections := rewrite.TokenProjections(pod)
		if len(projections) == 0 || podsecret.Finished(pod) || !placed(pod) {
			continue
		}
		at := c.renewAt(types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}, pod, projections)
		if !some || at.Before(first) {
			first, some = at, true
		}
	}
	return first, some
}

// placed reports whether a pod is on a node. Its tokens name the node too
// (KEP-4193), and no container reads them before.
func placed(pod *corev1.Pod) bool { return pod.Spec.NodeName != "" }

// unlessGone drops the error about a pod that went away meanwhile: its absence
// explains every error.
func (c *Controller) unlessGone(err error, pod *corev1.Pod) error {
	current, lookup := c.pods.Pods(pod.Namespace).Get(pod.Name)
	if apierrors.IsNotFound(lookup) || (lookup == nil && (current.UID != pod.UID || podsecret.Finished(current))) {
		return nil
	}
	return err
}
