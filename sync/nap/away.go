// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nap

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite/marks"
)

// Pods takes the pods of a cluster off its host and brings them back. Either can
// be cut off at any point, and called again.
type Pods interface {
	// Leave returns when the last pod is gone.
	Leave(ctx context.Context) error
	// Return does not wait until pods run.
	Return(ctx context.Context) error
}

// Errors that end a control plane.
var (
	// ErrLeaves is returned by Run: everything of the cluster has to end, and then
	// Leave is to be called.
	ErrLeaves = errors.New("the virtual cluster goes to sleep, and its pods leave the host")
	// ErrWoken is returned by Leave: the process is to be started again.
	ErrWoken = errors.New("the virtual cluster was woken while its pods left the host")
)

const (
	// glance is how often Leave looks whether somebody has woken the cluster.
	glance = time.Second
	// returnLimit bounds the wait for pods of the same names to end. A cluster
	// starts without those that still keep a name; they stay written down.
	returnLimit = 2 * time.Minute
)

// Away is a workload whose pods leave the host in its sleep. It works before the
// control plane starts and after it has ended, so that no controller of the
// cluster sees a pod go.
type Away struct {
	Workload Workload
	Pods     Pods
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Arrive is called before a control plane starts. It goes on with a sleep that was
// cut off, and then returns false when ctx ends; or it brings the pods back. It
// does not matter whether pods leave the host in the next sleep.
func (a Away) Arrive(ctx context.Context) (awake bool, err error) {
	w, err := a.Workload.get(ctx)
	if err != nil {
		return false, err
	}
	if w.GetAnnotations()[marks.AnnotationWorkloads] == "" {
		return true, nil
	}
	if w.rest().Leaving || w.replicas == 0 {
		return false, a.Leave(ctx)
	}
	klog.FromContext(ctx).Info("Brings pods back after a sleep")
	limited, cancel := context.WithTimeout(ctx, returnLimit)
	defer cancel()
	if err := a.Pods.Return(limited); err != nil {
		if ctx.Err() != nil {
			return false, nil
		}
		klog.FromContext(ctx).Error(err, "Pods that left the host did not all come back, and are tried again at the next start")
		return true, nil
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{marks.AnnotationWorkloads: nil}}})
	if err != nil {
		return false, err
	}
	return true, a.Workload.patch(ctx, body)
}

// Leave takes the pods off the host, scales the workload to 0, and waits for the
// end that this is. It is called when the control plane has ended.
func (a Away) Leave(ctx context.Context) error {
	for ctx.Err() == nil {
		w, err := a.Workload.get(ctx)
		switch {
		case err != nil:
			return ignoreEnd(ctx, err)
		case w.replicas == 0: // The end comes, ours or that of a pause.
			<-ctx.Done()
			return nil
		case !w.rest().Leaving:
			return ErrWoken
		}
		klog.FromContext(ctx).Info("Takes pods off the host for a sleep")
		if err := a.leave(ctx); err != nil {
			return ignoreEnd(ctx, err)
		}
		if w, err = a.Workload.get(ctx); err != nil || !w.rest().Leaving {
			continue
		}
		body, err := marks.AwayPatch(w.GetResourceVersion())
		if err != nil {
			return err
		}
		if err := a.Workload.patch(ctx, body); err != nil && !apierrors.IsConflict(err) {
			return ignoreEnd(ctx, err)
		}
	}
	return nil
}

// leave takes the pods off the host, unless somebody wakes the cluster meanwhile:
// then it returns at once, without an error.
func (a Away) leave(ctx context.Context) error {
	c := a.Clock
	if c == nil {
		c = clock.RealClock{}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	gone := make(chan error, 1)
	go func() { gone <- a.Pods.Leave(ctx) }()
	ticker := c.NewTicker(glance)
	defer ticker.Stop()
	for {
		select {
		case err := <-gone:
			return err
		case <-ticker.C():
		}
		if w, err := a.Workload.get(ctx); err == nil && !w.rest().Leaving {
			cancel()
			<-gone //nolint:errcheck // It was cut off.
			return nil
		}
	}
}

// ignoreEnd drops errors that only say that the process is to stop.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
