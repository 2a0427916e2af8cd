// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package classes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

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

// PushConfig says where the tenant's classes are read, and where their copies
// are written.
type PushConfig struct {
	Translator *rewrite.Translator
	Virtual    kubernetes.Interface
	Informers  informers.SharedInformerFactory // of the virtual cluster
	// Host writes the copies for pods and claims, and Leader for Run.
	Host, Leader kubernetes.Interface
}

const (
	// maxClasses bounds the classes of a kind that a cluster has on the host: no
	// quota of the host does so outside of a namespace.
	maxClasses = 100
	// lookAgain is how long a class that has no copy now, for want of room or of
	// the operator's leave, waits before it is looked at again.
	lookAgain = time.Minute
)

// noCopyError is returned for a class that may have no copy on the host. Pods and
// claims that name it are refused.
type noCopyError struct{ why string }

func (e noCopyError) Error() string { return e.why }

// Is makes a class without a copy one that does not exist, to a pod or a claim.
func (e noCopyError) Is(target error) bool { return target == rewrite.ErrNoClass }

// pusher keeps host copies of the classes of one kind that the tenant makes.
type pusher[T kinds.Object] struct {
	cfg     PushConfig
	noun    string
	view    informers.SharedInformerFactory // of the copies
	virtual cache.Store
	live    reader[T] // of the virtual cluster
	row     kinds.Pushed[T]
	forUse  copies.Kind[T]      // as For writes copies
	kept    copies.Kind[T]      // as Run does
	loop    *queue.Loop[string] // over names of virtual classes
	room    *room.Room

	// may returns a noCopyError for a class that the host gets no copy of.
	may func(ctx context.Context, class T) error
	// again is how long a class that has a copy waits before it is judged again;
	// 0 is until it changes.
	again time.Duration
}

// newPusher returns a pusher. It registers with the virtual informers, so it must
// be called before they are relied on.
func newPusher[T kinds.Object](cfg PushConfig, noun string, row kinds.Pushed[T], may func(context.Context, T) error) (*pusher[T], error) {
	p := &pusher[T]{cfg: cfg, noun: noun, row: row, may: may, live: row.Client(cfg.Virtual, "")}
	p.loop = queue.NewLoop("pushed-"+strings.ReplaceAll(noun, " ", "-")+"es", nil, p.reconcile)
	p.view = informers.NewSharedInformerFactoryWithOptions(cfg.Host, 0,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = cfg.Translator.ClusterScope().String() }))
	virtual, host := row.Informer(cfg.Informers), row.Informer(p.view)
	p.virtual = virtual.GetStore()
	p.room = room.New(maxClasses, host.GetStore().ListKeys) // keys of cluster-wide objects are their names
	p.forUse = row.Copies(cfg.Translator, cfg.Host, p.view)
	p.kept = p.forUse
	p.kept.Client = row.Client(cfg.Leader, "")
	return p, errors.Join(
		queue.Listen(p.loop, noun+"es", virtual, queue.Each(func(class T) { p.loop.Add(class.GetName()) })),
		// Leftovers too: their virtual class may have gone while no replica
		// watched.
		queue.Listen(p.loop, "pushed "+noun+"es", host, queue.Each(func(copied T) {
			if _, name, ours := row.ToVirtual(cfg.Translator, copied); ours {
				p.loop.Add(name)
			}
		})),
	)
}

// Observe watches the copies until ctx ends, on every replica. Run needs it; For
// works without, but asks the host each time.
func (p *pusher[T]) Observe(ctx context.Context) error { return hostview.Observe(ctx, p.view) }

// Run keeps the copies in step until ctx ends. With several replicas, only the
// leader runs it.
func (p *pusher[T]) Run(ctx context.Context) error { return p.loop.Run(ctx, workers, p.cfg.Informers) }

// find returns the virtual class of a name.
func (p *pusher[T]) find(ctx context.Context, name string) (class T, exists bool, err error) {
	class, exists, err = find(ctx, p.virtual, p.live, name)
	if err != nil {
		return class, false, fmt.Errorf("get virtual %s %q: %w", p.noun, name, err)
	}
	return class, exists, nil
}

// reconcile brings the copy of one class in step. If the informer lacks a
// class, the API is asked: a pod or claim that is on its way may have pushed a
// class that the informer has not heard of.
func (p *pusher[T]) reconcile(ctx context.Context, name string) (time.Duration, error) {
	if err := p.removeFormer(ctx, name); err != nil {
		return 0, err
	}
	class, exists, err := p.find(ctx, name)
	if err != nil {
		return 0, err
	}
	copied := p.cfg.Translator.ClusterName(name)
	if !exists || mirrored(class) {
		return 0, p.remove(ctx, copied)
	}
	none := noCopyError{}
	if err := p.may(ctx, class); errors.As(err, &none) {
		// A copy may be of a time when the operator allowed it.
		return p.again, p.remove(ctx, copied)
	} else if err != nil {
		return 0, err
	}
	err = p.push(ctx, &p.kept, class)
	if errors.As(err, &none) {
		klog.FromContext(ctx).Info("Class is not pushed", "kind", p.row.Kind, "virtualClass", name, "err", err)
		return lookAgain, nil
	}
	return p.again, err
}

func (p *pusher[T]) push(ctx context.Context, to *copies.Kind[T], class T) error {
	want, err := p.row.ToHost(p.cfg.Translator, class, rewrite.Inputs{})
	if err != nil {
		return err
	}
	if !to.Known(want.GetName()) && !p.room.Take(want.GetName()) {
		full := noCopyError{fmt.Sprintf("the host has %d %ses of this cluster, which is the most that it can have", p.room.Most(), p.noun)}
		return fmt.Errorf("push %s %q: %w", p.noun, class.GetName(), full)
	}
	if _, err := to.Write(ctx, want); err != nil {
		p.room.Free(want.GetName())
		return fmt.Errorf("push %s %q: %w", p.noun, class.GetName(), err)
	}
	return nil
}

// removeFormer deletes the copy that an earlier version made under another name.
// Pods of then have the priority that they were made with, and claims their
// volume.
func (p *pusher[T]) removeFormer(ctx context.Context, name string) error {
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
func (p *pusher[T]) remove(ctx context.Context, hostName string) error {
	removed, err := p.kept.RemoveSeen(ctx, hostName)
	if err != nil {
		return fmt.Errorf("remove host %s %q: %w", p.noun, hostName, err)
	}
	if removed {
		p.room.Free(hostName)
		klog.FromContext(ctx).V(2).Info("Deleted the copy of a class", "kind", p.row.Kind, "hostClass", hostName)
	}
	return nil
}
