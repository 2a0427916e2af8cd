// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/hostview"
)

// copies are the host copies of one kind. The caller holds the lock of the reference.
type copies interface {
	// push brings the copy in step with the virtual object, which is read from the API server if live is set and from
	// the informer otherwise. Without a virtual object there is no copy; that is never believed of the informer. It
	// reports whether it made a copy where there was none.
	push(ctx context.Context, r reference, live bool) (made bool, err error)
	// follow brings a copy that exists in step, and makes none: the view may have one that was removed a moment ago.
	follow(ctx context.Context, r reference) error
	// remove deletes the copy if the view has one.
	remove(ctx context.Context, r reference) error
	// drop deletes the copy, also one that the view does not have yet.
	drop(ctx context.Context, r reference) error
	// followFormer is follow for a copy that an earlier version made under another name, where pods of then mount it.
	followFormer(ctx context.Context, r reference) error
	// vacant returns a Status if a host object that is no copy has the name: a pod that refers to it would mount that.
	vacant(ctx context.Context, r reference) error
	// known reports whether the view has a copy.
	known(r reference) bool
}

// client is what is used of a typed client.
type client[T any] interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (T, error)
	Create(ctx context.Context, obj T, o metav1.CreateOptions) (T, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, o metav1.PatchOptions, subresources ...string) (T, error)
	Delete(ctx context.Context, name string, o metav1.DeleteOptions) error
}

// kindCopies implements copies for *corev1.Secret and *corev1.ConfigMap.
type kindCopies[T metav1.Object] struct {
	kind       string
	resource   string
	translator *rewrite.Translator

	informed func(namespace, name string) (T, error) // virtual, from the informer
	live     func(namespace string) client[T]        // virtual
	seen     func(name string) (T, error)            // host, content replaced by its digest
	removed  *removed                                // not seen any more
	host     client[T]
	toHost   func(T) (T, error)
	// data returns what a merge patch must say to turn old's content into want's.
	data func(want, old T) map[string]any
	// fixed reports whether old's content cannot be changed into want's.
	fixed func(want, old T) bool
}

var (
	_ copies = (*kindCopies[*corev1.Secret])(nil)
	_ copies = (*kindCopies[*corev1.ConfigMap])(nil)
)

func (p *Pusher) secretCopies(host kubernetes.Interface) copies {
	virtual, seen := p.cfg.Informers.Core().V1().Secrets().Lister(), p.view.Core().V1().Secrets().Lister()
	return &kindCopies[*corev1.Secret]{
		kind: kindSecret, resource: "secrets", translator: p.cfg.Translator,
		informed: func(ns, name string) (*corev1.Secret, error) { return virtual.Secrets(ns).Get(name) },
		live:     func(ns string) client[*corev1.Secret] { return p.cfg.Virtual.CoreV1().Secrets(ns) },
		seen:     unlessRemoved(&p.removed, seen.Secrets(p.namespace).Get),
		removed:  &p.removed,
		host:     host.CoreV1().Secrets(p.namespace),
		toHost:   p.cfg.Translator.SecretToHost,
		data: func(want, old *corev1.Secret) map[string]any {
			return map[string]any{"data": hostview.Changes(want.Data, old.Data), "immutable": want.Immutable}
		},
		fixed: func(want, old *corev1.Secret) bool {
			return isTrue(old.Immutable) || secretType(want) != secretType(old)
		},
	}
}

func (p *Pusher) configMapCopies(host kubernetes.Interface) copies {
	virtual, seen := p.cfg.Informers.Core().V1().ConfigMaps().Lister(), p.view.Core().V1().ConfigMaps().Lister()
	return &kindCopies[*corev1.ConfigMap]{
		kind: kindConfigMap, resource: "configmaps", translator: p.cfg.Translator,
		informed: func(ns, name string) (*corev1.ConfigMap, error) { return virtual.ConfigMaps(ns).Get(name) },
		live:     func(ns string) client[*corev1.ConfigMap] { return p.cfg.Virtual.CoreV1().ConfigMaps(ns) },
		seen:     unlessRemoved(&p.removed, seen.ConfigMaps(p.namespace).Get),
		removed:  &p.removed,
		host:     host.CoreV1().ConfigMaps(p.namespace),
		toHost:   p.cfg.Translator.ConfigMapToHost,
		data: func(want, old *corev1.ConfigMap) map[string]any {
			return map[string]any{
				"data": hostview.Changes(want.Data, old.Data), "binaryData": hostview.Changes(want.BinaryData, old.BinaryData),
				"immutable": want.Immutable,
			}
		},
		fixed: func(_, old *corev1.ConfigMap) bool { return isTrue(old.Immutable) },
	}
}

func (k *kindCopies[T]) push(ctx context.Context, r reference, live bool) (made bool, err error) {
	want, inStep, err := k.compare(ctx, r, live)
	if inStep || err != nil {
		return false, err
	}
	_, err = k.host.Create(ctx, want, metav1.CreateOptions{})
	if err == nil {
		klog.FromContext(ctx).V(4).Info("Pushed object", "kind", k.kind, "virtualObject", klog.KRef(r.namespace, r.name), "hostObject", klog.KObj(want))
		return true, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return false, err
	}
	return false, k.correct(ctx, r, want)
}

func (k *kindCopies[T]) follow(ctx context.Context, r reference) error {
	want, inStep, err := k.compare(ctx, r, false)
	if inStep || err != nil {
		return err
	}
	if err := k.correct(ctx, r, want); !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

// compare returns the copy that there should be, and whether nothing is left to do: the view has it, or there is no
// virtual object and the copy was removed.
func (k *kindCopies[T]) compare(ctx context.Context, r reference, live bool) (want T, done bool, err error) {
	virtual, err := k.read(ctx, r, live)
	if apierrors.IsNotFound(err) {
		return want, true, k.remove(ctx, r)
	}
	if err != nil {
		return want, false, err
	}
	if want, err = k.toHost(virtual); err != nil {
		return want, false, fmt.Errorf("translate %s: %w", r.key(), err)
	}
	seen, err := k.seen(want.GetName())
	return want, err == nil && inStep(want, seen, seen.GetAnnotations()[hostview.AnnotationDigest]), nil
}

func (k *kindCopies[T]) read(ctx context.Context, r reference, live bool) (T, error) {
	if !live {
		// An informer that is behind, or that has not begun, must not cost a running pod its CA bundle.
		if virtual, err := k.informed(r.namespace, r.name); !apierrors.IsNotFound(err) {
			return virtual, err
		}
	}
	return k.live(r.namespace).Get(ctx, r.name, metav1.GetOptions{})
}

// correct turns the host object under the copy's name into the copy.
func (k *kindCopies[T]) correct(ctx context.Context, r reference, want T) error {
	old, err := k.host.Get(ctx, want.GetName(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	if !k.ours(r, old) {
		return k.taken(r)
	}
	if inStep(want, old, hostview.Digest(old)) {
		return nil
	}
	if k.fixed(want, old) || old.GetDeletionTimestamp() != nil {
		if err := k.delete(ctx, old); err != nil {
			return err
		}
		_, err := k.host.Create(ctx, want, metav1.CreateOptions{})
		return err
	}

	// A merge patch leaves alone what the host added. The resourceVersion keeps two writers from mixing contents.
	patch := k.data(want, old)
	labels, annotations := rewrite.CopyChanges(want, old)
	patch["metadata"] = map[string]any{
		"uid": old.GetUID(), "resourceVersion": old.GetResourceVersion(),
		"labels": labels, "annotations": annotations, "ownerReferences": want.GetOwnerReferences(),
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode the patch of %s: %w", r.key(), err)
	}
	_, err = k.host.Patch(ctx, want.GetName(), types.MergePatchType, body, metav1.PatchOptions{})
	return err
}

func (k *kindCopies[T]) remove(ctx context.Context, r reference) error {
	if !k.known(r) {
		return nil
	}
	return k.drop(ctx, r)
}

func (k *kindCopies[T]) drop(ctx context.Context, r reference) error {
	for _, name := range k.translator.HostNames(k.kind, r.namespace, r.name) {
		if err := k.dropNamed(ctx, r, name); err != nil {
			return err
		}
	}
	return nil
}

func (k *kindCopies[T]) dropNamed(ctx context.Context, r reference, name string) error {
	// The view may be behind; the decision is made on what is there, and holds for that object only.
	old, err := k.host.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !k.ours(r, old) {
		return nil
	}
	klog.FromContext(ctx).V(4).Info("Removed pushed object", "kind", k.kind, "namespace", r.namespace, "name", r.name)
	return k.delete(ctx, old)
}

func (k *kindCopies[T]) delete(ctx context.Context, old T) error {
	k.removed.note(old.GetUID())
	err := k.host.Delete(ctx, old.GetName(), metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(old.GetUID()))})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		k.removed.forget(old.GetUID())
	}
	return err
}

func (k *kindCopies[T]) known(r reference) bool {
	return slices.ContainsFunc(k.translator.HostNames(k.kind, r.namespace, r.name), func(name string) bool {
		_, err := k.seen(name)
		return err == nil
	})
}

// ours reports whether a host object is the copy of exactly this virtual object.
func (k *kindCopies[T]) ours(r reference, host T) bool {
	return k.translator.Is(host, k.kind, r.namespace, r.name)
}

// taken is the answer when somebody else's object has the copy's name. It says so in virtual terms only.
func (k *kindCopies[T]) taken(r reference) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: k.resource}, r.name,
		errors.New("on the host of this cluster its name belongs to an object that is not of the cluster; use another name"))
}

// inStep reports whether host has the content of digest that want has, and the labels and annotations that it is to have.
func inStep(want, host metav1.Object, digest string) bool {
	if digest != hostview.Digest(want) || host.GetDeletionTimestamp() != nil {
		return false
	}
	labels, annotations := rewrite.CopyChanges(want, host)
	return len(labels) == 0 && len(annotations) == 0
}

func secretType(s *corev1.Secret) corev1.SecretType {
	if s.Type == "" {
		return corev1.SecretTypeOpaque
	}
	return s.Type
}

func isTrue(b *bool) bool { return b != nil && *b }
