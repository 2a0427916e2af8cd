// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package every

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/queue"
	"portico.dev/portico/sync/internal/room"
	"portico.dev/portico/sync/kinds"
)

const (
	// workers bounds the objects that are written at the same time.
	workers = 4
	// mostCopies bounds those that the controllers of the host work for.
	mostCopies = 1000
	// whenFull is how long an object waits for room before it is looked at again.
	whenFull = time.Minute
	// whenRenamed is how long it takes until a copy follows an object that had a
	// former name and was made again.
	whenRenamed = time.Minute
)

// Config says where the objects of a kind are read, and where they are written.
type Config[T kinds.Object] struct {
	Row        kinds.Pushed[T]
	Translator *rewrite.Translator
	// Informers are of the virtual side.
	Informers informers.SharedInformerFactory
	// Host writes copies, in the cluster's host namespace.
	Host kubernetes.Interface
	// Events gets those about objects that the host does not have, with Reason.
	Events record.EventRecorder
	Reason string
	// Inputs returns facts about the objects that one names. Nil: there are none.
	Inputs func(ctx context.Context, virtual T) (rewrite.Inputs, error)
	// Wanted reports whether there is to be a copy, and otherwise why there is
	// none; "" is nothing to tell. Nil: there is always one.
	Wanted func(virtual T) (wanted bool, why string)
	// Change returns a copy with the changes of the operator's; it is asked for
	// every copy, and gives the same answer to the same one. Nil changes nothing.
	Change func(ctx context.Context, virtual, copied T) (T, error)
	// Show brings the host's status of a copy to its virtual object; host is nil
	// before a copy goes that is not wanted any more. Nil shows nothing.
	Show func(ctx context.Context, virtual, host T) error
	// Most is how many copies the host has at most; 0 means a thousand.
	Most int
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Controller keeps the copies of one kind, object by object.
type Controller[T kinds.Object] struct {
	cfg     Config[T]
	view    informers.SharedInformerFactory
	virtual cache.Store
	copies  copies.Kind[T]
	loop    *queue.Loop[types.NamespacedName] // over virtual objects
	room    *room.Room
}

// New returns a controller. It registers with the informers, so it must be
// called before they are relied on.
func New[T kinds.Object](cfg Config[T]) (*Controller[T], error) {
	if cfg.Most == 0 {
		cfg.Most = mostCopies
	}
	view := hostview.NewFactory(cfg.Host, cfg.Translator.Cluster().HostNamespace, cfg.Translator.ScopeSelector())
	virtual, pushed := cfg.Row.Informer(cfg.Informers), cfg.Row.Informer(view)
	c := &Controller[T]{
		cfg: cfg, view: view, virtual: virtual.GetStore(), copies: cfg.Row.Copies(cfg.Translator, cfg.Host, view),
		room: room.New(cfg.Most, func() (names []string) {
			for _, key := range pushed.GetStore().ListKeys() {
				if _, name, err := cache.SplitMetaNamespaceKey(key); err == nil {
					names = append(names, name)
				}
			}
			return names
		}),
	}
	c.loop = queue.NewLoop(cfg.Row.Resource, cfg.Clock, c.reconcile)
	return c, errors.Join(
		queue.Listen(c.loop, cfg.Row.Resource, virtual, queue.Each(func(obj T) {
			c.loop.Add(types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()})
		})),
		queue.Listen(c.loop, "pushed "+cfg.Row.Resource, pushed, queue.Each(func(host T) {
			if namespace, name, ours := cfg.Row.ToVirtual(cfg.Translator, host); ours {
				c.loop.Add(types.NamespacedName{Namespace: namespace, Name: name})
			}
		})),
	)
}

// Run works until ctx ends.
func (c *Controller[T]) Run(ctx context.Context) error {
	return c.loop.Run(ctx, workers, c.cfg.Informers, c.view)
}

// reconcile brings the copy of one virtual object in step.
func (c *Controller[T]) reconcile(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	virtual, err := kinds.Stored[T](c.virtual, key.Namespace, key.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return 0, err
	}
	if err != nil || virtual.GetDeletionTimestamp() != nil {
		return 0, c.remove(ctx, key)
	}
	if c.cfg.Wanted != nil {
		if wanted, why := c.cfg.Wanted(virtual); !wanted {
			if why != "" {
				c.report(virtual, why)
			}
			// Only a copy that is still there makes this happen again.
			if err := c.unshow(ctx, virtual); err != nil {
				return 0, err
			}
			return 0, c.remove(ctx, key)
		}
	}
	var in rewrite.Inputs
	if c.cfg.Inputs != nil {
		if in, err = c.cfg.Inputs(ctx, virtual); err != nil {
			return 0, err
		}
	}
	host, err := c.cfg.Row.ToHost(c.cfg.Translator, virtual, in)
	if err != nil {
		return 0, err
	}
	var again time.Duration
	if len(in.Former) > 0 {
		again = whenRenamed
	}
	if c.cfg.Change != nil {
		if host, err = c.cfg.Change(ctx, virtual, host); err != nil {
			c.report(virtual, err.Error())
			return 0, fmt.Errorf("change %s %s for the host: %w", c.cfg.Row.Kind, key, err)
		}
	}
	if !c.copies.Known(host.GetName()) && !c.room.Take(host.GetName()) {
		c.report(virtual, fmt.Sprintf("the host has %d %s of this cluster, which is the most that it can have", c.room.Most(), c.cfg.Row.Resource))
		return whenFull, nil
	}
	if _, err := c.copies.Write(ctx, host); err != nil {
		c.room.Free(host.GetName())
		if copies.Refused(err) {
			c.report(virtual, "the host of this cluster does not take it: "+string(apierrors.ReasonForError(err)))
		}
		return 0, fmt.Errorf("%s %s on the host: %w", c.cfg.Row.Kind, key, err)
	}
	if seen, ok := c.copies.Look(host.GetName()); ok {
		return again, c.show(ctx, virtual, seen)
	}
	return again, nil
}

// show brings the host's status inside, where that is wanted.
func (c *Controller[T]) show(ctx context.Context, virtual, host T) error {
	if c.cfg.Show == nil {
		return nil
	}
	if err := c.cfg.Show(ctx, virtual, host); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("show the status of %s %s/%s: %w", c.cfg.Row.Kind, virtual.GetNamespace(), virtual.GetName(), err)
	}
	return nil
}

// unshow takes back the status of a copy that is about to go. An object without a
// copy has a status of the tenant's.
func (c *Controller[T]) unshow(ctx context.Context, virtual T) error {
	var none T
	if !c.copies.Known(c.cfg.Translator.Name(virtual.GetNamespace(), virtual.GetName())) {
		return nil
	}
	return c.show(ctx, virtual, none)
}

func (c *Controller[T]) report(virtual T, why string) {
	c.cfg.Events.Event(virtual, corev1.EventTypeWarning, c.cfg.Reason, why)
}

func (c *Controller[T]) remove(ctx context.Context, key types.NamespacedName) error {
	name := c.cfg.Translator.Name(key.Namespace, key.Name)
	removed, err := c.copies.RemoveSeen(ctx, name)
	if err != nil {
		return fmt.Errorf("remove %s %s from the host: %w", c.cfg.Row.Kind, key, err)
	}
	if removed {
		c.room.Free(name)
		klog.FromContext(ctx).V(4).Info("Deleted a copy on the host", "kind", c.cfg.Row.Kind, "virtualObject", key)
	}
	return nil
}
