// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package pause

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/marks"
)

// workload is a StatefulSet or a Deployment.
type workload struct {
	kind     string
	meta     metav1.Object
	replicas int32
	selector *metav1.LabelSelector
	patch    func(ctx context.Context, name string, body []byte) error
}

// workloads returns all that the host runs as the cluster's control plane: the
// porticods, and the store if it was installed with them.
func (c Cluster) workloads(ctx context.Context) ([]workload, error) {
	options := metav1.ListOptions{LabelSelector: labels.Set{rewrite.LabelCluster: c.Name}.String()}
	sets, deployments := c.Host.AppsV1().StatefulSets(c.Namespace), c.Host.AppsV1().Deployments(c.Namespace)
	var all []workload
	ss, err := sets.List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list StatefulSets of virtual cluster %s: %w", c.Name, err)
	}
	for _, s := range ss.Items {
		all = append(all, workload{"StatefulSet", &s, replicas(s.Spec.Replicas), s.Spec.Selector, func(ctx context.Context, name string, body []byte) error {
			_, err := sets.Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{})
			return err
		}})
	}
	ds, err := deployments.List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list Deployments of virtual cluster %s: %w", c.Name, err)
	}
	for _, d := range ds.Items {
		all = append(all, workload{"Deployment", &d, replicas(d.Spec.Replicas), d.Spec.Selector, func(ctx context.Context, name string, body []byte) error {
			_, err := deployments.Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{})
			return err
		}})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: no StatefulSet or Deployment in namespace %s has the label %s=%s", ErrNoWorkload, c.Namespace, rewrite.LabelCluster, c.Name)
	}
	return all, nil
}

// replicas is the API's default for a field that is not set.
func replicas(set *int32) int32 {
	if set == nil {
		return 1
	}
	return *set
}

// stop scales to nothing and notes from where, in one write. A workload that is
// paused already, or sleeps, keeps its note. A pause ends a sleep.
func (w workload) stop(ctx context.Context) error {
	was := strconv.Itoa(int(max(w.replicas, 1)))
	rest := w.rest()
	if a := w.meta.GetAnnotations(); (rest.Paused || !rest.Sleeping.IsZero()) && a[AnnotationReplicas] != "" {
		was = a[AnnotationReplicas]
	}
	return w.scale(ctx, 0, map[string]any{
		AnnotationPaused: "true", AnnotationReplicas: was,
		marks.AnnotationSleeping: nil, marks.AnnotationWakeAt: nil, marks.AnnotationSleepRequested: nil,
	})
}

// start undoes stop, and ends a sleep. A workload that is neither paused nor
// sleeps is left alone.
func (w workload) start(ctx context.Context) error {
	if rest := w.rest(); !rest.Paused && rest.Sleeping.IsZero() {
		return nil
	}
	return w.scale(ctx, marks.Replicas(w.meta.GetAnnotations()), map[string]any{
		AnnotationPaused: nil, AnnotationReplicas: nil, AnnotationRestoring: nil, marks.AnnotationSleeping: nil, marks.AnnotationWakeAt: nil,
	})
}

func (w workload) scale(ctx context.Context, to int32, annotations map[string]any) error {
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": annotations},
		"spec":     map[string]any{"replicas": to},
	})
	if err == nil {
		err = w.patch(ctx, w.meta.GetName(), body)
	}
	if err != nil {
		return fmt.Errorf("scale %s %s to %d: %w", w.kind, w.meta.GetName(), to, err)
	}
	return nil
}

// stopped waits until no pod of a workload is left.
func (c Cluster) stopped(ctx context.Context, w workload) error {
	selector, err := metav1.LabelSelectorAsSelector(w.selector)
	if err != nil {
		return fmt.Errorf("selector of %s %s: %w", w.kind, w.meta.GetName(), err)
	}
	left := 0
	err = wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		pods, err := c.Host.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
		if err != nil {
			return false, err
		}
		left = len(pods.Items)
		return left == 0, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the end of %d pods of %s %s: %w", left, w.kind, w.meta.GetName(), err)
	}
	return nil
}
