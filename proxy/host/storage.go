// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
)

// Storage is a storage.Interface whose objects are those of the host's
// namespace that belong to one virtual cluster. Keys are virtual:
// <resource prefix>/<virtual namespace>/<virtual name>.
//
// It is no cache: its memory (revisions, health, the host objects behind the
// shown ones) serves the next write, not reads.
type Storage struct {
	cfg         Config
	kind        kind
	host        hostAPI
	resource    schema.GroupResource
	prefix      string // with a slash at both ends
	newFunc     func() runtime.Object
	newListFunc func() runtime.Object
	versioner   storage.APIObjectVersioner

	revisions *revisions
	health    *health
	pulse     *pulse
	shown     *shown
	podNames  *podNames
}

var _ storage.Interface = (*Storage)(nil)

// NewStorage returns the storage of one translated resource. The functions
// make empty objects of the type that the generic registry stores.
func NewStorage(cfg Config, gr schema.GroupResource, resourcePrefix string, newFunc, newListFunc func() runtime.Object) *Storage {
	cfg = cfg.complete()
	k := kindOf(gr)
	countFromZero(k.resource)
	s := &Storage{
		cfg:         cfg,
		kind:        k,
		host:        newHostAPI(cfg, k),
		resource:    gr,
		prefix:      "/" + strings.Trim(resourcePrefix, "/") + "/",
		newFunc:     newFunc,
		newListFunc: newListFunc,
		revisions:   newRevisions(cfg.Clock),
		health:      &health{clock: cfg.Clock, bound: cfg.StaleBound},
		pulse:       cfg.Memory.pulseOf(cfg),
		shown:       newShown(),
		podNames:    newPodNames(cfg),
	}
	cfg.Memory.add(s)
	return s
}

// key is a virtual object's place in this storage.
type key struct {
	path            string
	namespace, name string

	// host is the host object behind it, where there is one at hand. It
	// determines the names that an error may mention.
	host runtime.Object
}

func (k key) about(h runtime.Object) key {
	k.host = h
	return k
}

func (k key) ref() klog.ObjectRef { return klog.KRef(k.namespace, k.name) }

// parse reads the key of one object.
func (s *Storage) parse(path string) (key, error) {
	rest, ok := strings.CutPrefix("/"+strings.TrimPrefix(path, "/"), s.prefix)
	if !ok {
		return key{}, fmt.Errorf("invalid key: %q lacks resource prefix: %q", path, s.prefix)
	}
	namespace, name, ok := strings.Cut(rest, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return key{}, fmt.Errorf("invalid key: %q does not name one object", path)
	}
	return key{path: path, namespace: namespace, name: name}, nil
}

// keyOf returns the key of a virtual object.
func (s *Storage) keyOf(v runtime.Object) (key, error) {
	m, err := meta.Accessor(v)
	if err != nil {
		return key{}, err
	}
	return key{path: s.prefix + m.GetNamespace() + "/" + m.GetName(), namespace: m.GetNamespace(), name: m.GetName()}, nil
}

// scope reads the key of a collection: everything, or one virtual namespace.
func (s *Storage) scope(path string) (namespace string, err error) {
	rest, ok := strings.CutPrefix("/"+strings.Trim(path, "/")+"/", s.prefix)
	if !ok {
		return "", fmt.Errorf("invalid key: %q lacks resource prefix: %q", path, s.prefix)
	}
	namespace = strings.TrimSuffix(rest, "/")
	if strings.Contains(namespace, "/") {
		return "", fmt.Errorf("invalid key: %q does not name a collection", path)
	}
	return namespace, nil
}

// plain returns the virtual form of a host object, in the version that the host
// speaks, without the changes of hooks. A corrupt overlay is not an error: the
// object is shown as far as the host has it.
func (s *Storage) plain(ctx context.Context, h runtime.Object) (runtime.Object, *rewrite.CorruptOverlayError, error) {
	v, err := s.cfg.Translator.ToVirtual(h)
	var corrupt *rewrite.CorruptOverlayError
	if err != nil && (!errors.As(err, &corrupt) || v == nil) {
		return nil, nil, err
	}
	if s.kind.complete != nil {
		s.kind.complete(s, ctx, v, h)
	}
	return v, corrupt, nil
}

// show sets into to a host object as its tenant sees it.
func (s *Storage) show(ctx context.Context, h, into runtime.Object) (*rewrite.CorruptOverlayError, error) {
	v, corrupt, err := s.plain(ctx, h)
	if err != nil {
		return nil, err
	}
	if s.cfg.Hooks.Shows(s.kind.resource) {
		v = s.look(ctx, v)
	}
	return corrupt, s.fromVersioned(v, into)
}

// restore is show for an object that has just come from the host: it is
// remembered, and a corrupt overlay is reported to its tenant in an Event.
func (s *Storage) restore(ctx context.Context, h, into runtime.Object) error {
	corrupt, err := s.show(ctx, h, into)
	if err != nil {
		return err
	}
	m, err := meta.Accessor(into)
	if err != nil {
		return err
	}
	news, err := s.remember(h, m, corrupt != nil)
	if err != nil {
		return err
	}
	if news {
		s.reportCorrupt(ctx, m, corrupt)
	}
	return nil
}

// reportCorrupt reports to the tenant that an object has lost its virtual-only
// part. The next write repairs it.
func (s *Storage) reportCorrupt(ctx context.Context, m metav1.Object, err error) {
	klog.FromContext(ctx).Error(err, "Overlay is corrupt, object is shown as the host has it",
		"resource", s.kind.resource, "virtualObject", klog.KRef(m.GetNamespace(), m.GetName()))
	corruptOverlays.WithLabelValues(s.kind.resource).Inc()
	if s.cfg.Events == nil {
		return
	}
	s.cfg.Events.Event(&corev1.ObjectReference{
		APIVersion:      schema.GroupVersion{Group: s.kind.group, Version: "v1"}.String(),
		Kind:            s.kind.name,
		Namespace:       m.GetNamespace(),
		Name:            m.GetName(),
		UID:             m.GetUID(),
		ResourceVersion: m.GetResourceVersion(),
	}, corev1.EventTypeWarning, "OverlayCorrupt",
		"The owner references, finalizers and managed fields of this object could not be read and are missing here. The next update begins a new record.")
}

// accept sets out to the reply to a write, and makes reads wait for it.
// deleted says that the last call of the write was a DELETE.
func (s *Storage) accept(ctx context.Context, reply, out runtime.Object, deleted bool) error {
	defer s.translatingBack(ctx)()
	if out == nil {
		out = s.newFunc()
	}
	if IsDryRun(ctx) {
		_, err := s.show(ctx, reply, out)
		return err
	}
	if _, err := s.acknowledge(reply); err != nil {
		return err
	}
	m, err := meta.Accessor(reply)
	if err != nil {
		return err
	}
	if !isLast(m, deleted) {
		return s.acceptPresent(ctx, reply, m, out)
	}
	s.revisions.expectGone(m.GetUID())
	s.shown.remove(m.GetName())
	_, err = s.show(ctx, reply, out)
	return err
}

// acceptPresent is accept for an object that is still there. The event about the
// write is the same object again: the first of the two to come is translated.
func (s *Storage) acceptPresent(ctx context.Context, reply runtime.Object, m metav1.Object, out runtime.Object) error {
	if p := s.pairOf(m); p != nil {
		return assign(out, p.virtual.DeepCopyObject())
	}
	if err := s.restore(ctx, reply, out); err != nil {
		return err
	}
	s.pair(m, pair{host: reply, virtual: out.DeepCopyObject()})
	return nil
}

// expectGone makes reads wait until an object is seen to be gone.
func (s *Storage) expectGone(ctx context.Context, uid types.UID) {
	if !IsDryRun(ctx) {
		s.revisions.expectGone(uid)
	}
}

// isLast reports whether a reply is the last about an object: it is being
// deleted, with no grace period left and nothing that holds it. The host has
// removed it then, at a revision that may not be in the reply. An object
// without any grace period is not even marked before it goes.
func isLast(m metav1.Object, deleted bool) bool {
	if m.GetDeletionTimestamp() == nil && !deleted {
		return false
	}
	grace := m.GetDeletionGracePeriodSeconds()
	return (grace == nil || *grace == 0) && len(m.GetFinalizers()) == 0
}

// acknowledge makes reads wait for the revision of a reply.
func (s *Storage) acknowledge(reply runtime.Object) (rv string, err error) {
	m, err := meta.Accessor(reply)
	if err != nil {
		return "", err
	}
	if n, err := s.versioner.ParseResourceVersion(m.GetResourceVersion()); err == nil {
		s.revisions.ack(n)
	}
	return m.GetResourceVersion(), nil
}

// Versioner implements storage.Interface.
func (s *Storage) Versioner() storage.Versioner { return s.versioner }

// ReadinessCheck implements storage.Interface. The cache above has its own.
func (s *Storage) ReadinessCheck() error { return nil }

// Fresh returns a 503 when the cache above has been without its host watch for
// longer than Config.StaleBound.
func (s *Storage) Fresh() error { return s.health.fresh() }

// GetCurrentResourceVersion implements storage.Interface: the revision that a
// cache must have reached to show every acknowledged write. See revisions.
func (s *Storage) GetCurrentResourceVersion(context.Context) (uint64, error) {
	return s.revisions.current(), nil
}

// Stats implements storage.Interface.
func (s *Storage) Stats(context.Context) (storage.Stats, error) {
	return storage.Stats{ObjectCount: int64(s.shown.len())}, nil
}

// RequestWatchProgress implements storage.Interface. The host decides itself
// when it sends a bookmark; nothing here waits for one.
func (s *Storage) RequestWatchProgress(context.Context) error { return nil }

// EnableResourceSizeEstimation implements storage.Interface.
func (s *Storage) EnableResourceSizeEstimation(storage.KeysFunc) error { return nil }

// CompactRevision implements storage.Interface. The host compacts by itself
// and says so in its answers.
func (s *Storage) CompactRevision() int64 { return 0 }

// IsWatchListSemanticsUnSupported makes the cache list and then watch. A
// streamed list would have to be forwarded to hosts that may not know it, and
// the list is where the revision that fills the cache is noted.
func (s *Storage) IsWatchListSemanticsUnSupported() bool { return true }
