// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package classes

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/queue"
	"portico.dev/portico/sync/internal/room"
	"portico.dev/portico/sync/kinds"
)

// PushConfig says where a Pusher reads the tenant's classes, and where it writes
// their copies.
type PushConfig struct {
	Translator *rewrite.Translator
	Virtual    kubernetes.Interface
	Informers  informers.SharedInformerFactory // of the virtual cluster
	// Host writes the copies for pods, and Leader for Run.
	Host, Leader kubernetes.Interface
	// MaxValue is the highest value of a copy.
	MaxValue int32
}

// Pusher keeps host copies of the PriorityClasses that the tenant makes.
type Pusher struct {
	cfg     PushConfig
	view    informers.SharedInformerFactory // of the copies
	virtual cache.Store
	row     kinds.Pushed[*schedulingv1.PriorityClass]
	forPods copies.Kind[*schedulingv1.PriorityClass] // as For writes copies
	kept    copies.Kind[*schedulingv1.PriorityClass] // as Run does
	loop    *queue.Loop[string]                      // over names of virtual classes
	room    *room.Room
}

const (
	// maxClasses bounds the classes that a cluster has on the host: no quota of
	// the host does so outside of a namespace.
	maxClasses = 100
	// whenFull is how long a class waits for room before it is looked at again.
	whenFull = time.Minute
)

// fullError is returned for a class that there is no room for on the host. A pod
// that names it is refused.
type fullError struct{ most int }

func (e fullError) Error() string {
	return fmt.Sprintf("the host has %d priority classes of this cluster, which is the most that it can have", e.most)
}

// Is makes a class without room one that does not exist, to a pod.
func (e fullError) Is(target error) bool { return target == rewrite.ErrNoClass }

// NewPusher returns a Pusher. It registers with the virtual informers, so it must
// be called before they are relied on.
func NewPusher(cfg PushConfig) (*Pusher, error) {
	p := &Pusher{cfg: cfg, row: kinds.PushedPriorityClasses(cfg.MaxValue)}
	p.loop = queue.NewLoop("pushed-priority-classes", nil, p.reconcile)
	p.view = informers.NewSharedInformerFactoryWithOptions(cfg.Host, 0,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = cfg.Translator.ClusterScope().String() }))
	virtual, host := p.row.Informer(cfg.Informers), p.row.Informer(p.view)
	p.virtual = virtual.GetStore()
	p.room = room.New(maxClasses, host.GetStore().ListKeys) // keys of cluster-wide objects are their names
	p.forPods = p.row.Copies(cfg.Translator, cfg.Host, p.view)
	p.kept = p.forPods
	p.kept.Client = p.row.Client(cfg.Leader, "")
	return p, errors.Join(
		queue.Listen(p.loop, "priority classes", virtual, queue.Each(func(class *schedulingv1.PriorityClass) { p.loop.Add(class.Name) })),
		// Leftovers too: their virtual class may have gone while no replica
		// watched.
		queue.Listen(p.loop, "pushed priority classes", host, queue.Each(func(copied *schedulingv1.PriorityClass) {
			if _, name, ours := p.row.ToVirtual(cfg.Translator, copied); ours {
				p.loop.Add(name)
			}
		})),
	)
}

// Observe watches the copies until ctx ends, on every replica. Run needs it; For
// works without, but asks the host each time.
func (p *Pusher) Observe(ctx context.Context) error { return hostview.Observe(ctx, p.view) }

// Run keeps the copies in step until ctx ends. With several replicas, only the
// leader runs it.
func (p *Pusher) Run(ctx context.Context) error { return p.loop.Run(ctx, workers, p.cfg.Informers) }

// For returns the class of a new pod if the host has a copy of it, which is made
// first if need be. A class that is the system's or the host's own has none. The
// error is rewrite.ErrNoClass when the class has gone.
func (p *Pusher) For(ctx context.Context, pod *corev1.Pod) (string, error) {
	name := pod.Spec.PriorityClassName
	if name == "" || rewrite.ReservedClass(name) {
		return "", nil
	}
	class, exists, err := find[*schedulingv1.PriorityClass](ctx, p.virtual, p.cfg.Virtual.SchedulingV1().PriorityClasses(), name)
	switch {
	case err != nil:
		return "", fmt.Errorf("get virtual priority class %q: %w", name, err)
	case !exists:
		return "", fmt.Errorf("priority class %q: %w", name, rewrite.ErrNoClass)
	case mirrored(class):
		return "", nil
	}
	return name, p.push(ctx, &p.forPods, class)
}

// reconcile brings the copy of one class in step. If the informer lacks a
// class, the API is asked: a pod that is on its way may have pushed a class
// that the informer has not heard of.
func (p *Pusher) reconcile(ctx context.Context, name string) (time.Duration, error) {
	if err := p.removeFormer(ctx, name); err != nil {
		return 0, err
	}
	class, exists, err := find[*schedulingv1.PriorityClass](ctx, p.virtual, p.cfg.Virtual.SchedulingV1().PriorityClasses(), name)
	switch {
	case err != nil:
		return 0, fmt.Errorf("get virtual priority class %q: %w", name, err)
	case !exists || mirrored(class):
		return 0, p.remove(ctx, p.cfg.Translator.ClusterName(name))
	case rewrite.ReservedClass(name):
		return 0, nil
	}
	err = p.push(ctx, &p.kept, class)
	if full := (fullError{}); errors.As(err, &full) {
		klog.FromContext(ctx).Info("Priority class is not pushed", "virtualClass", name, "err", err)
		return whenFull, nil
	}
	return 0, err
}

func (p *Pusher) push(ctx context.Context, to *copies.Kind[*schedulingv1.PriorityClass], class *schedulingv1.PriorityClass) error {
	want, err := p.row.ToHost(p.cfg.Translator, class, rewrite.Inputs{})
	if err != nil {
		return err
	}
	if !to.Known(want.Name) && !p.room.Take(want.Name) {
		return fmt.Errorf("push priority class %q: %w", class.Name, fullError{p.room.Most()})
	}
	if _, err := to.Write(ctx, want); err != nil {
		p.room.Free(want.Name)
		return fmt.Errorf("push priority class %q: %w", class.Name, err)
	}
	return nil
}

// removeFormer deletes the copy that an earlier version made under another name.
// Pods of then have the priority that they were made with.
func (p *Pusher) removeFormer(ctx context.Context, name string) error {
	former, had := p.cfg.Translator.FormerClusterName(name)
	if !had {
		return nil
	}
	copied, ok := p.kept.Look(former)
	if !ok {
		return nil // there is none
	}
	if _, of, ours := p.row.ToVirtual(p.cfg.Translator, copied); !ours || of != name {
		return nil
	}
	return p.remove(ctx, former)
}

// remove deletes a copy if there is one.
func (p *Pusher) remove(ctx context.Context, hostName string) error {
	removed, err := p.kept.RemoveSeen(ctx, hostName)
	if err != nil {
		return fmt.Errorf("remove host priority class %q: %w", hostName, err)
	}
	if removed {
		p.room.Free(hostName)
		klog.FromContext(ctx).V(2).Info("Deleted the copy of a priority class", "hostClass", hostName)
	}
	return nil
}
