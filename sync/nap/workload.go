// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nap

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/marks"
)

// Workload is the StatefulSet or Deployment that porticod runs in.
type Workload struct {
	Host            kubernetes.Interface
	Namespace, Name string
	// Deployment says that it is one, and no StatefulSet.
	Deployment bool
}

// seen is a workload as it was read.
type seen struct {
	metav1.Object
	replicas int32
}

func (s seen) rest() marks.Rest { return marks.RestOf(s.GetAnnotations(), s.replicas) }

// Check returns an error if there is no such workload of this cluster, or if it
// may not be read.
func (w Workload) Check(ctx context.Context) error {
	s, err := w.get(ctx)
	if err != nil {
		return err
	}
	if s.GetLabels()[rewrite.LabelCluster] != w.Name {
		return fmt.Errorf("%s is not of this virtual cluster: it has no label %s=%s", w, rewrite.LabelCluster, w.Name)
	}
	return nil
}

// String is for errors and logs.
func (w Workload) String() string {
	kind := "StatefulSet"
	if w.Deployment {
		kind = "Deployment"
	}
	return fmt.Sprintf("%s %s/%s of the host", kind, w.Namespace, w.Name)
}

func (w Workload) get(ctx context.Context) (seen, error) {
	if w.Deployment {
		d, err := w.Host.AppsV1().Deployments(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
		if err != nil {
			return seen{}, fmt.Errorf("get %s: %w", w, err)
		}
		return seen{d, ptr.Deref(d.Spec.Replicas, 1)}, nil
	}
	s, err := w.Host.AppsV1().StatefulSets(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
	if err != nil {
		return seen{}, fmt.Errorf("get %s: %w", w, err)
	}
	return seen{s, ptr.Deref(s.Spec.Replicas, 1)}, nil
}

func (w Workload) patch(ctx context.Context, body []byte) error {
	var err error
	if w.Deployment {
		_, err = w.Host.AppsV1().Deployments(w.Namespace).Patch(ctx, w.Name, types.MergePatchType, body, metav1.PatchOptions{})
	} else {
		_, err = w.Host.AppsV1().StatefulSets(w.Namespace).Patch(ctx, w.Name, types.MergePatchType, body, metav1.PatchOptions{})
	}
	if err != nil {
		return fmt.Errorf("patch %s: %w", w, err)
	}
	return nil
}
