// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package volumes

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/queue"
)

const (
	// byVolume indexes bound claims by the volume they are bound to.
	byVolume = "portico.dev/claims-by-volume"
	workers  = 2
)

// Config is what a Controller needs.
type Config struct {
	Virtual    kubernetes.Interface
	Informers  informers.SharedInformerFactory // of the virtual cluster
	Host       kubernetes.Interface            // which may be allowed to get persistentvolumes
	Translator *rewrite.Translator
}

// Controller keeps the volumes of bound claims.
type Controller struct {
	cfg     Config
	claims  cache.Indexer
	volumes corelisters.PersistentVolumeLister
	synced  []cache.InformerSynced
	queue   *queue.Queue[string] // names of volumes
}

// New returns a Controller. It registers with the informers, so it must be called before they are relied on.
func New(cfg Config) (*Controller, error) {
	claims, volumes := cfg.Informers.Core().V1().PersistentVolumeClaims().Informer(), cfg.Informers.Core().V1().PersistentVolumes()
	c := &Controller{cfg: cfg, claims: claims.GetIndexer(), volumes: volumes.Lister()}
	c.queue = queue.New("volumes", nil, c.reconcile)
	if err := claims.AddIndexers(cache.Indexers{byVolume: indexByVolume}); err != nil {
		return nil, fmt.Errorf("index claims by volume: %w", err)
	}
	claimEvents, err := claims.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: c.enqueueVolumeOf,
		UpdateFunc: func(old, obj any) {
			if !sameClaim(old, obj) {
				c.enqueueVolumeOf(old)
				c.enqueueVolumeOf(obj)
			}
		},
		DeleteFunc: c.enqueueVolumeOf,
	})
	if err != nil {
		return nil, fmt.Errorf("listen to claims: %w", err)
	}
	// Volumes that exist at the start are looked at too: their claim may have gone while nobody watched.
	volumeEvents, err := volumes.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    c.enqueue,
		UpdateFunc: func(_, obj any) { c.enqueue(obj) },
		DeleteFunc: c.enqueue,
	})
	if err != nil {
		return nil, fmt.Errorf("listen to volumes: %w", err)
	}
	c.synced = []cache.InformerSynced{claimEvents.HasSynced, volumeEvents.HasSynced}
	return c, nil
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	c.cfg.Informers.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), c.synced...) {
		return nil // ctx ended first
	}
	c.queue.Run(ctx, workers)
	return nil
}

func indexByVolume(obj any) ([]string, error) {
	claim, ok := obj.(*corev1.PersistentVolumeClaim)
	if !ok || claim.Spec.VolumeName == "" || claim.Status.Phase != corev1.ClaimBound {
		return nil, nil
	}
	return []string{claim.Spec.VolumeName}, nil
}

func (c *Controller) enqueueVolumeOf(obj any) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	if claim, ok := obj.(*corev1.PersistentVolumeClaim); ok && claim.Spec.VolumeName != "" {
		c.queue.Add(claim.Spec.VolumeName)
	}
}

func (c *Controller) enqueue(obj any) {
	if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj); err == nil {
		c.queue.Add(key)
	}
}

// sameClaim is true when nothing changed of what a volume is shown from.
func sameClaim(old, obj any) bool {
	before, ok := old.(*corev1.PersistentVolumeClaim)
	after, ok2 := obj.(*corev1.PersistentVolumeClaim)
	return ok && ok2 && before.UID == after.UID && before.Status.Phase == after.Status.Phase &&
		equality.Semantic.DeepEqual(before.Spec, after.Spec) && equality.Semantic.DeepEqual(before.Status.Capacity, after.Status.Capacity)
}

// reconcile shows, changes or removes one volume.
func (c *Controller) reconcile(ctx context.Context, name string) (time.Duration, error) {
	shown, err := c.volumes.Get(name)
	if apierrors.IsNotFound(err) {
		shown, err = nil, nil
	}
	if err != nil {
		return 0, err
	}
	if shown != nil && shown.Annotations[AnnotationHost] == "" {
		return 0, nil // the tenant's own
	}
	want, err := c.wanted(ctx, name)
	switch {
	case err != nil:
		return 0, err
	case want == nil && shown == nil:
		return 0, nil
	case want == nil:
		return 0, c.remove(ctx, shown)
	case shown == nil:
		return 0, c.create(ctx, want)
	default:
		return 0, c.update(ctx, shown, want)
	}
}

// wanted returns what is to be shown, or nil if nothing is.
func (c *Controller) wanted(ctx context.Context, name string) (*corev1.PersistentVolume, error) {
	claims, err := c.claims.ByIndex(byVolume, name)
	if err != nil || len(claims) == 0 {
		return nil, err
	}
	claim, ok := claims[0].(*corev1.PersistentVolumeClaim)
	if !ok || len(claims) > 1 {
		return nil, err // The host binds a volume to one claim only.
	}
	host, err := c.cfg.Host.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		klog.FromContext(ctx).V(2).Info("Host volumes cannot be read; showing what the claim says", "volume", name)
		return madeUp(claim), nil
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get host volume %q: %w", name, err)
	}
	hostName := c.cfg.Translator.Name(claim.Namespace, claim.Name)
	ref := host.Spec.ClaimRef
	if ref == nil || ref.Namespace != c.cfg.Translator.Cluster().HostNamespace || ref.Name != hostName || ref.UID != claim.UID {
		return nil, nil // bound to another claim: not the tenant's to see
	}
	known := map[string]rewrite.VirtualRef{hostName: {Namespace: claim.Namespace, Name: claim.Name}}
	return view(host, claim, func(s string) string { return c.cfg.Translator.TextToVirtual(s, known) }), nil
}

func (c *Controller) create(ctx context.Context, want *corev1.PersistentVolume) error {
	created, err := c.cfg.Virtual.CoreV1().PersistentVolumes().Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil // The informer is behind: its event brings this key back.
	}
	if err != nil {
		return fmt.Errorf("create volume %q: %w", want.Name, err)
	}
	klog.FromContext(ctx).V(2).Info("Created volume", "volume", want.Name)
	return c.bind(ctx, created) // The API makes every new volume Pending.
}

// bind says that the volume is bound.
func (c *Controller) bind(ctx context.Context, volume *corev1.PersistentVolume) error {
	if volume.Status.Phase == corev1.VolumeBound {
		return nil
	}
	bound := volume.DeepCopy()
	bound.Status = corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound}
	if _, err := c.cfg.Virtual.CoreV1().PersistentVolumes().UpdateStatus(ctx, bound, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("update the status of volume %q: %w", volume.Name, err)
	}
	return nil
}

// update changes what may change of a volume; for what may not, it is made anew.
func (c *Controller) update(ctx context.Context, shown, want *corev1.PersistentVolume) error {
	if shown.Annotations[AnnotationHost] != want.Annotations[AnnotationHost] {
		return c.remove(ctx, shown) // Its event brings this key back.
	}
	next := shown.DeepCopy()
	next.Labels, next.Annotations = overlay(shown.Labels, want.Labels), overlay(shown.Annotations, want.Annotations)
	// The source, volume mode and node affinity are as when it was made: the API does not let them change.
	next.Spec.Capacity, next.Spec.AccessModes = want.Spec.Capacity, want.Spec.AccessModes
	next.Spec.StorageClassName, next.Spec.VolumeAttributesClassName = want.Spec.StorageClassName, want.Spec.VolumeAttributesClassName
	next.Spec.PersistentVolumeReclaimPolicy, next.Spec.MountOptions = want.Spec.PersistentVolumeReclaimPolicy, want.Spec.MountOptions
	next.Spec.ClaimRef = want.Spec.ClaimRef
	if !equality.Semantic.DeepEqual(next, shown) {
		updated, err := c.cfg.Virtual.CoreV1().PersistentVolumes().Update(ctx, next, metav1.UpdateOptions{})
		if err != nil {
			return fmt.Errorf("update volume %q: %w", want.Name, err)
		}
		next = updated
	}
	return c.bind(ctx, next)
}

// remove deletes a volume. The precondition protects one that was made anew under this name since the informer saw it.
func (c *Controller) remove(ctx context.Context, volume *corev1.PersistentVolume) error {
	if volume.DeletionTimestamp != nil {
		return nil
	}
	err := c.cfg.Virtual.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(volume.UID))})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete volume %q: %w", volume.Name, err)
	}
	klog.FromContext(ctx).V(2).Info("Deleted volume", "volume", volume.Name)
	return nil
}
