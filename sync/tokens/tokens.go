// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/podsecret"
	"portico.dev/portico/sync/internal/queue"
)

// workers bounds the pods whose tokens are written at the same time: one call to each API server per token, and a pod
// waits for its tokens before it starts.
const workers = 16

// Config is what the manager needs.
type Config struct {
	Translator *rewrite.Translator
	// Virtual mints the tokens; it must have the right to create serviceaccounts/token.
	Virtual kubernetes.Interface
	// Informers are of the virtual side.
	Informers informers.SharedInformerFactory
	// Host writes the Secrets, in the cluster's host namespace.
	Host kubernetes.Interface
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Manager writes and renews the token Secrets of pods.
type Manager struct {
	namespace string
	virtual   kubernetes.Interface
	clock     clock.WithTicker

	keeper    podsecret.Keeper
	informers informers.SharedInformerFactory
	view      informers.SharedInformerFactory
	pods      corelisters.PodLister
	secrets   corelisters.SecretLister
	synced    []cache.InformerSynced
	queue     *queue.Queue[types.NamespacedName]
	written   sync.Map // types.NamespacedName of a pod -> written
}

// written is what this process last wrote for a pod.
type written struct {
	uid     types.UID
	renewAt time.Time
}

// New returns a manager. It registers with the informers, so it must be called before they are relied on.
func New(cfg Config) (*Manager, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	keeper := podsecret.Keeper{
		Translator: cfg.Translator, Host: cfg.Host, Purpose: hostview.Token, Name: cfg.Translator.TokenSecretName,
	}
	view, err := keeper.View()
	if err != nil {
		return nil, err
	}
	pods, secrets := cfg.Informers.Core().V1().Pods(), view.Core().V1().Secrets()
	m := &Manager{
		namespace: cfg.Translator.Cluster().HostNamespace, virtual: cfg.Virtual, clock: cfg.Clock, keeper: keeper,
		informers: cfg.Informers, view: view, pods: pods.Lister(), secrets: secrets.Lister(),
	}
	m.queue = queue.New("tokens", cfg.Clock, m.reconcile)

	podEvents, err := pods.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: m.enqueuePod,
		UpdateFunc: func(old, obj any) {
			if !placed(old) && placed(obj) {
				m.enqueuePod(obj)
			}
		},
		DeleteFunc: m.enqueuePod,
	})
	if err != nil {
		return nil, fmt.Errorf("listen to pods: %w", err)
	}
	// A Secret that somebody deletes on the host, or gives to another owner, comes back.
	secretEvents, err := secrets.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(_, obj any) { m.enqueueSecret(obj) },
		DeleteFunc: m.secretDeleted,
	})
	if err != nil {
		return nil, fmt.Errorf("listen to token secrets: %w", err)
	}
	m.synced = []cache.InformerSynced{podEvents.HasSynced, secretEvents.HasSynced}
	return m, nil
}

// Run works until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	m.informers.Start(ctx.Done())
	m.view.Start(ctx.Done())
	defer m.view.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), m.synced...) {
		return nil // ctx ended first
	}
	m.queue.Run(ctx, workers)
	return nil
}

func (m *Manager) enqueuePod(obj any) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	if pod, ok := obj.(*corev1.Pod); ok && len(rewrite.TokenProjections(pod)) > 0 {
		m.queue.Add(types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name})
	}
}

func (m *Manager) enqueueSecret(obj any) {
	if key, ok := m.keeper.KeyOf(obj); ok {
		m.queue.Add(key)
	}
}

func (m *Manager) secretDeleted(obj any) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	key, ok := m.keeper.KeyOf(obj)
	if !ok {
		return
	}
	// The Secret of an earlier pod of this name goes after the new one was written, which is no reason to write it again.
	if last, ok := m.written.Load(key); ok && podsecret.OwnedBy(obj.(*corev1.Secret), last.(written).uid) {
		m.written.Delete(key)
	}
	m.queue.Add(key)
}

// reconcile writes the Secret of one pod if it is due, and says when it will be.
func (m *Manager) reconcile(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	pod, err := m.pods.Pods(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		m.written.Delete(key)
		return 0, nil // the host's garbage collector removes the Secret
	}
	if err != nil {
		return 0, err
	}
	projections := rewrite.TokenProjections(pod)
	if len(projections) == 0 || finished(pod) {
		m.written.Delete(key)
		return 0, nil
	}
	if !placed(pod) {
		return 0, nil // the update that places it comes here again
	}
	now := m.clock.Now()
	if at := m.renewAt(key, pod, projections); now.Before(at) {
		return at.Sub(now), nil
	}

	tokens, err := mint(ctx, m.virtual, pod, projections, now)
	if err != nil {
		return 0, m.unlessGone(err, pod)
	}
	// Noted before it is so: if somebody deletes the Secret right after, that event must find the note to remove.
	m.written.Store(key, written{uid: pod.UID, renewAt: tokens.renewAt})
	if err := m.keeper.Write(ctx, pod, tokens.data, tokens.renewAt); err != nil {
		m.written.Delete(key)
		return 0, m.unlessGone(err, pod)
	}
	klog.FromContext(ctx).V(4).Info("Wrote token secret", "virtualObject", klog.KObj(pod), "renewAt", tokens.renewAt)
	return tokens.renewAt.Sub(now), nil
}

// renewAt says when the pod's tokens are due: from what was written here, because the view may be behind, or from what
// the view has, which is what an earlier process wrote.
func (m *Manager) renewAt(key types.NamespacedName, pod *corev1.Pod, projections []rewrite.TokenProjection) time.Time {
	if last, ok := m.written.Load(key); ok && last.(written).uid == pod.UID {
		return last.(written).renewAt
	}
	secret, err := m.secrets.Secrets(m.namespace).Get(m.keeper.Name(key.Namespace, key.Name))
	if err != nil {
		return time.Time{}
	}
	keys := make([]string, 0, len(projections))
	for _, p := range projections {
		keys = append(keys, p.Key)
	}
	return m.keeper.Due(secret, pod, keys)
}

// placed reports whether a pod is on a node. Its tokens name the node too (KEP-4193), and nobody reads them before.
func placed(obj any) bool {
	pod, ok := obj.(*corev1.Pod)
	return ok && pod.Spec.NodeName != ""
}

// finished reports whether no container of the pod will start again, so that a new token would be of no use.
func finished(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// unlessGone forgets the error about a pod that went away meanwhile: its absence explains every error.
func (m *Manager) unlessGone(err error, pod *corev1.Pod) error {
	current, lookup := m.pods.Pods(pod.Namespace).Get(pod.Name)
	if apierrors.IsNotFound(lookup) || (lookup == nil && (current.UID != pod.UID || finished(current))) {
		return nil
	}
	return err
}
