// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mapservices

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"portico.dev/portico/sync/internal/mirror"
	"portico.dev/portico/sync/internal/queue"
)

// fromHost shows one host Service. It has informers of its own, which see that
// Service and its slices and nothing else of the host namespace, and a loop of
// its own, which begins when these are filled.
type fromHost struct {
	cfg     *Config
	mapping FromHost

	hostServices, hostSlices informers.SharedInformerFactory

	host    corelisters.ServiceNamespaceLister
	leading discoverylisters.EndpointSliceNamespaceLister // slices of the host Service

	namespaces corelisters.NamespaceLister
	virtual    corelisters.ServiceNamespaceLister
	slices     discoverylisters.EndpointSliceNamespaceLister

	service mirror.Kind[*corev1.Service]
	slice   mirror.Kind[*discoveryv1.EndpointSlice]
	report  *report
	loop    *queue.Loop[struct{}] // its one key is the mapping
}

func newFromHost(cfg *Config, mapping FromHost) (*fromHost, error) {
	byName := fields.OneTermEqualSelector(metav1.ObjectNameField, mapping.Host.Name).String()
	ofService := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: mapping.Host.Name}).String()
	view := func(tweak func(*metav1.ListOptions)) informers.SharedInformerFactory {
		return informers.NewSharedInformerFactoryWithOptions(cfg.Host, 0,
			informers.WithNamespace(mapping.Host.Namespace), informers.WithTweakListOptions(tweak))
	}
	namespace := mapping.Virtual.Namespace
	core, discovery := cfg.Informers.Core().V1(), cfg.Informers.Discovery().V1()
	m := &fromHost{
		cfg: cfg, mapping: mapping,
		hostServices: view(func(o *metav1.ListOptions) { o.FieldSelector = byName }),
		hostSlices:   view(func(o *metav1.ListOptions) { o.LabelSelector = ofService }),
		namespaces:   core.Namespaces().Lister(),
		virtual:      core.Services().Lister().Services(namespace),
		slices:       discovery.EndpointSlices().Lister().EndpointSlices(namespace),
		service: mirror.Kind[*corev1.Service]{
			Noun: "mapped Service", Client: cfg.Virtual.CoreV1().Services(namespace),
			Mirrored: shows, Fixed: otherService, Next: nextService,
		},
		slice: mirror.Kind[*discoveryv1.EndpointSlice]{
			Noun: "slice of a mapped Service", Client: cfg.Virtual.DiscoveryV1().EndpointSlices(namespace),
			Mirrored: showsSlice, Fixed: otherSlice, Next: nextSlice,
		},
	}
	m.host = m.hostServices.Core().V1().Services().Lister().Services(mapping.Host.Namespace)
	m.leading = m.hostSlices.Discovery().V1().EndpointSlices().Lister().EndpointSlices(mapping.Host.Namespace)
	m.report = &report{
		clock: cfg.Clock, announce: m.announce,
		which: []any{"hostObject", klog.KRef(mapping.Host.Namespace, mapping.Host.Name), "virtualObject", klog.KRef(namespace, mapping.Virtual.Name)},
	}
	m.loop = queue.NewLoop("mapservices", cfg.Clock, m.reconcile)
	return m, m.listen()
}

func (m *fromHost) listen() error {
	core, discovery := m.cfg.Informers.Core().V1(), m.cfg.Informers.Discovery().V1()
	services, slices := m.hostServices.Core().V1().Services().Informer(), m.hostSlices.Discovery().V1().EndpointSlices().Informer()
	return errors.Join(
		services.SetWatchErrorHandlerWithContext(m.unwatched),
		slices.SetWatchErrorHandlerWithContext(m.unwatched),
		queue.Listen(m.loop, "host service", services, queue.Each(func(*corev1.Service) { m.look() })),
		queue.Listen(m.loop, "host endpoint slices", slices, queue.Each(func(*discoveryv1.EndpointSlice) { m.look() })),
		queue.Listen(m.loop, "services", core.Services().Informer(), queue.Each(func(s *corev1.Service) {
			if s.Namespace == m.mapping.Virtual.Namespace && s.Name == m.mapping.Virtual.Name {
				m.look()
			}
		})),
		queue.Listen(m.loop, "endpoint slices", discovery.EndpointSlices().Informer(), queue.Each(func(s *discoveryv1.EndpointSlice) {
			if s.Namespace == m.mapping.Virtual.Namespace && s.Labels[discoveryv1.LabelServiceName] == m.mapping.Virtual.Name {
				m.look()
			}
		})),
		queue.Listen(m.loop, "namespaces", core.Namespaces().Informer(), queue.Each(func(n *corev1.Namespace) {
			if n.Name == m.mapping.Virtual.Namespace {
				m.look()
			}
		})),
	)
}

func (m *fromHost) look() { m.loop.Add(struct{}{}) }

func (m *fromHost) run(ctx context.Context) {
	m.look() // also if the host has no such Service
	_ = m.loop.Run(ctx, 1, m.cfg.Informers, m.hostServices, m.hostSlices)
}

// unwatched is called when the host's part cannot be listed or watched. It is
// tried again, with growing delay.
func (m *fromHost) unwatched(ctx context.Context, r *cache.Reflector, err error) {
	if apierrors.IsForbidden(err) {
		m.report.say(ctx, forbidden)
	}
	cache.DefaultWatchErrorHandler(ctx, r, err)
}

// These texts are for tenants. The names of the host are in the log.
var (
	forbidden = trouble{reasonForbidden, "The operator of this cluster has mapped a Service of the host to this name, and porticod has no right to read that one. " +
		"Ask them to grant the rights that porticod rights prints"}
	missing = trouble{reasonMissing, "The operator of this cluster has mapped a Service of the host to this name, which does not exist there. " +
		"This Service appears when that one does"}
	taken = trouble{reasonTaken, "The operator of this cluster has mapped a Service of the host to this name, which another Service has here. " +
		"Delete that one to get the Service of the host"}
	ownDomain = trouble{reasonExternal, "The mapped Service of the host is another name for one in the domain of this cluster, which means something else here. " +
		"Ask the operator to map the Service itself"}
)

// announce makes the Event about the Service that should be there, once its
// namespace is.
func (m *fromHost) announce(t trouble) bool {
	at := m.mapping.Virtual
	if _, err := m.namespaces.Get(at.Namespace); err != nil {
		return false
	}
	about := &corev1.ObjectReference{APIVersion: corev1.SchemeGroupVersion.String(), Kind: "Service", Namespace: at.Namespace, Name: at.Name}
	if s, err := m.virtual.Get(at.Name); err == nil {
		about.UID = s.UID
	}
	m.cfg.VirtualEvents.Event(about, corev1.EventTypeWarning, t.reason, t.message)
	return true
}

// reconcile brings the virtual Service and its slices in step.
func (m *fromHost) reconcile(ctx context.Context, _ struct{}) (time.Duration, error) {
	want, why, err := m.wanted()
	if err != nil {
		return 0, err
	}
	shown, err := m.virtual.Get(m.mapping.Virtual.Name)
	if apierrors.IsNotFound(err) {
		shown, err = nil, nil
	}
	if err != nil {
		return 0, err
	}
	if want != nil && shown != nil && !shows(shown) {
		return m.report.say(ctx, taken), nil
	}
	if want != nil && shown == nil {
		err = m.ensureNamespace(ctx)
	}
	if err == nil {
		err = m.service.Show(ctx, shown, want)
	}
	if err == nil {
		err = m.showSlices(ctx, shown, want)
	}
	if err != nil {
		return 0, err
	}
	return m.report.say(ctx, why), nil
}

// wanted returns the virtual Service that is to be shown, or why none is.
func (m *fromHost) wanted() (*corev1.Service, trouble, error) {
	host, err := m.host.Get(m.mapping.Host.Name)
	switch {
	case apierrors.IsNotFound(err):
		return nil, missing, nil
	case err != nil:
		return nil, trouble{}, err
	case host.DeletionTimestamp != nil:
		return nil, missing, nil
	case isExternal(host) && within(host.Spec.ExternalName, m.cfg.Translator.Cluster().ClusterDomain):
		return nil, ownDomain, nil
	}
	return virtualService(host, m.mapping.Virtual), trouble{}, nil
}

// ensureNamespace makes the namespace of the mapping if there is none.
func (m *fromHost) ensureNamespace(ctx context.Context) error {
	name := m.mapping.Virtual.Namespace
	if _, err := m.namespaces.Get(name); !apierrors.IsNotFound(err) {
		return err
	}
	_, err := m.cfg.Virtual.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %q of a mapped Service: %w", name, err)
	}
	return nil
}

// showSlices brings the slices in step. A Service that was made a moment ago is
// seen soon, and brings its slices here then.
func (m *fromHost) showSlices(ctx context.Context, shown, want *corev1.Service) error {
	wanted, err := m.wantedSlices(shown, want)
	if err != nil {
		return err
	}
	ours := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: m.mapping.Virtual.Name, discoveryv1.LabelManagedBy: ManagedBy})
	all, err := m.slices.List(ours)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range all {
		errs = append(errs, m.slice.Show(ctx, s, wanted[s.Name]))
		delete(wanted, s.Name)
	}
	for _, w := range wanted {
		errs = append(errs, m.slice.Show(ctx, nil, w))
	}
	return errors.Join(errs...)
}

func (m *fromHost) wantedSlices(shown, want *corev1.Service) (map[string]*discoveryv1.EndpointSlice, error) {
	if want == nil || shown == nil || shown.DeletionTimestamp != nil || isExternal(want) || otherService(shown, want) {
		return nil, nil
	}
	all, err := m.leading.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	wanted := make(map[string]*discoveryv1.EndpointSlice, len(all))
	for _, s := range all {
		if s.DeletionTimestamp == nil && s.Labels[discoveryv1.LabelServiceName] == m.mapping.Host.Name {
			v := virtualSlice(s, shown)
			wanted[v.Name] = v
		}
	}
	return wanted, nil
}
