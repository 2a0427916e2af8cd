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
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	resourcev1 "k8s.io/api/resource/v1"
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
	// keepInterval is how often the ServiceAccount is looked for, which porticod
	// has no right to watch, and how soon a failure is tried again.
	keepInterval = 10 * time.Second
	// keepRetry is how soon the cluster's Service is made again after a failure.
	keepRetry = time.Second
)

// Keeper keeps the host objects that lead to a door: it puts the cluster's own
// Service and the ServiceAccount of its pods back when they are deleted on the
// host, the Service with the address that pods know, and gives older objects
// the owner that they should have.
type Keeper struct {
	o          Options
	door       Door
	translator *rewrite.Translator
	view       informers.SharedInformerFactory
	services   corelisters.ServiceLister
	synced     cache.InformerSynced
	wake       chan struct{}
	changed    func()
}

// NewKeeper returns the keeper of a door that EnsureService has made.
func NewKeeper(client kubernetes.Interface, o Options, d Door, t *rewrite.Translator) (*Keeper, error) {
	o = o.complete()
	view := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(o.Namespace),
		informers.WithTweakListOptions(func(l *metav1.ListOptions) {
			l.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, o.Service).String()
		}))
	services := view.Core().V1().Services()
	k := &Keeper{o: o, door: d, translator: t, view: view, services: services.Lister(), wake: make(chan struct{}, 1)}
	wake := func(any) {
		select {
		case k.wake <- struct{}{}:
		default:
		}
		if k.changed != nil {
			k.changed()
		}
	}
	registration, err := services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: wake, UpdateFunc: func(_, obj any) { wake(obj) }, DeleteFunc: wake,
	})
	if err != nil {
		return nil, fmt.Errorf("watch the cluster's own Service: %w", err)
	}
	k.synced = registration.HasSynced
	return k, nil
}

// Observe keeps the view of the Service until ctx ends.
func (k *Keeper) Observe(ctx context.Context) error {
	k.view.Start(ctx.Done())
	defer k.view.Shutdown()
	<-ctx.Done()
	return nil
}

// OnChange has changed called whenever the Service changes. It comes before
// Observe.
func (k *Keeper) OnChange(changed func()) { k.changed = changed }

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

// Ready returns a fault of the cluster's own Service, as far as this process
// knows.
func (k *Keeper) Ready() error {
	if !k.synced() {
		return nil
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
	return nil
}

// Run moves owners once, then keeps the Service and the ServiceAccount until ctx
// ends. It is the leader's; client and meta make its changes.
func (k *Keeper) Run(ctx context.Context, client kubernetes.Interface, meta metadata.Interface) error {
	moved := false
	for {
		wait, err := keepInterval, k.keep(ctx, client)
		if err == nil && !moved {
			err = k.moveOwners(ctx, meta)
			moved = err == nil
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

// keep puts back missing objects. The Service gets the address that it had, or
// is not created: with another, every pod and the door's certificate would have
// a wrong one, unnoticed.
func (k *Keeper) keep(ctx context.Context, client kubernetes.Interface) error {
	_, err := client.CoreV1().Services(k.o.Namespace).Get(ctx, k.o.Service, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		want := k.o.service(k.door.Owner)
		want.Spec.ClusterIP = k.door.ClusterIP
		var svc *corev1.Service
		svc, err = client.CoreV1().Services(k.o.Namespace).Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
		if err == nil {
			klog.FromContext(ctx).Info("Made the cluster's own Service again", "hostObject", klog.KObj(svc), "clusterIP", svc.Spec.ClusterIP)
		}
	}
	if err != nil {
		return fmt.Errorf("host Service %s/%s: %w", k.o.Namespace, k.o.Service, err)
	}
	if k.o.ServiceAccount == "" || k.o.ServiceAccount == "default" {
		return nil
	}
	if err := k.o.ensureServiceAccount(ctx, client, k.door); err != nil {
		return fmt.Errorf("host ServiceAccount %s/%s: %w", k.o.Namespace, k.o.ServiceAccount, err)
	}
	return nil
}

// moveOwners gives every object of the cluster the anchor as its owner, where
// the cluster's own Service was that before.
func (k *Keeper) moveOwners(ctx context.Context, meta metadata.Interface) error {
	resources := []schema.GroupVersionResource{
		corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims"),
		corev1.SchemeGroupVersion.WithResource("pods"),
		corev1.SchemeGroupVersion.WithResource("services"),
		corev1.SchemeGroupVersion.WithResource("secrets"),
		corev1.SchemeGroupVersion.WithResource("configmaps"),
		discoveryv1.SchemeGroupVersion.WithResource("endpointslices"),
	}
	if k.translator.Cluster().ResourceClaims {
		resources = append(resources, resourcev1.SchemeGroupVersion.WithResource("resourceclaims"))
	}
	var errs []error
	for _, r := range resources {
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
