// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package custom

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/queue"
	"portico.dev/portico/sync/kinds"
)

// MirrorConfig says which objects of the host are shown.
type MirrorConfig struct {
	Group, Resource string
	// Versions are those of its definition; none means all that are served. A kind
	// of Kubernetes itself has no definition, and is written in the first of them.
	Versions []string
	Builtin  bool
	// Selector chooses host objects. Nil means all.
	Selector labels.Selector
	// Namespaces lead from those of the host to those that show their objects. A kind
	// without namespaces has none.
	Namespaces map[string]string
	// Rewriter changes an object before it is shown. Nil changes nothing.
	Rewriter Rewriter

	// Informers are of the virtual side.
	Informers     sharedInformers
	Virtual, Host Clients
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Mirror shows the host's objects of one kind. They are as the host has them: the
// tenant's changes of them go, and so do those that the host does not have any
// more. Objects that tenants make themselves are theirs.
type Mirror struct{ cfg MirrorConfig }

// NewMirror returns a mirror. It looks at nothing before Run.
func NewMirror(cfg MirrorConfig) *Mirror { return &Mirror{cfg: cfg} }

// Run works until ctx ends.
func (m *Mirror) Run(ctx context.Context) error {
	k := &kind{
		resource: schema.GroupResource{Group: m.cfg.Group, Resource: m.cfg.Resource}, versions: m.cfg.Versions, builtin: m.cfg.Builtin,
		scope: apiextensionsv1.ClusterScoped, host: m.cfg.Host.Definitions, virtual: m.cfg.Virtual.Definitions,
		informers: m.cfg.Informers, clock: m.cfg.Clock,
	}
	if len(m.cfg.Namespaces) > 0 {
		k.scope = apiextensionsv1.NamespaceScoped
	}
	return k.run(ctx, func(ctx context.Context, resource schema.GroupVersionResource) error {
		s, err := newShown(&m.cfg, resource)
		if err != nil {
			return err
		}
		return s.run(ctx)
	})
}

// shown shows the objects of one version.
type shown struct {
	cfg      *MirrorConfig
	resource schema.GroupVersionResource
	inside   cache.SharedIndexInformer
	views    map[string]cache.SharedIndexInformer // of the host, by virtual namespace
	from     map[string]string                    // host namespaces, by virtual one
	loop     *queue.Loop[types.NamespacedName]
}

func newShown(cfg *MirrorConfig, resource schema.GroupVersionResource) (*shown, error) {
	s := &shown{
		cfg: cfg, resource: resource, inside: informer(cfg.Virtual.Objects, resource, metav1.NamespaceAll, LabelFromHost+"=true"),
		views: map[string]cache.SharedIndexInformer{}, from: map[string]string{},
	}
	selector := ""
	if cfg.Selector != nil {
		selector = cfg.Selector.String()
	}
	if len(cfg.Namespaces) == 0 {
		s.views[""] = informer(cfg.Host.Objects, resource, metav1.NamespaceAll, selector)
	}
	for host, virtual := range cfg.Namespaces {
		s.views[virtual], s.from[virtual] = informer(cfg.Host.Objects, resource, host, selector), host
	}
	s.loop = queue.NewLoop(resource.GroupResource().String(), cfg.Clock, s.reconcile)
	errs := []error{queue.Listen(s.loop, resource.Resource, s.inside, queue.Each(func(v object) {
		s.loop.Add(types.NamespacedName{Namespace: v.GetNamespace(), Name: v.GetName()})
	}))}
	for namespace, view := range s.views {
		errs = append(errs, queue.Listen(s.loop, resource.Resource+" of the host", view, queue.Each(func(host object) {
			s.loop.Add(types.NamespacedName{Namespace: namespace, Name: host.GetName()})
		})))
	}
	return s, errors.Join(errs...)
}

func (s *shown) run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { s.inside.RunWithContext(ctx) })
	for _, view := range s.views {
		running.Go(func() { view.RunWithContext(ctx) })
	}
	return s.loop.Run(ctx, workers, s.cfg.Informers)
}

func (s *shown) reconcile(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	have, err := kinds.Stored[object](s.inside.GetStore(), key.Namespace, key.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return 0, err
	}
	var want object
	if view := s.views[key.Namespace]; view != nil {
		host, err := kinds.Stored[object](view.GetStore(), s.from[key.Namespace], key.Name)
		if err != nil && !apierrors.IsNotFound(err) {
			return 0, err
		}
		if err == nil && host.GetDeletionTimestamp() == nil {
			if want, err = s.want(ctx, key, host); err != nil {
				return 0, fmt.Errorf("show %s %s: %w", s.resource.Resource, key, err)
			}
		}
	}
	if err := s.show(ctx, key, have, want); err != nil {
		return 0, fmt.Errorf("show %s %s: %w", s.resource.Resource, key, err)
	}
	return 0, nil
}

// want is the virtual object that shows a host object.
func (s *shown) want(ctx context.Context, key types.NamespacedName, host object) (object, error) {
	want := bare(host)
	want.SetLabels(others(host.GetLabels()))
	want.SetAnnotations(others(host.GetAnnotations()))
	if s.cfg.Rewriter != nil {
		var err error
		if want, err = s.cfg.Rewriter.Rewrite(ctx, host, want); err != nil {
			return nil, err
		}
	}
	// Whatever a rewrite says.
	out := bare(want)
	out.SetGroupVersionKind(host.GroupVersionKind())
	out.SetName(key.Name)
	out.SetNamespace(key.Namespace)
	marked := others(want.GetLabels())
	marked[LabelFromHost] = "true"
	out.SetLabels(marked)
	out.SetAnnotations(others(want.GetAnnotations()))
	return out, nil
}

// bare is a copy of an object without its metadata.
func bare(obj object) object {
	out := obj.DeepCopy()
	delete(out.Object, "metadata")
	return out
}

// others are the keys that are neither ours nor a client's record of the object.
func others(keys map[string]string) map[string]string {
	out := maps.Clone(keys)
	if out == nil {
		out = map[string]string{}
	}
	maps.DeleteFunc(out, func(key, _ string) bool {
		return rewrite.Reserved(key) || strings.HasSuffix(strings.SplitN(key, "/", 2)[0], "portico.dev") || key == corev1.LastAppliedConfigAnnotation
	})
	return out
}

func (s *shown) show(ctx context.Context, key types.NamespacedName, have, want object) error {
	of := s.cfg.Virtual.Objects.Resource(s.resource).Namespace(key.Namespace)
	switch {
	case want == nil && have == nil:
		return nil
	case want == nil:
		if have.GetDeletionTimestamp() != nil {
			return nil
		}
		err := of.Delete(ctx, key.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(have.GetUID()))})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	case have == nil:
		if err := s.ensureNamespace(ctx, key.Namespace); err != nil {
			return err
		}
		_, err := of.Create(ctx, want, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil // the tenant's own, or an event is on its way
		}
		return err
	}
	next := have.DeepCopy()
	for field := range rewrite.CustomContent(have) {
		delete(next.Object, field)
	}
	for field, value := range rewrite.CustomContent(want) {
		next.Object[field] = value
	}
	next.SetLabels(want.GetLabels())
	if len(want.GetAnnotations()) > 0 || len(have.GetAnnotations()) > 0 {
		next.SetAnnotations(want.GetAnnotations())
	}
	if !equality.Semantic.DeepEqual(next.Object, have.Object) {
		updated, err := of.Update(ctx, next, metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		next = updated
	}
	if equality.Semantic.DeepEqual(next.Object["status"], want.Object["status"]) {
		return nil
	}
	next.Object["status"] = want.Object["status"]
	if want.Object["status"] == nil {
		delete(next.Object, "status")
	}
	return writeStatus(ctx, of, next)
}

// ensureNamespace makes the virtual namespace that the operator has named.
func (s *shown) ensureNamespace(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	namespaces := s.cfg.Virtual.Core.CoreV1().Namespaces()
	if _, err := namespaces.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return err
	}
	_, err := namespaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
