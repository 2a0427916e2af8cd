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
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/queue"
	"portico.dev/portico/sync/internal/room"
)

// PushConfig is what a Pusher needs.
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
	cfg           PushConfig
	view          informers.SharedInformerFactory // of the copies
	virtual, host cache.Store
	synced        []cache.InformerSynced
	queue         *queue.Queue[string] // names of virtual classes
	room          *room.Room
}

const (
	// maxClasses bounds what a cluster has outside of its host namespace, where no quota of the host does.
	maxClasses = 100
	// whenFull is how long a class waits for room before it is looked at again.
	whenFull = time.Minute
)

// errFull is returned for a class that there is no room for on the host. A pod that names it is refused.
type errFull struct{ most int }

func (e errFull) Error() string {
	return fmt.Sprintf("the host has %d priority classes of this cluster, which is the most that it can have", e.most)
}

// Is says that to a pod this is a class that does not exist.
func (e errFull) Is(target error) bool { return target == rewrite.ErrNoClass }

// NewPusher returns a Pusher. It registers with the virtual informers, so it must be called before they are relied on.
func NewPusher(cfg PushConfig) (*Pusher, error) {
	p := &Pusher{cfg: cfg}
	p.queue = queue.New("pushed-priority-classes", nil, p.reconcile)
	p.view = informers.NewSharedInformerFactoryWithOptions(cfg.Host, 0,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = cfg.Translator.ClusterScope().String() }))
	virtual, host := cfg.Informers.Scheduling().V1().PriorityClasses().Informer(), p.view.Scheduling().V1().PriorityClasses().Informer()
	p.virtual, p.host = virtual.GetStore(), host.GetStore()
	p.room = room.New(maxClasses, p.host.ListKeys) // keys of cluster-wide objects are their names
	for informer, nameOf := range map[cache.SharedIndexInformer]func(*schedulingv1.PriorityClass) (string, bool){
		virtual: func(class *schedulingv1.PriorityClass) (string, bool) { return class.Name, true },
		host:    cfg.Translator.PushedClass, // leftovers too: their virtual class may have gone while nobody watched
	} {
		events, err := informer.AddEventHandler(p.handler(nameOf))
		if err != nil {
			return nil, fmt.Errorf("listen to priority classes: %w", err)
		}
		p.synced = append(p.synced, events.HasSynced)
	}
	return p, nil
}

func (p *Pusher) handler(nameOf func(*schedulingv1.PriorityClass) (string, bool)) cache.ResourceEventHandler {
	enqueue := func(obj any) {
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		if class, ok := obj.(*schedulingv1.PriorityClass); ok {
			if name, ours := nameOf(class); ours {
				p.queue.Add(name)
			}
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: enqueue, UpdateFunc: func(_, obj any) { enqueue(obj) }, DeleteFunc: enqueue}
}

// Observe watches the copies until ctx ends, on every replica. Run needs it; Of works without, but asks the host each time.
func (p *Pusher) Observe(ctx context.Context) error {
	p.view.Start(ctx.Done())
	<-ctx.Done()
	p.view.Shutdown()
	return nil
}

// Run keeps the copies in step until ctx ends. Of several replicas one does.
func (p *Pusher) Run(ctx context.Context) error {
	p.cfg.Informers.Start(ctx.Done())
	if cache.WaitForCacheSync(ctx.Done(), p.synced...) {
		p.queue.Run(ctx, workers)
	}
	return nil
}

// Of returns the class of a new pod if the host has a copy of it, which is made first if need be. A class that is the system's or
// the host's own has none. The error is rewrite.ErrNoClass when the class has gone.
func (p *Pusher) Of(ctx context.Context, pod *corev1.Pod) (string, error) {
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
	return name, p.push(ctx, p.cfg.Host, class)
}

// reconcile brings the copy of one class in step. That a class has gone is not believed of the informer: a pod that is on its way may
// have pushed what the informer has not heard of.
func (p *Pusher) reconcile(ctx context.Context, name string) (time.Duration, error) {
	class, exists, err := find[*schedulingv1.PriorityClass](ctx, p.virtual, p.cfg.Virtual.SchedulingV1().PriorityClasses(), name)
	switch {
	case err != nil:
		return 0, fmt.Errorf("get virtual priority class %q: %w", name, err)
	case !exists || mirrored(class):
		return 0, p.remove(ctx, p.cfg.Translator.ClusterName(name))
	case rewrite.ReservedClass(name):
		return 0, nil
	}
	err = p.push(ctx, p.cfg.Leader, class)
	if full := (errFull{}); errors.As(err, &full) {
		klog.FromContext(ctx).Info("Priority class is not pushed", "virtualClass", name, "err", err)
		return whenFull, nil
	}
	return 0, err
}

func (p *Pusher) push(ctx context.Context, writer kubernetes.Interface, class *schedulingv1.PriorityClass) error {
	want, err := p.cfg.Translator.PriorityClassToHost(class, p.cfg.MaxValue)
	if err != nil {
		return err
	}
	if seen, ok := get[*schedulingv1.PriorityClass](p.host, want.Name); ok && inStep(want, seen) {
		return nil
	}
	if !p.room.Take(want.Name) {
		return fmt.Errorf("push priority class %q: %w", class.Name, errFull{p.room.Most()})
	}
	client := writer.SchedulingV1().PriorityClasses()
	_, err = client.Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		err = p.correct(ctx, writer, want)
	}
	if err != nil {
		p.room.Free(want.Name)
		return fmt.Errorf("push priority class %q: %w", class.Name, err)
	}
	return nil
}

// correct turns the host object under the copy's name into the copy. What the API lets nobody change is made anew; pods keep the
// priority that they were made with.
func (p *Pusher) correct(ctx context.Context, writer kubernetes.Interface, want *schedulingv1.PriorityClass) error {
	client := writer.SchedulingV1().PriorityClasses()
	old, err := client.Get(ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if _, ours := p.cfg.Translator.PushedClass(old); !ours {
		return fmt.Errorf("host priority class %q is somebody else's", want.Name)
	}
	if inStep(want, old) {
		return nil
	}
	if frozenPriority(want, old) {
		next := old.DeepCopy()
		next.Labels, next.Annotations = want.Labels, want.Annotations
		next.Description, next.GlobalDefault = want.Description, false
		_, err := client.Update(ctx, next, metav1.UpdateOptions{})
		return err
	}
	if err := client.Delete(ctx, old.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(old.UID))}); err != nil {
		return err
	}
	_, err = client.Create(ctx, want, metav1.CreateOptions{})
	return err
}

// inStep reports whether a host class is the copy that is wanted.
func inStep(want, have *schedulingv1.PriorityClass) bool {
	return have.DeletionTimestamp == nil && frozenPriority(want, have) && want.Description == have.Description && !have.GlobalDefault &&
		equality.Semantic.DeepEqual(want.Labels, have.Labels) && equality.Semantic.DeepEqual(want.Annotations, have.Annotations)
}

// remove deletes a copy if there is one. What the view has not heard of yet comes back with its event.
func (p *Pusher) remove(ctx context.Context, hostName string) error {
	old, ok := get[*schedulingv1.PriorityClass](p.host, hostName)
	if !ok {
		return nil
	}
	if _, ours := p.cfg.Translator.PushedClass(old); !ours {
		return nil
	}
	err := p.cfg.Leader.SchedulingV1().PriorityClasses().Delete(ctx, hostName, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(old.UID))})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete host priority class %q: %w", hostName, err)
	}
	p.room.Free(hostName)
	klog.FromContext(ctx).V(2).Info("Deleted the copy of a priority class", "hostClass", hostName)
	return nil
}
