// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/cmd/portico/internal/output"
)

// Pause scales the workload to nothing and notes, in the same request, by whom
// it was and what to come back with. A paused cluster stays as it is.
func Pause(ctx context.Context, client kubernetes.Interface, c *Cluster, now time.Time) error {
	switch c.State {
	case Paused:
		return nil
	case Scaled:
		return output.WithHint(fmt.Errorf("virtual cluster %s: somebody has scaled its %s %s/%s to 0", c.Name, c.Kind, c.Namespace, c.Name),
			"scale it up first, so that there is a number to come back to")
	case Incomplete, Deleting:
		return fmt.Errorf("virtual cluster %s: it cannot be paused while it is %s", c.Name, c.State)
	}
	return patch(ctx, client, c, 0, map[string]any{
		AnnotationPaused: "true", AnnotationReplicas: strconv.Itoa(int(c.Replicas)), AnnotationPausedAt: now.UTC().Format(time.RFC3339),
	})
}

// Resume scales the workload to what it was and takes the note away. A cluster
// that runs stays as it is.
func Resume(ctx context.Context, client kubernetes.Interface, c *Cluster) error {
	switch c.State {
	case Paused:
		return patch(ctx, client, c, c.PausedReplicas, map[string]any{
			AnnotationPaused: nil, AnnotationReplicas: nil, AnnotationPausedAt: nil,
		})
	case Scaled:
		return output.WithHint(fmt.Errorf("virtual cluster %s: it was not paused: somebody has scaled its %s %s/%s to 0", c.Name, c.Kind, c.Namespace, c.Name),
			"kubectl scale %s/%s -n %s --replicas=1 starts it", c.Kind, c.Name, c.Namespace)
	case Incomplete, Deleting:
		return fmt.Errorf("virtual cluster %s: it cannot be resumed while it is %s", c.Name, c.State)
	}
	return nil
}

func patch(ctx context.Context, client kubernetes.Interface, c *Cluster, replicas int32, annotations map[string]any) error {
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": annotations}, "spec": map[string]any{"replicas": replicas},
	})
	if err != nil {
		return err
	}
	options := metav1.PatchOptions{FieldManager: "portico-cli"}
	if c.Kind == Deployment {
		_, err = client.AppsV1().Deployments(c.Namespace).Patch(ctx, c.Name, types.MergePatchType, body, options)
	} else {
		_, err = client.AppsV1().StatefulSets(c.Namespace).Patch(ctx, c.Name, types.MergePatchType, body, options)
	}
	if err != nil {
		return fmt.Errorf("scale the %s %s/%s: %w", c.Kind, c.Namespace, c.Name, err)
	}
	return nil
}
