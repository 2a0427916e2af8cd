// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	certificateslisters "k8s.io/client-go/listers/certificates/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/queue"
)

// workers bounds the ConfigMaps that are written at the same time.
const workers = 4

// byQuestion is the index of virtual pods by the host name of the ConfigMaps that answer them.
const byQuestion = "portico-trust-bundle"

// Config is what the manager needs.
type Config struct {
	Translator *rewrite.Translator
	// Informers are of the virtual side.
	Informers informers.SharedInformerFactory
	// Host writes the ConfigMaps, in the cluster's host namespace.
	Host kubernetes.Interface
}

// Manager keeps the ConfigMaps.
type Manager struct {
	translator *rewrite.Translator
	host       kubernetes.Interface
	namespace  string

	informers informers.SharedInformerFactory
	view      informers.SharedInformerFactory
	pods      cache.Indexer
	bundles   certificateslisters.ClusterTrustBundleLister
	copies    corelisters.ConfigMapNamespaceLister
	synced    []cache.InformerSynced
	queue     *queue.Queue[string] // of host names
}

// New returns a manager. It registers with the informers, so it must be called before they are started.
func New(cfg Config) (*Manager, error) {
	view, err := hostview.NewComposedFactory(cfg.Host, cfg.Translator, hostview.TrustBundle)
	if err != nil {
		return nil, err
	}
	namespace := cfg.Translator.Cluster().HostNamespace
	pods, bundles := cfg.Informers.Core().V1().Pods().Informer(), cfg.Informers.Certificates().V1().ClusterTrustBundles()
	copies := view.Core().V1().ConfigMaps()
	m := &Manager{
		translator: cfg.Translator, host: cfg.Host, namespace: namespace, informers: cfg.Informers, view: view,
		pods: pods.GetIndexer(), bundles: bundles.Lister(), copies: copies.Lister().ConfigMaps(namespace),
	}
	m.queue = queue.New("trust", nil, m.reconcile)
	if err := pods.AddIndexers(cache.Indexers{byQuestion: m.names}); err != nil {
		return nil, fmt.Errorf("index pods: %w", err)
	}
	for informer, enqueue := range map[cache.SharedIndexInformer]func(any){
		pods:               m.enqueuePod,
		bundles.Informer(): func(any) { m.enqueueAll() },
		copies.Informer():  m.enqueueCopy,
	} {
		registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    enqueue,
			UpdateFunc: func(_, obj any) { enqueue(obj) },
			DeleteFunc: enqueue,
		})
		if err != nil {
			return nil, fmt.Errorf("listen for trust bundles: %w", err)
		}
		m.synced = append(m.synced, registration.HasSynced)
	}
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

// names are the host names of the ConfigMaps that a pod reads.
func (m *Manager) names(obj any) ([]string, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil, nil
	}
	var out []string
	for _, q := range rewrite.TrustBundles(pod) {
		out = append(out, m.translator.TrustBundleName(q))
	}
	return out, nil
}

func (m *Manager) enqueuePod(obj any) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	names, _ := m.names(obj)
	for _, name := range names {
		m.queue.Add(name)
	}
}

func (m *Manager) enqueueAll() {
	for _, name := range m.pods.ListIndexFuncValues(byQuestion) {
		m.queue.Add(name)
	}
}

func (m *Manager) enqueueCopy(obj any) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	if c, ok := obj.(*corev1.ConfigMap); ok {
		m.queue.Add(c.Name)
	}
}

// reconcile brings one ConfigMap in step with the bundles and the pods that read it.
func (m *Manager) reconcile(ctx context.Context, name string) (time.Duration, error) {
	question, asked, err := m.question(name)
	if err != nil {
		return 0, err
	}
	if !asked {
		return 0, m.remove(ctx, name)
	}
	data, err := m.answer(question)
	if err != nil {
		return 0, err
	}
	return 0, m.write(ctx, name, data)
}

// question finds what a ConfigMap answers, from a pod that asks.
func (m *Manager) question(name string) (rewrite.TrustBundle, bool, error) {
	pods, err := m.pods.ByIndex(byQuestion, name)
	if err != nil || len(pods) == 0 {
		return rewrite.TrustBundle{}, false, err
	}
	questions := rewrite.TrustBundles(pods[0].(*corev1.Pod))
	i := slices.IndexFunc(questions, func(q rewrite.TrustBundle) bool { return m.translator.TrustBundleName(q) == name })
	return questions[i], true, nil
}

func (m *Manager) remove(ctx context.Context, name string) error {
	if _, err := m.copies.Get(name); err != nil {
		return nil //nolint:nilerr // Not there. One that was just made comes back here with its event.
	}
	err := m.host.CoreV1().ConfigMaps(m.namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return describe("remove", name, err)
}

func (m *Manager) write(ctx context.Context, name string, data map[string]string) error {
	want := m.configMap(name, data)
	if seen, err := m.copies.Get(name); err == nil && seen.Annotations[hostview.AnnotationDigest] == hostview.Digest(want) {
		return nil
	}
	configMaps := m.host.CoreV1().ConfigMaps(m.namespace)
	_, err := configMaps.Create(ctx, want, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return describe("create", name, err)
	}
	old, err := configMaps.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return describe("read", name, err)
	}
	if !m.translator.ScopeSelector().Matches(labels.Set(old.Labels)) || old.Labels[hostview.LabelComposed] != string(hostview.TrustBundle) {
		return fmt.Errorf("write trust bundle %s: a host object with its name is not ours", name)
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": old.UID, "resourceVersion": old.ResourceVersion},
		"data":     hostview.Changes(data, old.Data),
	})
	if err != nil {
		return err
	}
	_, err = configMaps.Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{})
	return describe("update", name, err)
}

func (m *Manager) configMap(name string, data map[string]string) *corev1.ConfigMap {
	marks := maps.Clone(m.translator.ScopeLabels())
	marks[hostview.LabelComposed] = string(hostview.TrustBundle)
	c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: name, Labels: marks}, Data: data}
	if owner := m.translator.Cluster().Owner; owner.Name != "" {
		c.OwnerReferences = []metav1.OwnerReference{owner}
	}
	return c
}

func describe(action, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s trust bundle %s: %w", action, name, err)
}
