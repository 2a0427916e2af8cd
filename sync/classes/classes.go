// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package classes

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/kinds"
)

// Config says which classes a Mirror reads on the host, and where it shows them.
type Config struct {
	Virtual   kubernetes.Interface
	Informers informers.SharedInformerFactory // of the virtual cluster
	// Host may get, list and watch the classes that are shown: see CheckAccess.
	Host kubernetes.Interface

	// These choose the host's classes that are shown by their labels; nil shows
	// none.
	PriorityClasses, RuntimeClasses, DeviceClasses, StorageClasses, IngressClasses labels.Selector
	// LimitStorage means that claims may name no other storage class of the host
	// than those.
	LimitStorage bool
}

// Mirror keeps virtual classes in step with the host's.
type Mirror struct {
	priority, runtime keeper
	ingress           keeper // for people, and for the default class of an Ingress
	device            *kind[*resourcev1.DeviceClass]
	storage           *kind[*storagev1.StorageClass]
	limitStorage      bool
}

// keeper is a kind[T] of any T.
type keeper interface {
	observed() informers.SharedInformerFactory
	run(ctx context.Context) error
	offers(ctx context.Context, name string) (bool, error)
}

// New returns a Mirror. It registers with the virtual informers, so it must be
// called before they are relied on.
func New(cfg Config) (*Mirror, error) {
	priority, err := newKind(cfg, cfg.PriorityClasses, kinds.PulledPriorityClasses)
	if err != nil {
		return nil, err
	}
	runtime, err := newKind(cfg, cfg.RuntimeClasses, kinds.PulledRuntimeClasses)
	if err != nil {
		return nil, err
	}
	device, err := newKind(cfg, cfg.DeviceClasses, kinds.PulledDeviceClasses)
	if err != nil {
		return nil, err
	}
	storage, err := newKind(cfg, cfg.StorageClasses, kinds.PulledStorageClasses)
	if err != nil {
		return nil, err
	}
	ingress, err := newKind(cfg, cfg.IngressClasses, kinds.PulledIngressClasses)
	if err != nil {
		return nil, err
	}
	return &Mirror{priority: priority, runtime: runtime, ingress: ingress, device: device, storage: storage, limitStorage: cfg.LimitStorage}, nil
}

// Observe watches the host's classes until ctx ends. With several replicas of the
// door every one of them does, because each answers For and ForClaim; one of them
// also runs.
func (m *Mirror) Observe(ctx context.Context) error {
	return hostview.Observe(ctx, m.priority.observed(), m.runtime.observed(), m.device.observed(), m.storage.observed(), m.ingress.observed())
}

// Run brings the virtual classes in step until ctx ends. It needs Observe to run
// as well.
func (m *Mirror) Run(ctx context.Context) error {
	running, ctx := errgroup.WithContext(ctx)
	for _, k := range []keeper{m.priority, m.runtime, m.device, m.storage, m.ingress} {
		running.Go(func() error { return k.run(ctx) })
	}
	return running.Wait()
}

// For returns those classes of a pod that are the host's. It asks the host and the
// virtual cluster for classes that the lists of this replica do not have, and at a
// start it waits for the host's list. The error is rewrite.ErrNoClass when a class
// of the pod has gone.
func (m *Mirror) For(ctx context.Context, pod *corev1.Pod) (of rewrite.HostClasses, err error) {
	if of.Priority, err = ifOffered(ctx, m.priority, pod.Spec.PriorityClassName); err != nil {
		return rewrite.HostClasses{}, err
	}
	if of.Runtime, err = ifOffered(ctx, m.runtime, ptr.Deref(pod.Spec.RuntimeClassName, "")); err != nil {
		return rewrite.HostClasses{}, err
	}
	return of, nil
}

// ForClaim returns those of the device classes of these names that are the
// host's, in the way of For. A class counts even if it is not shown yet: no
// claim can be fixed later.
func (m *Mirror) ForClaim(ctx context.Context, names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		_, own, err := m.device.owned(ctx, name)
		if err != nil {
			return nil, err
		}
		offered, err := m.device.onHost(ctx, name)
		if err != nil {
			return nil, err
		}
		if offered && !own {
			out = append(out, name)
		}
	}
	return out, nil
}

// MayHaveStorage reports whether a claim may name a storage class of that name,
// which counts on the host, with any classes shown or made inside. A class that
// the host does not have is only a name: it may be that of volumes that are
// there. Where classes are shown, the copy of a class of some cluster's is for the
// claims of that cluster, which the translation gives its name; without, the host
// is not asked.
func (m *Mirror) MayHaveStorage(ctx context.Context, name string) (bool, error) {
	if name == "" {
		return true, nil
	}
	return m.storage.mayName(ctx, name, m.limitStorage)
}

func ifOffered(ctx context.Context, k keeper, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	offered, err := k.offers(ctx, name)
	if !offered {
		name = ""
	}
	return name, err
}

// CheckAccess asks the host for the classes that are to be shown as a Mirror
// does, and returns the host's refusals.
func CheckAccess(ctx context.Context, cfg Config) error {
	var errs []error
	check := func(what string, shown labels.Selector, list func() error, open func() (watch.Interface, error)) {
		if shown == nil {
			return
		}
		if err := list(); err != nil {
			errs = append(errs, fmt.Errorf("list the host's %s: %w", what, err))
			return
		}
		changes, err := open()
		if err != nil {
			errs = append(errs, fmt.Errorf("watch the host's %s: %w", what, err))
			return
		}
		changes.Stop()
	}
	one := metav1.ListOptions{Limit: 1}
	priority, runtime, device := cfg.Host.SchedulingV1().PriorityClasses(), cfg.Host.NodeV1().RuntimeClasses(), cfg.Host.ResourceV1().DeviceClasses()
	check("priority classes", cfg.PriorityClasses,
		func() error { _, err := priority.List(ctx, one); return err },
		func() (watch.Interface, error) { return priority.Watch(ctx, metav1.ListOptions{}) })
	check("runtime classes", cfg.RuntimeClasses,
		func() error { _, err := runtime.List(ctx, one); return err },
		func() (watch.Interface, error) { return runtime.Watch(ctx, metav1.ListOptions{}) })
	check("device classes", cfg.DeviceClasses,
		func() error { _, err := device.List(ctx, one); return err },
		func() (watch.Interface, error) { return device.Watch(ctx, metav1.ListOptions{}) })
	storage := cfg.Host.StorageV1().StorageClasses()
	check("storage classes", cfg.StorageClasses,
		func() error { _, err := storage.List(ctx, one); return err },
		func() (watch.Interface, error) { return storage.Watch(ctx, metav1.ListOptions{}) })
	ingress := cfg.Host.NetworkingV1().IngressClasses()
	check("ingress classes", cfg.IngressClasses,
		func() error { _, err := ingress.List(ctx, one); return err },
		func() (watch.Interface, error) { return ingress.Watch(ctx, metav1.ListOptions{}) })
	return errors.Join(errs...)
}
