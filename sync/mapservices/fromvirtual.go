// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mapservices

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/queue"
)

// foreignRetry is how soon a name that another object has is asked for again.
// No event says when it is free: porticod sees only the cluster's objects.
const foreignRetry = 30 * time.Second

// fromVirtual offers virtual Services on the host. It looks at the host only:
// translated Services are there, in the words that the host's controllers read.
type fromVirtual struct {
	cfg *Config

	// translated has the Services of the virtual namespaces that are named,
	// offered those that are made here.
	translated, offered informers.SharedInformerFactory

	services corelisters.ServiceNamespaceLister
	copies   copies.Kind[*corev1.Service]
	reports  map[string]*report
	loop     *queue.Loop[string] // over the names of host Services
}

func newFromVirtual(cfg *Config) (*fromVirtual, error) {
	namespaces := map[string]bool{}
	for _, m := range cfg.FromVirtual {
		namespaces[m.Virtual.Namespace] = true
	}
	named, err := labels.NewRequirement(rewrite.LabelNamespace, selection.In, keys(namespaces))
	if err != nil {
		return nil, err
	}
	host := cfg.Translator.Cluster().HostNamespace
	m := &fromVirtual{
		cfg: cfg, reports: map[string]*report{},
		translated: hostview.NewFactory(cfg.Host, host, cfg.Translator.ScopeSelector().Add(*named)),
	}
	if m.offered, err = hostview.NewComposedFactory(cfg.Host, cfg.Translator, hostview.MappedService); err != nil {
		return nil, err
	}
	translated, made := m.translated.Core().V1().Services(), m.offered.Core().V1().Services()
	m.services, m.copies = translated.Lister().Services(host), offered(cfg, made.Lister().Services(host).Get)
	for _, mapping := range cfg.FromVirtual {
		m.reports[mapping.Host] = m.reportOf(mapping)
	}
	m.loop = queue.NewLoop("mapservices", cfg.Clock, m.reconcile)
	return m, errors.Join(
		queue.Listen(m.loop, "translated services", translated.Informer(), queue.Each(m.lookFor)),
		queue.Listen(m.loop, "mapped services", made.Informer(), queue.Each(func(s *corev1.Service) { m.loop.Add(s.Name) })),
	)
}

func keys(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	return out
}

// lookFor asks for the host Service as which a translated one is offered.
func (m *fromVirtual) lookFor(translated *corev1.Service) {
	namespace, name, err := m.cfg.Translator.Identify("Service", translated)
	if err != nil {
		return
	}
	for _, mapping := range m.cfg.FromVirtual {
		if mapping.Virtual == (types.NamespacedName{Namespace: namespace, Name: name}) {
			m.loop.Add(mapping.Host)
		}
	}
}

func (m *fromVirtual) run(ctx context.Context) {
	for _, mapping := range m.cfg.FromVirtual {
		m.loop.Add(mapping.Host)
	}
	_ = m.loop.Run(ctx, 1, m.cfg.Informers, m.translated, m.offered)
}

// reconcile brings one host Service in step.
func (m *fromVirtual) reconcile(ctx context.Context, name string) (time.Duration, error) {
	mapping, ok := m.mapping(name)
	if !ok {
		_, err := m.copies.RemoveSeen(ctx, name)
		return 0, describe(name, err)
	}
	want, why := m.wanted(mapping)
	if want == nil {
		if _, err := m.copies.RemoveSeen(ctx, name); err != nil {
			return 0, describe(name, err)
		}
		return m.reports[name].say(ctx, why), nil
	}
	_, err := m.copies.Write(ctx, want)
	if errors.Is(err, copies.ErrForeign) {
		m.reports[name].say(ctx, m.taken(mapping))
		return foreignRetry, nil
	}
	if err != nil {
		return 0, describe(name, err)
	}
	return m.reports[name].say(ctx, why), nil
}

func (m *fromVirtual) mapping(name string) (FromVirtual, bool) {
	for _, mapping := range m.cfg.FromVirtual {
		if mapping.Host == name {
			return mapping, true
		}
	}
	return FromVirtual{}, false
}

func describe(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("mapped Service %q on the host: %w", name, err)
}

// wanted returns the host Service that is to be there, or why none is.
//
// A Service whose endpoints or whose name for them a tenant writes is not
// offered: a pod of the host that trusts the name would call any address with
// its own rights, such as a Service that a network policy opens to that pod only.
func (m *fromVirtual) wanted(mapping FromVirtual) (*corev1.Service, trouble) {
	translated, err := rewrite.Find(m.cfg.Translator, "Service", mapping.Virtual.Namespace, mapping.Virtual.Name, m.services.Get)
	switch {
	case err != nil || translated.DeletionTimestamp != nil: // a lister knows of no other error than not found
		return nil, m.trouble(reasonMissing, "The virtual cluster %s has no Service %s. This Service appears when that one does", mapping)
	case isExternal(translated):
		return nil, m.trouble(reasonExternal, "The Service %[2]s of the virtual cluster %[1]s is another name for something outside of it, which its tenant chooses. Only Services with a selector are mapped", mapping)
	case !m.selectsOwnPods(translated, mapping.Virtual.Namespace):
		return nil, m.trouble(reasonNoSelector, "The Service %[2]s of the virtual cluster %[1]s has no selector: its tenant writes the addresses that it leads to. Only Services with a selector are mapped", mapping)
	}
	return hostService(m.cfg.Translator, translated, mapping.Host), trouble{}
}

func (m *fromVirtual) taken(mapping FromVirtual) trouble {
	return m.trouble(reasonTaken, "The virtual cluster %s maps its Service %s to this name, which a Service that is not the cluster's has. It stays as it is: remove it, or map to another name", mapping)
}

func (m *fromVirtual) trouble(reason, format string, mapping FromVirtual) trouble {
	return trouble{reason, fmt.Sprintf(format, m.cfg.Translator.Cluster().Name, mapping.Virtual)}
}

// selectsOwnPods reports whether the host finds the pods of a translated
// Service, and among those of its virtual namespace only.
func (m *fromVirtual) selectsOwnPods(translated *corev1.Service, namespace string) bool {
	for k, v := range m.cfg.Translator.NamespaceSelector(namespace) {
		if translated.Spec.Selector[k] != v {
			return false
		}
	}
	return true
}

// reportOf reports one mapping, at the Service that has its name or, if there
// is none, at the cluster's anchor.
func (m *fromVirtual) reportOf(mapping FromVirtual) *report {
	cluster := m.cfg.Translator.Cluster()
	about := func(kind, name string) *corev1.ObjectReference {
		return &corev1.ObjectReference{APIVersion: corev1.SchemeGroupVersion.String(), Kind: kind, Namespace: cluster.HostNamespace, Name: name}
	}
	return &report{
		clock: m.cfg.Clock,
		which: []any{"virtualObject", klog.KRef(mapping.Virtual.Namespace, mapping.Virtual.Name), "hostObject", klog.KRef(cluster.HostNamespace, mapping.Host)},
		announce: func(t trouble) bool {
			at := about("ConfigMap", m.cfg.Translator.AnchorName())
			at.UID = m.cfg.Translator.Owner().UID
			if t.reason == reasonTaken {
				at = about("Service", mapping.Host)
			}
			m.cfg.HostEvents.Event(at, corev1.EventTypeWarning, t.reason, t.message)
			return true
		},
	}
}
