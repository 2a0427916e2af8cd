// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
)

const (
	// keepInterval is how often the ServiceAccount and the shared keys are looked
	// for, which porticod does not watch.
	keepInterval = 10 * time.Second
	// keepRetry is how soon a failure is tried again.
	keepRetry = time.Second
)

// Keeper keeps the host objects that a cluster stands on: it puts the anchor, the
// cluster's own Service, the ServiceAccount of its pods and the keys that replicas
// share back when they are deleted on the host, the Service with the address that
// pods know, and gives objects the owner that they should have. A Service that
// somebody leads elsewhere is led back.
type Keeper struct {
	o          Options
	door       Door
	translator *rewrite.Translator
	owned      []schema.GroupVersionResource
	views      []informers.SharedInformerFactory
	services   corelisters.ServiceLister
	anchors    corelisters.ConfigMapLister
	synced     []cache.InformerSynced
	wake       chan struct{}
	changed    func()
	putBack    func(what string)
	roots      func(context.Context) error
	fault      atomic.Pointer[error] // of the last attempt to keep what is not watched
}

// NewKeeper returns the keeper of a door that EnsureService has made. more are the
// kinds of objects with the anchor as their owner, besides those that every cluster
// has.
func NewKeeper(client kubernetes.Interface, o Options, d Door, t *rewrite.Translator, more ...schema.GroupVersionResource) (*Keeper, error) {
	o = o.complete()
	viewOf := func(name string) informers.SharedInformerFactory {
		return informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(o.Namespace),
			informers.WithTweakListOptions(func(l *metav1.ListOptions) {
				l.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
			}))
	}
	ofService, ofAnchor := viewOf(o.Service), viewOf(rewrite.AnchorName(o.Cluster))
	services, anchors := ofService.Core().V1().Services(), ofAnchor.Core().V1().ConfigMaps()
	k := &Keeper{
		o: o, door: d, translator: t, views: []informers.SharedInformerFactory{ofService, ofAnchor},
		services: services.Lister(), anchors: anchors.Lister(), wake: make(chan struct{}, 1), putBack: func(string) {},
		owned: append(slices.Clone(alwaysOwned), more...),
	}
	for _, w := range []struct {
		informer cache.SharedIndexInformer
		see      func(obj any)
	}{{services.Informer(), k.seeService}, {anchors.Informer(), k.seeAnchor}} {
		registration, err := w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: w.see, UpdateFunc: func(_, obj any) { w.see(obj) }, DeleteFunc: func(any) { k.look() },
		})
		if err != nil {
			return nil, fmt.Errorf("watch the objects that lead to the cluster: %w", err)
		}
		k.synced = append(k.synced, registration.HasSynced)
	}
	return k, nil
}

// look has Run look at once.
func (k *Keeper) look() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *Keeper) seeService(any) {
	k.look()
	if k.changed != nil {
		k.changed()
	}
}

// seeAnchor makes an anchor that another replica made again the owner of new
// objects.
func (k *Keeper) seeAnchor(obj any) {
	if anchor, ok := obj.(*corev1.ConfigMap); ok && k.o.ours(anchor) == nil && anchor.DeletionTimestamp == nil {
		k.own(anchor)
	}
	k.look()
}

// own makes the anchor the owner of objects from here on.
func (k *Keeper) own(anchor *corev1.ConfigMap) {
	if k.translator.Owner().UID != anchor.UID {
		k.translator.SetOwner(ownerOf(anchor))
	}
}

// Observe keeps the view of the Service and of the anchor until ctx ends.
func (k *Keeper) Observe(ctx context.Context) error {
	for _, view := range k.views {
		view.Start(ctx.Done())
		defer view.Shutdown()
	}
	<-ctx.Done()
	return nil
}

// OnChange has changed called whenever the Service changes. It comes before
// Observe.
func (k *Keeper) OnChange(changed func()) { k.changed = changed }

// OnPutBack has report called with a sentence about each object that was made again.
// It comes before Run.
func (k *Keeper) OnPutBack(report func(what string)) { k.putBack = report }

// KeepRoots has ensure called again and again: it puts the keys that replicas share
// back. It comes before Run.
func (k *Keeper) KeepRoots(ensure func(context.Context) error) { k.roots = ensure }

// Names returns the names and IPs at which the host leads to the door, as far as
// this process knows: those of the Service, and those that load balancers and
// administrators of the host gave it.
func (k *Keeper) Names() []string {
	names := []string{k.o.Service, k.o.Service + "." + k.o.Namespace, k.o.Service + "." + k.o.Namespace + ".svc", k.door.ClusterIP}
	svc, err := k.services.Services(k.o.Namespace).Get(k.o.Service)
	if err != nil || k.o.ours(svc) != nil {
		return names
	}
	names = append(names, svc.Spec.ClusterIPs...)
	names = append(names, svc.Spec.ExternalIPs...)
	for _, in := range svc.Status.LoadBalancer.Ingress {
		names = append(names, in.IP, in.Hostname)
	}
	return slices.DeleteFunc(names, func(name string) bool {
		_, err := netip.ParseAddr(name)
		return err != nil && len(validation.IsDNS1123Subdomain(name)) > 0
	})
}

// Ready returns a fault of the objects that the cluster stands on, as far as this
// process knows.
func (k *Keeper) Ready() error {
	if slices.ContainsFunc(k.synced, func(synced cache.InformerSynced) bool { return !synced() }) {
		return nil
	}
	name := rewrite.AnchorName(k.o.Cluster)
	anchor, err := k.anchors.ConfigMaps(k.o.Namespace).Get(name)
	switch {
	case err != nil:
		return fmt.Errorf("host ConfigMap %s/%s, which owns every object of this cluster on the host, is gone and is made again", k.o.Namespace, name)
	case k.o.ours(anchor) != nil:
		return fmt.Errorf("host ConfigMap %s/%s, which should own every object of this cluster, belongs to something else", k.o.Namespace, name)
	case anchor.DeletionTimestamp != nil:
		return fmt.Errorf("host ConfigMap %s/%s is being deleted, and every object of this cluster on the host with it", k.o.Namespace, name)
	}
	svc, err := k.services.Services(k.o.Namespace).Get(k.o.Service)
	switch {
	case err != nil:
		return fmt.Errorf("host Service %s/%s, which leads pods to this cluster, is gone and is made again", k.o.Namespace, k.o.Service)
	case k.o.ours(svc) != nil:
		return fmt.Errorf("host Service %s/%s, which should lead pods to this cluster, belongs to something else", k.o.Namespace, k.o.Service)
	case svc.Spec.ClusterIP != k.door.ClusterIP:
		return fmt.Errorf("host Service %s/%s has the address %s, and pods know %s: restart porticod, and create pods again",
			k.o.Namespace, k.o.Service, svc.Spec.ClusterIP, k.door.ClusterIP)
	}
	if fault := k.fault.Load(); fault != nil {
		return *fault
	}
	return nil
}

// Run moves owners once, then keeps the Service and the ServiceAccount until ctx
// ends. It is the leader's; client and meta make its changes.
func (k *Keeper) Run(ctx context.Context, client kubernetes.Interface, meta metadata.Interface) error {
	var movedTo types.UID
	for {
		wait, err := keepInterval, k.keep(ctx, client)
		k.note(err)
		if owner := k.translator.Owner().UID; err == nil && movedTo != owner {
			if err = k.moveOwners(ctx, meta); err == nil {
				movedTo = owner
			}
		}
		if err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Objects that lead to the cluster are not as they should be")
			wait = keepRetry
		}
		timer := k.o.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C():
		case <-k.wake:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// note keeps a fault for Ready: one that a person has to remove, and not that the
// host does not answer.
func (k *Keeper) note(err error) {
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || errors.Is(err, ErrNotOurs) {
		k.fault.Store(&err)
		return
	}
	k.fault.Store(nil)
}

// keep puts back missing objects.
func (k *Keeper) keep(ctx context.Context, client kubernetes.Interface) error {
	if err := k.keepAnchor(ctx, client); err != nil {
		return fmt.Errorf("host ConfigMap %s/%s: %w", k.o.Namespace, rewrite.AnchorName(k.o.Cluster), err)
	}
	var errs []error
	if err := k.keepService(ctx, client); err != nil {
		errs = append(errs, fmt.Errorf("host Service %s/%s: %w", k.o.Namespace, k.o.Service, err))
	}
	if err := k.keepServiceAccount(ctx, client); err != nil {
		errs = append(errs, fmt.Errorf("host ServiceAccount %s/%s: %w", k.o.Namespace, k.o.ServiceAccount, err))
	}
	if k.roots != nil {
		errs = append(errs, k.roots(ctx))
	}
	return errors.Join(errs...)
}

// keepAnchor makes an anchor again that was deleted, with the addresses that it
// remembered. Where the host deleted all that it owned, the cluster goes on without
// data; where it did not, objects get the new owner before anything else happens to
// them. An object with an owner that is gone would live for a moment only.
func (k *Keeper) keepAnchor(ctx context.Context, client kubernetes.Interface) error {
	anchor, made, err := k.o.ensureAnchor(ctx, client)
	if err != nil {
		return err
	}
	k.own(anchor)
	if made {
		k.report(ctx, "ConfigMap", anchor.Name, "objects of the cluster that are left get it as their owner")
	}
	for key, ip := range map[string]string{AnnotationServiceIP: k.door.ClusterIP, AnnotationDNSIP: k.translator.Cluster().DNSIP} {
		if ip != "" && anchor.Annotations[key] == "" {
			if err := k.o.note(ctx, client, key, ip); err != nil {
				return err
			}
		}
	}
	return nil
}

// report says that an object was made again.
func (k *Keeper) report(ctx context.Context, kind, name, what string) {
	klog.FromContext(ctx).Info("Made an object again that somebody deleted on the host", "kind", kind, "hostObject", klog.KRef(k.o.Namespace, name))
	k.putBack(fmt.Sprintf("%s %s/%s was deleted on the host and is there again; %s", kind, k.o.Namespace, name, what))
}

// keepService puts the Service back with the address that it had, or not at all:
// with another, every pod and the door's certificate would have a wrong one,
// unnoticed.
func (k *Keeper) keepService(ctx context.Context, client kubernetes.Interface) error {
	services, want := client.CoreV1().Services(k.o.Namespace), k.o.service(k.translator.Owner())
	svc, err := services.Get(ctx, k.o.Service, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		want.Spec.ClusterIP = k.door.ClusterIP
		if _, err = services.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager}); err == nil {
			k.report(ctx, "Service", k.o.Service, "it has the address "+k.door.ClusterIP+" as before")
		}
		return err
	}
	if err != nil {
		return err
	}
	if err := k.o.ours(svc); err != nil {
		return err
	}
	updated := correctedService(svc, want)
	if svc.DeletionTimestamp != nil || apiequality.Semantic.DeepEqual(svc, updated) {
		return nil
	}
	_, err = services.Update(ctx, updated, metav1.UpdateOptions{FieldManager: fieldManager})
	return err
}

func (k *Keeper) keepServiceAccount(ctx context.Context, client kubernetes.Interface) error {
	if k.o.ServiceAccount == "" || k.o.ServiceAccount == "default" {
		return nil
	}
	made, err := k.o.ensureServiceAccount(ctx, client, k.translator.Owner())
	if made {
		k.report(ctx, "ServiceAccount", k.o.ServiceAccount, "pods can be created")
	}
	return err
}

// alwaysOwned are the kinds of objects that every cluster has on its host.
var alwaysOwned = []schema.GroupVersionResource{
	corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims"),
	corev1.SchemeGroupVersion.WithResource("pods"),
	corev1.SchemeGroupVersion.WithResource("services"),
	corev1.SchemeGroupVersion.WithResource("secrets"),
	corev1.SchemeGroupVersion.WithResource("configmaps"),
	discoveryv1.SchemeGroupVersion.WithResource("endpointslices"),
}

// moveOwners gives every object of the cluster the anchor as its owner, where it
// has none, one that was deleted, or the cluster's own Service as once.
func (k *Keeper) moveOwners(ctx context.Context, meta metadata.Interface) error {
	var errs []error
	for _, r := range k.owned {
		errs = append(errs, k.moveOwnersOf(ctx, meta.Resource(r).Namespace(k.o.Namespace), r.Resource))
	}
	return errors.Join(errs...)
}

func (k *Keeper) moveOwnersOf(ctx context.Context, all metadata.ResourceInterface, resource string) error {
	list := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return all.List(ctx, o) })
	scope := metav1.ListOptions{LabelSelector: labels.SelectorFromSet(k.o.labels()).String()}
	moved := 0
	err := list.EachListItem(ctx, scope, func(obj runtime.Object) error {
		m, ok := obj.(*metav1.PartialObjectMetadata)
		if !ok || m.Name == rewrite.AnchorName(k.o.Cluster) {
			return nil
		}
		owners, change := k.translator.OwnerChanges(m.OwnerReferences)
		if !change {
			return nil
		}
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"uid": m.UID, "resourceVersion": m.ResourceVersion, "ownerReferences": owners,
		}})
		if err != nil {
			return err
		}
		_, err = all.Patch(ctx, m.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager})
		if err == nil {
			moved++
		}
		return ignoreNotFound(err)
	})
	if moved > 0 {
		klog.FromContext(ctx).Info("Objects on the host are owned by the cluster's anchor now", "resource", resource, "objects", moved)
	}
	if err != nil {
		return fmt.Errorf("move the owners of %s: %w", resource, err)
	}
	return nil
}
