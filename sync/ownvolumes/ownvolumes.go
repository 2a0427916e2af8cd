// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package ownvolumes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/queue"
	"portico.dev/portico/sync/internal/room"
	"portico.dev/portico/sync/kinds"
)

const (
	// workers is one: two volumes must not choose the same claim.
	workers = 1
	// mostCopies bounds the volumes of a cluster on the host: no quota does so
	// outside of a namespace.
	mostCopies = 100
	// whenFull is how long a volume waits for room before it is looked at again.
	whenFull = time.Minute
	reason   = "NotOnHost"
)

// Config says where volumes and claims are read, and where copies are written.
type Config struct {
	Translator *rewrite.Translator
	Virtual    kubernetes.Interface
	Informers  informers.SharedInformerFactory // of the virtual cluster
	// Host may list, watch and write persistentvolumes, and get the claims of the
	// cluster's namespace.
	Host   kubernetes.Interface
	Limits Limits
	// Scheduler means that a scheduler inside chooses the volumes of claims that
	// wait for a pod.
	Scheduler bool
	// Events gets those about volumes that the host does not have.
	Events record.EventRecorder
	// Most is how many copies the host has at most; 0 means a hundred.
	Most int
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Controller binds the tenant's volumes, and keeps their copies.
type Controller struct {
	cfg     Config
	volumes corelisters.PersistentVolumeLister
	claims  corelisters.PersistentVolumeClaimLister
	classes storagelisters.StorageClassLister
	view    informers.SharedInformerFactory // of the copies
	copies  copies.Kind[*corev1.PersistentVolume]
	room    *room.Room
	loop    *queue.Loop[string] // over names of virtual volumes
}

// New returns a Controller. It registers with the informers, so it must be called
// before they are relied on.
func New(cfg Config) (*Controller, error) {
	core := cfg.Informers.Core().V1()
	classes := cfg.Informers.Storage().V1().StorageClasses()
	cfg.Most = cmp.Or(cfg.Most, mostCopies)
	c := &Controller{
		cfg: cfg, volumes: core.PersistentVolumes().Lister(), claims: core.PersistentVolumeClaims().Lister(), classes: classes.Lister(),
		view: informers.NewSharedInformerFactoryWithOptions(cfg.Host, 0,
			informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = cfg.Translator.ClusterScope().String() })),
	}
	seen := c.view.Core().V1().PersistentVolumes().Informer()
	c.copies = c.copiesOf(seen.GetStore())
	c.room = room.New(cfg.Most, seen.GetStore().ListKeys) // keys of cluster-wide objects are their names
	c.loop = queue.NewLoop("own-volumes", cfg.Clock, c.reconcile)
	c.loop.Await(classes.Informer().HasSynced)
	return c, errors.Join(
		queue.Listen(c.loop, "volumes", core.PersistentVolumes().Informer(), queue.Each(func(v *corev1.PersistentVolume) { c.loop.Add(v.Name) })),
		queue.Listen(c.loop, "claims", core.PersistentVolumeClaims().Informer(), queue.Each(c.enqueueVolumesFor)),
		// Leftovers too: their virtual volume may have gone while no replica
		// watched.
		queue.Listen(c.loop, "copies of volumes", seen, queue.Each(func(h *corev1.PersistentVolume) {
			if name, ours := cfg.Translator.PersistentVolumeToVirtual(h); ours {
				c.loop.Add(name)
			}
		})),
	)
}

// Run works until ctx ends. With several replicas, only the leader runs it.
func (c *Controller) Run(ctx context.Context) error {
	return c.loop.Run(ctx, workers, c.cfg.Informers, c.view)
}

// enqueueVolumesFor looks at the volumes that a claim has, or could get.
func (c *Controller) enqueueVolumesFor(claim *corev1.PersistentVolumeClaim) {
	for _, v := range c.own() {
		ref := v.Spec.ClaimRef
		if ref == nil || ref.Namespace == claim.Namespace && ref.Name == claim.Name {
			c.loop.Add(v.Name)
		}
	}
}

// reconcile brings one volume, its claim and its copy in step.
func (c *Controller) reconcile(ctx context.Context, name string) (time.Duration, error) {
	v, err := c.volumes.Get(name)
	switch {
	case apierrors.IsNotFound(err):
		return 0, c.remove(ctx, name)
	case err != nil:
		return 0, err
	case kinds.IsHostVolume(v):
		return 0, nil
	case v.DeletionTimestamp != nil:
		return 0, c.remove(ctx, name)
	}
	if problems := c.cfg.Limits.Problems(v); len(problems) > 0 {
		// Of a time when the operator offered more.
		c.report(v, problems.ToAggregate().Error())
		return 0, nil
	}
	if v.Spec.ClaimRef == nil {
		return 0, c.free(ctx, v)
	}
	return c.claimed(ctx, v)
}

// free looks for a claim for a volume that has none. A copy of the time before goes
// first.
func (c *Controller) free(ctx context.Context, v *corev1.PersistentVolume) error {
	if err := c.remove(ctx, v.Name); err != nil {
		return err
	}
	if v.Status.Phase != corev1.VolumeAvailable {
		return c.show(ctx, v, corev1.VolumeAvailable, "") // its event brings it back
	}
	claim, err := c.match(v)
	if err != nil || claim == nil {
		return err
	}
	return c.claim(ctx, v, claim)
}

// claimed follows a volume through the life of its claim.
func (c *Controller) claimed(ctx context.Context, v *corev1.PersistentVolume) (time.Duration, error) {
	ref := v.Spec.ClaimRef
	if ref.Namespace == "" || ref.Name == "" {
		return 0, c.show(ctx, v, corev1.VolumeAvailable, "") // kept for a claim that cannot be
	}
	claim, err := c.find(ctx, ref)
	switch {
	case err != nil:
		return 0, err
	case claim == nil && ref.UID == "":
		return 0, c.show(ctx, v, corev1.VolumeAvailable, "") // kept for a claim that is yet to come
	case claim == nil:
		return 0, c.released(ctx, v)
	}
	switch claim.Spec.VolumeName {
	case v.Name:
		if ref.UID == "" {
			return 0, c.claim(ctx, v, claim)
		}
		return c.bound(ctx, v, claim)
	case "":
		return 0, c.promise(ctx, v, claim)
	}
	// The claim has got another volume.
	if _, ours := v.Annotations[boundByController]; ours || ref.UID != "" {
		next := v.DeepCopy()
		next.Spec.ClaimRef = nil
		delete(next.Annotations, boundByController)
		return 0, c.update(ctx, next)
	}
	return 0, c.show(ctx, v, corev1.VolumeAvailable, "")
}

// find returns the claim that a volume names, by its uid if the volume has one; nil
// is none. The API is asked about a claim that the informer does not have.
func (c *Controller) find(ctx context.Context, ref *corev1.ObjectReference) (*corev1.PersistentVolumeClaim, error) {
	claim, err := c.claims.PersistentVolumeClaims(ref.Namespace).Get(ref.Name)
	if err != nil || ref.UID != "" && claim.UID != ref.UID {
		claim, err = c.cfg.Virtual.CoreV1().PersistentVolumeClaims(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get virtual claim %s/%s: %w", ref.Namespace, ref.Name, err)
	case ref.UID != "" && claim.UID != ref.UID:
		return nil, nil
	}
	return claim, nil
}

// show writes the state of a volume that the API does not know of.
func (c *Controller) show(ctx context.Context, v *corev1.PersistentVolume, phase corev1.PersistentVolumePhase, message string) error {
	if v.Status.Phase == phase && v.Status.Message == message {
		return nil
	}
	next := v.DeepCopy()
	next.Status.Phase, next.Status.Message = phase, message
	if _, err := c.cfg.Virtual.CoreV1().PersistentVolumes().UpdateStatus(ctx, next, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("update the status of volume %q: %w", v.Name, err)
	}
	return nil
}

func (c *Controller) update(ctx context.Context, next *corev1.PersistentVolume) error {
	if _, err := c.cfg.Virtual.CoreV1().PersistentVolumes().Update(ctx, next, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("update volume %q: %w", next.Name, err)
	}
	return nil
}

// own returns the tenant's volumes.
func (c *Controller) own() []*corev1.PersistentVolume {
	var out []*corev1.PersistentVolume
	// An informer's lister fails for no selector.
	_ = cache.ListAll(c.cfg.Informers.Core().V1().PersistentVolumes().Informer().GetStore(), everything, func(obj any) {
		if v, ok := obj.(*corev1.PersistentVolume); ok && !kinds.IsHostVolume(v) && v.DeletionTimestamp == nil {
			out = append(out, v)
		}
	})
	return out
}

func (c *Controller) report(v *corev1.PersistentVolume, why string) {
	c.cfg.Events.Event(v, corev1.EventTypeWarning, reason, why)
}
