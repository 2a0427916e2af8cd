// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package pause

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"

	"portico.dev/portico/rewrite/marks"
)

// Errors of clusters that do not go to sleep.
var (
	// ErrSleepless is returned for a cluster whose porticod does not do it.
	ErrSleepless = errors.New("the virtual cluster does not go to sleep")
	// ErrRefused is returned with the reason of porticod.
	ErrRefused = errors.New("the virtual cluster does not go to sleep now")
)

// attempts are made when others write a workload at the same time.
const attempts = 5

// Sleep asks the cluster to go to sleep, and waits until it does. It does so by
// itself because it alone knows when it has to wake.
func (c Cluster) Sleep(ctx context.Context, now time.Time) error {
	w, err := c.door(ctx)
	if err != nil {
		return err
	}
	if a := w.meta.GetAnnotations(); a[marks.AnnotationSleep] == "" && a[marks.AnnotationSleepSchedule] == "" {
		return ErrSleepless
	}
	c.report("asking the control plane to end")
	if err := w.mark(ctx, map[string]any{marks.AnnotationSleepRequested: now.UTC().Format(time.RFC3339)}); err != nil {
		return err
	}
	return wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		w, err := c.door(ctx)
		if err != nil {
			return false, err
		}
		answer, refused := strings.CutPrefix(w.meta.GetAnnotations()[marks.AnnotationSleepRequested], marks.SleepRefused)
		if refused {
			return false, fmt.Errorf("%w: %s", ErrRefused, answer)
		}
		return !w.rest().Sleeping.IsZero(), nil
	})
}

// Wake starts the control plane of a cluster that sleeps. It returns when the
// host has the request. A cluster that does not sleep is left alone.
func (c Cluster) Wake(ctx context.Context, now time.Time) error {
	for range attempts {
		w, err := c.door(ctx)
		if err != nil {
			return err
		}
		if w.rest().Sleeping.IsZero() {
			return nil
		}
		c.report("starting the control plane")
		body, err := marks.WakePatch(w.meta.GetResourceVersion(), w.meta.GetAnnotations(), now, marks.WokenByHand)
		if err != nil {
			return err
		}
		if err = w.patch(ctx, w.meta.GetName(), body); !apierrors.IsConflict(err) {
			return err
		}
	}
	return fmt.Errorf("wake virtual cluster %s: others wrote its workload %d times meanwhile", c.Name, attempts)
}

// Mark writes an annotation of the workload that porticod runs in; nil removes it.
func (c Cluster) Mark(ctx context.Context, key string, value any) error {
	w, err := c.door(ctx)
	if err != nil {
		return err
	}
	return w.mark(ctx, map[string]any{key: value})
}

// door returns the workload that porticod runs in.
func (c Cluster) door(ctx context.Context) (workload, error) {
	all, err := c.workloads(ctx)
	if err != nil {
		return workload{}, err
	}
	for _, w := range all {
		if w.meta.GetName() == c.Name {
			return w, nil
		}
	}
	return workload{}, fmt.Errorf("%w: none in namespace %s is named %s", ErrNoWorkload, c.Namespace, c.Name)
}

func (w workload) rest() marks.Rest { return marks.RestOf(w.meta.GetAnnotations(), w.replicas) }

func (w workload) mark(ctx context.Context, annotations map[string]any) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err == nil {
		err = w.patch(ctx, w.meta.GetName(), body)
	}
	if err != nil {
		return fmt.Errorf("annotate %s %s: %w", w.kind, w.meta.GetName(), err)
	}
	return nil
}
