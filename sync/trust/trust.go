// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	certificateslisters "k8s.io/client-go/listers/certificates/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/queue"
)

// workers bounds the ConfigMaps that are written at the same time.
const workers = 4

// byQuestion is the index of virtual pods by the host name of the ConfigMaps
// that answer them.
const byQuestion = "portico-trust-bundle"

// Config says where pods and bundles are read, and where answers are written.
type Config struct {
	Translator *rewrite.Translator
	// Informers are of the virtual side.
	Informers informers.SharedInformerFactory
	// Host writes the ConfigMaps, in the cluster's host namespace.
	Host kubernetes.Interface
}

// Controller keeps the ConfigMaps.
type Controller struct {
	translator *rewrite.Translator
	namespace  string // on the host

	informers  informers.SharedInformerFactory
	view       informers.SharedInformerFactory
	pods       cache.Indexer
	bundles    certificateslisters.ClusterTrustBundleLister
	configMaps copies.Kind[*corev1.ConfigMap]
	loop       *queue.Loop[string] // over host names
}

// New returns a controller. It registers with the informers, so it must be
// called before they are started.
func New(cfg Config) (*Controller, error) {
	view, err := hostview.NewComposedFactory(cfg.Host, cfg.Translator, hostview.TrustBundle)
	if err != nil {
		return nil, err
	}
	pods, bundles := cfg.Informers.Core().V1().Pods().Informer(), cfg.Informers.Certificates().V1().ClusterTrustBundles()
	c := &Controller{
		translator: cfg.Translator, namespace: cfg.Translator.Cluster().HostNamespace, informers: cfg.Informers, view: view,
		pods: pods.GetIndexer(), bundles: bundles.Lister(),
	}
	c.configMaps = c.kind(cfg.Host)
	c.loop = queue.NewLoop("trust", nil, c.reconcile)
	if err := pods.AddIndexers(cache.Indexers{byQuestion: c.names}); err != nil {
		return nil, fmt.Errorf("index pods: %w", err)
	}
	return c, errors.Join(
		queue.Listen(c.loop, "pods", pods, queue.Each(c.enqueuePod)),
		queue.Listen(c.loop, "trust bundles", bundles.Informer(), queue.Each(c.enqueueAll)),
		queue.Listen(c.loop, "answers", view.Core().V1().ConfigMaps().Informer(), queue.Each(c.enqueueAnswer)),
	)
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	return c.loop.Run(ctx, workers, c.informers, c.view)
}

// names are the host names of the ConfigMaps that a pod reads.
func (c *Controller) names(obj any) ([]string, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil, nil
	}
	var out []string
	for _, q := range rewrite.TrustBundles(pod) {
		out = append(out, c.hostNames(q)...)
	}
	return out, nil
}

// hostNames are the names that the answer to a question has: that of today, and
// the former one, under which pods of an earlier version mount it.
func (c *Controller) hostNames(q rewrite.TrustBundle) []string {
	return []string{c.translator.TrustBundleName(q), c.translator.FormerTrustBundleName(q)}
}

func (c *Controller) enqueuePod(pod *corev1.Pod) {
	for _, q := range rewrite.TrustBundles(pod) {
		for _, name := range c.hostNames(q) {
			c.loop.Add(name)
		}
	}
}

// enqueueAll asks for every answer: any of them may have this bundle in it.
func (c *Controller) enqueueAll(*certificatesv1.ClusterTrustBundle) {
	for _, name := range c.pods.ListIndexFuncValues(byQuestion) {
		c.loop.Add(name)
	}
}

func (c *Controller) enqueueAnswer(host *corev1.ConfigMap) { c.loop.Add(host.Name) }

// reconcile brings one ConfigMap in step with the bundles and the pods that read
// it.
func (c *Controller) reconcile(ctx context.Context, name string) (time.Duration, error) {
	question, asked, err := c.question(name)
	if errors.Is(err, errTwoQuestions) {
		klog.FromContext(ctx).Info("Trust bundle on the host is left as it is", "configMap", name, "err", err)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if !asked {
		_, err := c.configMaps.RemoveSeen(ctx, name)
		return 0, describe(name, err)
	}
	if former := name != c.translator.TrustBundleName(question); former && !c.configMaps.Known(name) {
		return 0, nil // never made
	}
	data, err := c.answer(question)
	if err != nil {
		return 0, err
	}
	_, err = c.configMaps.Write(ctx, c.configMap(name, data))
	return 0, describe(name, err)
}

// question finds the question that a ConfigMap answers, from the pods that ask
// it. asked is false if none does.
func (c *Controller) question(name string) (question rewrite.TrustBundle, asked bool, err error) {
	pods, err := c.pods.ByIndex(byQuestion, name)
	if err != nil {
		return question, false, err
	}
	for _, pod := range pods {
		for _, q := range rewrite.TrustBundles(pod.(*corev1.Pod)) {
			if !slices.Contains(c.hostNames(q), name) {
				continue
			}
			if asked && q != question {
				return question, true, errTwoQuestions
			}
			question, asked = q, true
		}
	}
	return question, asked, nil
}

// errTwoQuestions is about a former name, for which somebody searched. Nothing
// says to which of them the ConfigMap is the answer.
var errTwoQuestions = errors.New("two questions have this name")

// kind says how ConfigMaps with answers are kept.
func (c *Controller) kind(host kubernetes.Interface) copies.Kind[*corev1.ConfigMap] {
	seen := c.view.Core().V1().ConfigMaps().Lister().ConfigMaps(c.namespace)
	return copies.Kind[*corev1.ConfigMap]{
		Client: host.CoreV1().ConfigMaps(c.namespace),
		Seen:   seen.Get, Removed: &copies.Removed{},
		Ours: func(host *corev1.ConfigMap) bool {
			return c.translator.ScopeSelector().Matches(labels.Set(host.Labels)) &&
				host.Labels[hostview.LabelComposed] == string(hostview.TrustBundle)
		},
		Rules: copies.Rules[*corev1.ConfigMap]{
			Same:     hostview.Same[*corev1.ConfigMap],
			SameSeen: hostview.SameSeen[*corev1.ConfigMap],
			Patch: func(want, old *corev1.ConfigMap) map[string]any {
				return map[string]any{"data": hostview.Changes(want.Data, old.Data)}
			},
		},
	}
}

func (c *Controller) configMap(name string, data map[string]string) *corev1.ConfigMap {
	marks := maps.Clone(c.translator.ScopeLabels())
	marks[hostview.LabelComposed] = string(hostview.TrustBundle)
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name, Labels: marks, OwnerReferences: c.translator.Owners()}, Data: data,
	}
}

func describe(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("trust bundle %s on the host: %w", name, err)
}
