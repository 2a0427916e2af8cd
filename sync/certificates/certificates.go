// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	certificateslisters "k8s.io/client-go/listers/certificates/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/podsecret"
	"portico.dev/portico/sync/internal/queue"
)

const (
	// workers bounds the pods that are handled at the same time. A key of 4096
	// bits takes a second.
	workers = 4
	// giveUp is how long a request may be missing from the cache before it
	// counts as deleted, as in the kubelet.
	giveUp = 10 * time.Minute
	// spread keeps pods that started together from renewing together, as in the
	// kubelet.
	spread = 5 * time.Minute
)

// Config says who is asked for certificates, and where they are written.
type Config struct {
	Translator *rewrite.Translator
	// Virtual sends the requests.
	Virtual kubernetes.Interface
	// Informers are of the virtual side.
	Informers informers.SharedInformerFactory
	// Host writes the Secrets, in the cluster's host namespace.
	Host kubernetes.Interface
	// Events reports refusals to the tenant.
	Events record.EventRecorder
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Controller writes and renews the certificate Secrets of pods.
type Controller struct {
	virtual kubernetes.Interface
	events  record.EventRecorder
	clock   clock.WithTicker

	writer    podsecret.Writer
	informers informers.SharedInformerFactory
	view      informers.SharedInformerFactory
	pods      corelisters.PodLister
	nodes     corelisters.NodeLister
	accounts  corelisters.ServiceAccountLister
	requests  certificateslisters.PodCertificateRequestLister
	loop      *queue.Loop[types.NamespacedName] // over pods
	states    sync.Map                          // types.NamespacedName of a pod -> *state; the queue has one worker at a pod
}

// state is this process's knowledge of a pod's certificates.
type state struct {
	uid     types.UID
	sent    map[string]*request // by key of the projection
	refused bool
	renewAt time.Time // zero until the Secret was written
}

// New returns a controller. It registers with the informers, so it must be
// called before they are relied on.
func New(cfg Config) (*Controller, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	writer := podsecret.Writer{
		Translator: cfg.Translator, Host: cfg.Host, Purpose: hostview.Certificate, Name: cfg.Translator.CertificateSecretName, Former: cfg.Translator.FormerCertificateSecretName,
		Since: cfg.Clock.Now(),
	}
	view, err := writer.View()
	if err != nil {
		return nil, err
	}
	core := cfg.Informers.Core().V1()
	requests, secrets := cfg.Informers.Certificates().V1().PodCertificateRequests(), view.Core().V1().Secrets()
	writer.Secrets = secrets.Lister()
	c := &Controller{
		virtual: cfg.Virtual, events: cfg.Events, clock: cfg.Clock,
		writer: writer, informers: cfg.Informers, view: view,
		pods: core.Pods().Lister(), nodes: core.Nodes().Lister(), accounts: core.ServiceAccounts().Lister(),
		requests: requests.Lister(),
	}
	c.loop = queue.NewLoop("certificates", cfg.Clock, c.reconcile)
	c.loop.Await(core.Nodes().Informer().HasSynced, core.ServiceAccounts().Informer().HasSynced)
	onSecret := queue.Each(c.enqueueSecret)
	onSecret.Deleted = c.secretDeleted
	return c, errors.Join(
		queue.Listen(c.loop, "pods", core.Pods().Informer(), queue.Each(c.enqueuePod)),
		queue.Listen(c.loop, "requests", requests.Informer(), queue.Each(c.enqueueRequest)),
		queue.Listen(c.loop, "certificate secrets", secrets.Informer(), onSecret),
	)
}

// Due returns when the first certificates of a pod are due. A pod that has none
// yet waits for its signer, which may never answer: it is not due. False means
// that no pod has any.
func (c *Controller) Due() (first time.Time, some bool) {
	pods, err := c.pods.List(labels.Everything())
	if err != nil {
		return time.Time{}, true // as if it were now
	}
	for _, pod := range pods {
		projections := rewrite.CertificateProjections(pod)
		if len(projections) == 0 || podsecret.Finished(pod) {
			continue
		}
		secret := c.writer.Seen(pod)
		if secret == nil {
			continue
		}
		if at := c.writer.Due(secret, pod, dataKeys(projections)); !at.IsZero() && (!some || at.Before(first)) {
			first, some = at, true
		}
	}
	return first, some
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	return c.loop.Run(ctx, workers, c.informers, c.view)
}

func (c *Controller) enqueuePod(pod *corev1.Pod) {
	if len(rewrite.CertificateProjections(pod)) > 0 {
		c.loop.Add(types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name})
	}
}

func (c *Controller) enqueueRequest(r *certificatesv1.PodCertificateRequest) {
	c.loop.Add(types.NamespacedName{Namespace: r.Namespace, Name: r.Spec.PodName})
}

func (c *Controller) enqueueSecret(secret *corev1.Secret) {
	if key, ok := c.writer.KeyOf(secret); ok {
		c.loop.Add(key)
	}
}

// secretDeleted drops the record of a Secret that was deleted on the host, so
// that the next reconcile writes it again.
func (c *Controller) secretDeleted(secret *corev1.Secret) {
	key, ok := c.writer.KeyOf(secret)
	if !ok {
		return
	}
	if s, ok := c.states.Load(key); ok && podsecret.OwnedBy(secret, s.(*state).uid) {
		c.states.Delete(key)
	}
	c.loop.Add(key)
}

// reconcile brings the certificates of one pod forward, and says when they are
// due again.
func (c *Controller) reconcile(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	pod, err := c.pods.Pods(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		c.states.Delete(key)
		return 0, nil // the host's garbage collector removes the Secret
	}
	if err != nil {
		return 0, err
	}
	projections := rewrite.CertificateProjections(pod)
	if len(projections) == 0 || pod.Spec.NodeName == "" || podsecret.Finished(pod) {
		return 0, nil
	}
	s := c.state(key, pod)
	now := c.clock.Now()
	if at := c.renewAt(s, pod, projections); now.Before(at) {
		return at.Sub(now), nil
	}
	if s.refused {
		return 0, nil
	}
	data, renewAt, err := c.collect(ctx, s, pod, projections)
	if err != nil || data == nil {
		return 0, err
	}
	if err := c.writer.Write(ctx, pod, data, renewAt); err != nil {
		return 0, err
	}
	s.sent, s.renewAt = nil, renewAt
	klog.FromContext(ctx).V(4).Info("Wrote certificate secret", "virtualObject", klog.KObj(pod), "renewAt", renewAt)
	return renewAt.Sub(now), nil
}

// collect makes the requests that are missing, and returns the data of the
// Secret once every request is answered.
func (c *Controller) collect(ctx context.Context, s *state, pod *corev1.Pod, projections []rewrite.CertificateProjection) (map[string][]byte, time.Time, error) {
	data := map[string][]byte{}
	var renewAt time.Time
	complete := true
	for _, p := range projections {
		answer, err := c.answer(ctx, s, pod, p)
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
func (c *Controller) answer(ctx context.Context, s *state, pod *corev1.Pod, p rewrite.CertificateProjection) (*certificatesv1.PodCertificateRequest, error) {
	sent := s.sent[p.Key]
	if sent == nil {
		sent, err := c.ask(ctx, pod, p)
		if err == nil {
			s.sent[p.Key] = sent
		}
		return nil, err
	}
	r, err := c.requests.PodCertificateRequests(pod.Namespace).Get(sent.name)
	if apierrors.IsNotFound(err) {
		if c.clock.Since(sent.sent) > giveUp {
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
		c.events.Eventf(pod, corev1.EventTypeWarning, said.Type, "PodCertificateRequest %s of signer %s: %s: %s", r.Name, p.SignerName, said.Reason, said.Message)
	case pending:
	}
	return nil, nil
}

// state returns the record of a pod, and drops that of an earlier pod of its name.
func (c *Controller) state(key types.NamespacedName, pod *corev1.Pod) *state {
	if known, ok := c.states.Load(key); ok && known.(*state).uid == pod.UID {
		s := known.(*state)
		if s.sent == nil {
			s.sent = map[string]*request{}
		}
		return s
	}
	s := &state{uid: pod.UID, sent: map[string]*request{}}
	c.states.Store(key, s)
	return s
}

// renewAt says when a pod's certificates are due: by the record of this
// process, because the view may be behind, or by the view's Secret, which an
// earlier process wrote.
func (c *Controller) renewAt(s *state, pod *corev1.Pod, projections []rewrite.CertificateProjection) time.Time {
	if !s.renewAt.IsZero() {
		return s.renewAt
	}
	secret := c.writer.Seen(pod)
	if secret == nil {
		return time.Time{}
	}
	return c.writer.Due(secret, pod, dataKeys(projections))
}
