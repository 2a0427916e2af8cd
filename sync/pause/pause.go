// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package pause

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/marks"
)

// Annotations of the workload that is the control plane of a cluster.
const (
	// AnnotationPaused is "true" from the beginning of a pause to the end of it.
	AnnotationPaused = marks.AnnotationPaused
	// AnnotationReplicas is the number of replicas to go back to.
	AnnotationReplicas = marks.AnnotationReplicas
	// AnnotationRestoring is there while the data of a cluster are replaced, and
	// says how the cluster was before.
	AnnotationRestoring = rewrite.Prefix + "restoring"
)

// poll is the time between two looks at objects on their way out.
const poll = 500 * time.Millisecond

// Cluster is a virtual cluster as the host sees it.
type Cluster struct {
	// Host needs the rights to change StatefulSets and Deployments, to delete,
	// patch and create pods, and to write Secrets in the namespace.
	Host kubernetes.Interface
	// Namespace is the host namespace.
	Namespace string
	// Name of the virtual cluster.
	Name string
	// Stays, if set, returns the pods that remain where they are.
	Stays func(host *corev1.Pod) bool
	// Report, if set, is called with each step, in words.
	Report func(step string)
}

// ErrNoWorkload is returned for a cluster whose control plane is no StatefulSet
// and no Deployment of the host, but a process that somebody else started.
var ErrNoWorkload = errors.New("the host runs no control plane of this virtual cluster")

// Pause ends the control plane, and removes the cluster's pods from the host
// when it is gone. It returns when the last of them is gone.
func (c Cluster) Pause(ctx context.Context) error {
	if err := c.Stop(ctx); err != nil {
		return err
	}
	c.report("removing pods")
	return c.removePods(ctx)
}

// Leave removes the cluster's pods from the host, for a control plane that does it
// itself when all but this has ended. It returns when the last of them is gone.
func (c Cluster) Leave(ctx context.Context) error { return c.removePods(ctx) }

// Return makes the pods again that Leave has written down, before the control
// plane starts. A pod that the host refuses stays written down.
func (c Cluster) Return(ctx context.Context) error { return c.restorePods(ctx) }

// Stop ends the control plane alone, and returns when the last of its pods is
// gone. The cluster's pods run on.
func (c Cluster) Stop(ctx context.Context) error {
	workloads, err := c.workloads(ctx)
	if err != nil {
		return err
	}
	c.report("stopping the control plane")
	for _, w := range workloads {
		if err := w.stop(ctx); err != nil {
			return err
		}
	}
	for _, w := range workloads {
		if err := c.stopped(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// Resume makes the pods again that nothing else would make, and starts the
// control plane. It returns when the host has the request, not when the cluster
// serves. A pod that the host refuses stays written down for the next call, and
// does not keep the cluster from starting: the error says which.
func (c Cluster) Resume(ctx context.Context) error {
	workloads, err := c.workloads(ctx)
	if err != nil {
		return err
	}
	c.report("making pods again")
	refused := c.restorePods(ctx)
	if ctx.Err() != nil {
		return refused
	}
	return errors.Join(refused, c.start(ctx, workloads))
}

// Start undoes Stop.
func (c Cluster) Start(ctx context.Context) error {
	workloads, err := c.workloads(ctx)
	if err != nil {
		return err
	}
	return c.start(ctx, workloads)
}

func (c Cluster) start(ctx context.Context, workloads []workload) error {
	c.report("starting the control plane")
	for _, w := range workloads {
		if err := w.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c Cluster) report(step string) {
	if c.Report != nil {
		c.Report(step)
	}
}
