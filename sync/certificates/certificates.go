// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	certificateslisters "k8s.io/client-go/listers/certificates/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/podsecret"
	"portico.dev/portico/sync/internal/queue"
)

const (
	// workers bounds the pods that are handled at the same time. A key of 4096 bits takes a second.
	workers = 4
	// giveUp is how long a request may be missing from the cache before it counts as deleted, as in the kubelet.
	giveUp = 10 * time.Minute
	// spread keeps pods that started together from renewing together, as in the kubelet.
	spread = 5 * time.Minute
)

// Config is what the manager needs.
type Config struct {
	Translator *rewrite.Translator
	// Virtual sends the requests.
	Virtual kubernetes.Interface
	// Informers are of the virtual side.
	Informers informers.SharedInformerFactory
	// Host writes the Secrets, in the cluster's host namespace.
	Host kubernetes.Interface
	// Events tells the tenant of refusals.
	Events record.EventRecorder
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Manager writes and renews the certificate Secrets of pods.
type Manager struct {
	namespace string
	virtual   kubernetes.Interface
	events    record.EventRecorder
	clock     clock.WithTicker

	keeper    podsecret.Keeper
	informers informers.SharedInformerFactory
	view      informers.SharedInformerFactory
	pods      corelisters.PodLister
	nodes     corelisters.NodeLister
	accounts  corelisters.ServiceAccountLister
	requests  certificateslisters.PodCertificateRequestLister
	secrets   corelisters.SecretLister
	synced    []cache.InformerSynced
	queue     *queue.Queue[types.NamespacedName]
	states    sync.Map // types.NamespacedName of a pod -> *state; the queue has one worker at a pod
}

// state is what this process knows about a pod's certificates.
type state struct {
	uid     types.UID
	sent    map[string]*request // by key of the projection
	refused bool
	renewAt time.Time // zero until the Secret was written
}

// New returns a manager. It registers with the informers, so it must be called before they are relied on.
func New(cfg Config) (*Manager, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	keeper := podsecret.Keeper{
		Translator: cfg.Translator, Host: cfg.Host, Purpose: hostview.Certificate, Name: cfg.Translator.CertificateSecretName,
	}
	view, err := keeper.View()
	if err != nil {
		return nil, err
	}
	core := cfg.Informers.Core().V1()
	requests, secrets := cfg.Informers.Certificates().V1().PodCertificateRequests(), view.Core().V1().Secrets()
	m := &Manager{
		namespace: cfg.Translator.Cluster().HostNamespace, virtual: cfg.Virtual, events: cfg.Events, clock: cfg.Clock,
		keeper: keeper, informers: cfg.Informers, view: view,
		pods: core.Pods().Lister(), nodes: core.Nodes().Lister(), accounts: core.ServiceAccounts().Lister(),
		requests: requests.Lister(), secrets: secrets.Lister(),
		synced: []cache.InformerSynced{core.Nodes().Informer().HasSynced, core.ServiceAccounts().Informer().HasSynced},
	}
	m.queue = queue.New("certificates", cfg.Clock, m.reconcile)
	for informer, enqueue := range map[cache.SharedIndexInformer]func(any){
		core.Pods().Informer(): m.enqueuePod,
		requests.Informer():    m.enqueueRequest,
		secrets.Informer():     m.enqueueSecret,
	} {
		registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: enqueue, UpdateFunc: func(_, obj any) { enqueue(obj) },
			DeleteFunc: func(obj any) {
				if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
					obj = gone.Obj
				}
				m.forget(obj)
				enqueue(obj)
			},
		})
		if err != nil {
			return nil, fmt.Errorf("listen for certificates: %w", err)
		}
		m.synced = append(m.synced, registration.HasSynced)
	}
	return m, nil
}

func (m *Manager) enqueuePod(obj any) {
	if pod, ok := obj.(*corev1.Pod); ok && len(rewrite.CertificateProjections(pod)) > 0 {
		m.queue.Add(types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name})
	}
}

func (m *Manager) enqueueRequest(obj any) {
	if r, ok := obj.(*certificatesv1.PodCertificateRequest); ok {
		m.queue.Add(types.NamespacedName{Namespace: r.Namespace, Name: r.Spec.PodName})
	}
}

func (m *Manager) enqueueSecret(obj any) {
	if key, ok := m.keeper.KeyOf(obj); ok {
		m.queue.Add(key)
	}
}

// forget makes that a Secret which somebody deletes on the host comes back.
func (m *Manager) forget(obj any) {
	key, ok := m.keeper.KeyOf(obj)
	if !ok {
		return
	}
	if s, ok := m.states.Load(key); ok && podsecret.OwnedBy(obj.(*corev1.Secret), s.(*state).uid) {
		m.states.Delete(key)
	}
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

// reconcile brings the certificates of one pod forward, and says when they are due again.
func (m *Manager) reconcile(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	pod, err := m.pods.Pods(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		m.states.Delete(key)
		return 0, nil // the host's garbage collector removes the Secret
	}
	if err != nil {
		return 0, err
	}
	projections := rewrite.CertificateProjections(pod)
	if len(projections) == 0 || pod.Spec.NodeName == "" || finished(pod) {
		return 0, nil
	}
	s := m.state(key, pod)
	now := m.clock.Now()
	if at := m.renewAt(s, pod, projections); now.Before(at) {
		return at.Sub(now), nil
	}
	if s.refused {
		return 0, nil
	}
	data, renewAt, err := m.collect(ctx, s, pod, projections)
	if err != nil || data == nil {
		return 0, err
	}
	if err := m.keeper.Write(ctx, pod, data, renewAt); err != nil {
		return 0, err
	}
	s.sent, s.renewAt = nil, renewAt
	klog.FromContext(ctx).V(4).Info("Wrote certificate secret", "virtualObject", klog.KObj(pod), "renewAt", renewAt)
	return renewAt.Sub(now), nil
}

// collect asks for what was not asked for, and returns the data of the Secret once every request is answered.
func (m *Manager) collect(ctx context.Context, s *state, pod *corev1.Pod, projections []rewrite.CertificateProjection) (map[string][]byte, time.Time, error) {
	data := map[string][]byte{}
	var renewAt time.Time
	complete := true
	for _, p := range projections {
		answer, err := m.answer(ctx, s, pod, p)
		if err != nil {
			return nil, renewAt, err
		}
		if answer == nil {
			complete = false
			continue
		}
		fill(data, p, s.sent[p.Key].key, answer.Status.CertificateChain)
		if at := answer.Status.BeginRefreshAt; at != nil && (renewAt.IsZero() || at.Time.Before(renewAt)) {
			renewAt = at.Time
		}
	}
	if !complete {
		return nil, renewAt, nil
	}
	return data, renewAt.Add(rand.N(spread)), nil //nolint:gosec // spreads load, hides nothing
}

// answer returns the request for one certificate if it has been issued.
func (m *Manager) answer(ctx context.Context, s *state, pod *corev1.Pod, p rewrite.CertificateProjection) (*certificatesv1.PodCertificateRequest, error) {
	sent := s.sent[p.Key]
	if sent == nil {
		sent, err := m.ask(ctx, pod, p)
		if err == nil {
			s.sent[p.Key] = sent
		}
		return nil, err
	}
	r, err := m.requests.PodCertificateRequests(pod.Namespace).Get(sent.name)
	if apierrors.IsNotFound(err) {
		if m.clock.Since(sent.sent) > giveUp {
			delete(s.sent, p.Key)
		}
		return nil, fmt.Errorf("request %s is not there: %w", sent.name, err)
	}
	if err != nil {
		return nil, err
	}
	switch verdict, said := judge(r); verdict {
	case issued:
		return r, nil
	case refused:
		s.refused = true
		m.events.Eventf(pod, corev1.EventTypeWarning, said.Type, "PodCertificateRequest %s of signer %s: %s: %s", r.Name, p.SignerName, said.Reason, said.Message)
	case pending:
	}
	return nil, nil
}

// state returns what is known about a pod, and forgets what was about an earlier one of its name.
func (m *Manager) state(key types.NamespacedName, pod *corev1.Pod) *state {
	if known, ok := m.states.Load(key); ok && known.(*state).uid == pod.UID {
		s := known.(*state)
		if s.sent == nil {
			s.sent = map[string]*request{}
		}
		return s
	}
	s := &state{uid: pod.UID, sent: map[string]*request{}}
	m.states.Store(key, s)
	return s
}

// renewAt says when a pod's certificates are due: from what was written here, because the view may be behind, or from
// what the view has, which is what an earlier process wrote.
func (m *Manager) renewAt(s *state, pod *corev1.Pod, projections []rewrite.CertificateProjection) time.Time {
	if !s.renewAt.IsZero() {
		return s.renewAt
	}
	secret, err := m.secrets.Secrets(m.namespace).Get(m.keeper.Name(pod.Namespace, pod.Name))
	if err != nil {
		return time.Time{}
	}
	return m.keeper.Due(secret, pod, dataKeys(projections))
}

// finished reports whether no container of the pod will start again.
func finished(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
