// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package volumes

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	"portico.dev/portico/sync/internal/mirror"
	"portico.dev/portico/sync/internal/queue"
)

const (
	// byVolume indexes bound claims by the volume they are bound to.
	byVolume = "portico.dev/claims-by-volume"
	workers  = 2
)

// Config says where claims and volumes are read, and where volumes are shown.
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
	shown   mirror.Kind[*corev1.PersistentVolume]
	loop    *queue.Loop[string] // over names of volumes
}

// New returns a Controller. It registers with the informers, so it must be
// called before they are relied on.
func New(cfg Config) (*Controller, error) {
	claims, volumes := cfg.Informers.Core().V1().PersistentVolumeClaims().Informer(), cfg.Informers.Core().V1().PersistentVolumes()
	c := &Controller{cfg: cfg, claims: claims.GetIndexer(), volumes: volumes.Lister()}
	c.shown = mirror.Kind[*corev1.PersistentVolume]{
		Noun: "volume", Client: cfg.Virtual.CoreV1().PersistentVolumes(),
		Mirrored: mirrored, Fixed: otherVolume, Next: next, Settle: c.bind,
	}
	c.loop = queue.NewLoop("volumes", nil, c.reconcile)
	if err := claims.AddIndexers(cache.Indexers{byVolume: indexByVolume}); err != nil {
		return nil, fmt.Errorf("index claims by volume: %w", err)
	}
	return c, errors.Join(
		queue.Listen(c.loop, "claims", claims, queue.On[*corev1.PersistentVolumeClaim]{
			Added: c.enqueueVolumeOf,
			Changed: func(old, claim *corev1.PersistentVolumeClaim) {
				if !sameClaim(old, claim) {
					c.enqueueVolumeOf(old)
					c.enqueueVolumeOf(claim)
				}
			},
			Deleted: c.enqueueVolumeOf,
		}),
		// Volumes that exist at the start are looked at too: their claim may have
		// gone while no replica watched.
		queue.Listen(c.loop, "volumes", volumes.Informer(), queue.Each(func(v *corev1.PersistentVolume) { c.loop.Add(v.Name) })),
	)
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	return c.loop.Run(ctx, workers, c.cfg.Informers)
}

func indexByVolume(obj any) ([]string, error) {
	claim, ok := obj.(*corev1.PersistentVolumeClaim)
	if !ok || claim.Spec.VolumeName == "" || claim.Status.Phase != corev1.ClaimBound {
		return nil, nil
	}
	return []string{claim.Spec.VolumeName}, nil
}

func (c *Controller) enqueueVolumeOf(claim *corev1.PersistentVolumeClaim) {
	if claim.Spec.VolumeName != "" {
		c.loop.Add(claim.Spec.VolumeName)
	}
}

// sameClaim reports whether nothing changed that the volume of a claim shows.
func sameClaim(before, after *corev1.PersistentVolumeClaim) bool {
	return before.UID == after.UID && before.Status.Phase == after.Status.Phase &&
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
	if shown != nil && !mirrored(shown) {
		return 0, nil // the tenant's own: the host need not be asked
	}
	want, err := c.wanted(ctx, name)
	if err != nil {
		return 0, err
	}
	return 0, c.shown.Show(ctx, shown, want)
}

// wanted returns the volume that is to be shown, or nil if none is.
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
		klog.FromContext(ctx).V(2).Info("Host volumes cannot be read, and are not shown", "volume", name)
		return nil, nil
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get host volume %q: %w", name, err)
	}
	hostNames := c.cfg.Translator.HostNames("PersistentVolumeClaim", claim.Namespace, claim.Name)
	ref := host.Spec.ClaimRef
	if ref == nil || ref.Namespace != c.cfg.Translator.Cluster().HostNamespace || !slices.Contains(hostNames, ref.Name) || ref.UID != claim.UID {
		return nil, nil // bound to another claim: not the tenant's to see
	}
	known := map[string]rewrite.VirtualRef{ref.Name: {Namespace: claim.Namespace, Name: claim.Name}}
	text := func(s string) string { return c.cfg.Translator.TextToVirtual(s, known) }
	class := func(s string) string { return c.cfg.Translator.StorageClassToVirtual(s, claim) }
	return view(host, claim, text, class), nil
}

// bind says that the volume is bound: the API makes every new volume Pending.
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
