// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package custom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/queue"
	"portico.dev/portico/sync/kinds"
)

const (
	// returnedKind stands for Secrets that come back in the index of references.
	returnedKind = "returned Secret"
	// untilMade is how long a Secret is awaited before the host is asked again. A
	// change of the copy asks at once, and once we have seen the Secret its events do.
	untilMade = 15 * time.Second

	// The host Secret names the virtual one that shows it.
	annotationReturnedNamespace = rewrite.Prefix + "returned-namespace"
	annotationReturnedName      = rewrite.Prefix + "returned-name"
	annotationReturnedKind      = rewrite.Prefix + "returned-for"
)

// listenToReturned is about the Secrets that the host has made, and those that show
// them inside.
func (o *objects) listenToReturned() error {
	if !o.returnsSecrets() {
		return nil
	}
	host := o.returned.Core().V1().Secrets().Informer()
	return errors.Join(
		queue.Listen(o.loop, "returned secrets", host, queue.Each(func(s *corev1.Secret) {
			namespace := s.Annotations[annotationReturnedNamespace]
			o.touchReturned(namespace, s.Annotations[annotationReturnedName])
			o.touchUnused(namespace)
		})),
		queue.Listen(o.loop, "secrets", o.secrets, queue.Each(func(s *corev1.Secret) { o.touchReturned(s.Namespace, s.Name) })),
	)
}

// touchReturned looks again at the objects for which the host makes a Secret.
func (o *objects) touchReturned(namespace, name string) {
	all, err := o.inside.GetIndexer().ByIndex(byReference, referenceKey(returnedKind, namespace, name))
	if err != nil {
		return
	}
	for _, obj := range all {
		if v, ok := obj.(object); ok {
			o.loop.Add(types.NamespacedName{Namespace: v.GetNamespace(), Name: v.GetName()})
		}
	}
}

// touchUnused looks for Secrets of a virtual namespace that nothing names: no
// object has the empty name.
func (o *objects) touchUnused(namespace string) {
	o.loop.Add(types.NamespacedName{Namespace: namespace})
}

// bringSecrets shows the Secrets that the host has made for an object.
func (o *objects) bringSecrets(ctx context.Context, virtual object) (again time.Duration, err error) {
	for _, name := range rewrite.CustomReturned(&o.cfg.Kind, virtual) {
		made, err := o.bringSecret(ctx, virtual, name)
		if err != nil {
			return 0, fmt.Errorf("bring Secret %s/%s: %w", virtual.GetNamespace(), name, err)
		}
		if !made {
			again = untilMade
		}
	}
	return again, nil
}

func (o *objects) bringSecret(ctx context.Context, virtual object, name string) (made bool, err error) {
	namespace := virtual.GetNamespace()
	secrets := o.cfg.Host.Core.CoreV1().Secrets(o.cfg.Translator.Cluster().HostNamespace)
	host, err := secrets.Get(ctx, o.cfg.Translator.ReturnedName(namespace, name), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err == nil {
		err = o.adopt(ctx, host, namespace, name)
	}
	if err != nil {
		return false, err
	}
	if len(host.Data) == 0 {
		return false, nil // an empty one that is about to be filled
	}
	want := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{LabelFromHost: "true"}},
		Type:       host.Type, Data: host.Data,
	}
	if want.Type == corev1.SecretTypeServiceAccountToken { // which the tenant's controller would fill
		want.Type = corev1.SecretTypeOpaque
	}
	of := o.cfg.Virtual.Core.CoreV1().Secrets(namespace)
	shown, err := kinds.Stored[*corev1.Secret](o.secrets.GetStore(), namespace, name)
	switch {
	case apierrors.IsNotFound(err):
		_, err = of.Create(ctx, want, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			err = nil // the informer is behind, and its event comes
		}
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			err = nil
		}
		return true, err
	case err != nil:
		return false, err
	case shown.Labels[LabelFromHost] != "true":
		o.report(virtual, "Secret "+name+" is not replaced by that which the host has made: delete it, or name another")
		return true, nil
	case shown.Type != want.Type || shown.Immutable != nil && *shown.Immutable:
		// Its event brings it again.
		err := of.Delete(ctx, name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(shown.UID))})
		if apierrors.IsNotFound(err) {
			err = nil
		}
		return true, err
	case equality.Semantic.DeepEqual(shown.Data, want.Data):
		return true, nil
	}
	next := shown.DeepCopy()
	next.Data = want.Data
	_, err = of.Update(ctx, next, metav1.UpdateOptions{})
	return true, err
}

// adopt makes a Secret of the host's one of the cluster's, which goes with it and
// which is watched.
func (o *objects) adopt(ctx context.Context, host *corev1.Secret, namespace, name string) error {
	t := o.cfg.Translator
	wanted := t.NamespaceSelector(namespace)
	wanted[rewrite.LabelComposed] = string(hostview.ReturnedSecret)
	annotations := map[string]string{annotationReturnedNamespace: namespace, annotationReturnedName: name, annotationReturnedKind: o.cfg.Kind.Noun()}
	owners, changed := ownedBy(host.OwnerReferences, t.Owners())
	labels, more := copies.Missing(wanted, host.Labels), copies.Missing(annotations, host.Annotations)
	if !changed && len(labels) == 0 && len(more) == 0 {
		return nil
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": host.UID, "resourceVersion": host.ResourceVersion, "labels": labels, "annotations": more, "ownerReferences": owners,
	}})
	if err != nil {
		return err
	}
	_, err = o.cfg.Host.Core.CoreV1().Secrets(host.Namespace).Patch(ctx, host.Name, types.MergePatchType, body, metav1.PatchOptions{})
	return err
}

// ownedBy adds ours to the owners of a Secret that has none. One that belongs to a
// copy goes with it.
func ownedBy(have, ours []metav1.OwnerReference) ([]metav1.OwnerReference, bool) {
	if len(have) > 0 {
		return have, false
	}
	return ours, len(ours) > 0
}

// removeReturned deletes the Secrets of the host that no object of a virtual
// namespace names any more. Those that show them stay with the tenant.
func (o *objects) removeReturned(ctx context.Context, namespace string) error {
	if !o.returnsSecrets() {
		return nil
	}
	hostNamespace := o.cfg.Translator.Cluster().HostNamespace
	for _, obj := range o.returned.Core().V1().Secrets().Informer().GetStore().List() {
		s, ok := obj.(*corev1.Secret)
		name := ""
		if ok {
			name = s.Annotations[annotationReturnedName]
		}
		if !ok || s.Annotations[annotationReturnedNamespace] != namespace || s.Name != o.cfg.Translator.ReturnedName(namespace, name) || o.uses(returnedKind, namespace, name) {
			continue
		}
		if s.Annotations[annotationReturnedKind] != o.cfg.Kind.Noun() {
			continue // another kind's
		}
		err := o.cfg.Host.Core.CoreV1().Secrets(hostNamespace).Delete(ctx, s.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(s.UID))})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("delete Secret %s of the host: %w", s.Name, err)
		}
	}
	return nil
}

func (o *objects) returnsSecrets() bool {
	return slices.ContainsFunc(o.cfg.Kind.References, func(r rewrite.CustomReference) bool { return r.Returned })
}
