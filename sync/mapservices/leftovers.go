// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mapservices

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/queue"
)

// leftovers removes, once at a start, the Services of mappings that are no
// more. The configuration does not change while the process runs.
type leftovers struct {
	cfg   *Config
	queue *queue.Queue[side]
}

// side is where leftovers are removed.
type side string

const (
	virtualSide side = "virtual"
	hostSide    side = "host"
)

func newLeftovers(cfg *Config) *leftovers {
	l := &leftovers{cfg: cfg}
	l.queue = queue.New("mapservices-leftovers", cfg.Clock, l.remove)
	return l
}

func (l *leftovers) run(ctx context.Context) {
	l.queue.Add(virtualSide)
	l.queue.Add(hostSide)
	l.queue.Run(ctx, 1)
}

func (l *leftovers) remove(ctx context.Context, s side) (time.Duration, error) {
	if s == virtualSide {
		return 0, l.removeVirtual(ctx)
	}
	return 0, l.removeHost(ctx)
}

func (l *leftovers) removeVirtual(ctx context.Context) error {
	wanted := map[types.NamespacedName]bool{}
	for _, m := range l.cfg.FromHost {
		wanted[m.Virtual] = true
	}
	services := l.cfg.Virtual.CoreV1()
	all, err := services.Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: LabelFromHost + "=true"})
	if err != nil {
		return fmt.Errorf("list mapped Services: %w", err)
	}
	var errs []error
	for i := range all.Items {
		s := &all.Items[i]
		if !wanted[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}] {
			errs = append(errs, remove(ctx, services.Services(s.Namespace), s))
		}
	}
	return errors.Join(errs...)
}

func (l *leftovers) removeHost(ctx context.Context) error {
	wanted := map[string]bool{}
	for _, m := range l.cfg.FromVirtual {
		wanted[m.Host] = true
	}
	ours := labels.Set{rewrite.LabelCluster: l.cfg.Translator.Cluster().Name, hostview.LabelComposed: string(hostview.MappedService)}
	services := l.cfg.Host.CoreV1().Services(l.cfg.Translator.Cluster().HostNamespace)
	all, err := services.List(ctx, metav1.ListOptions{LabelSelector: ours.String()})
	if err != nil {
		return fmt.Errorf("list mapped Services on the host: %w", err)
	}
	var errs []error
	for i := range all.Items {
		if s := &all.Items[i]; !wanted[s.Name] {
			errs = append(errs, remove(ctx, services, s))
		}
	}
	return errors.Join(errs...)
}

// remove deletes the Service that was read, and no other under its name.
func remove(ctx context.Context, client interface {
	Delete(ctx context.Context, name string, o metav1.DeleteOptions) error
}, s *corev1.Service) error {
	err := client.Delete(ctx, s.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(s.UID))})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete mapped Service %s/%s: %w", s.Namespace, s.Name, err)
	}
	return nil
}
