// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/sync/pause"
)

// stoppable returns why the control plane of a cluster cannot be ended, for it to
// be paused or restored.
func (c *Cluster) stoppable(done string) error {
	switch c.State {
	case Scaled:
		return output.WithHint(fmt.Errorf("virtual cluster %s: somebody has scaled its %s %s/%s to 0", c.Name, c.Kind, c.Namespace, c.Name),
			"scale it up first, so that there is a number to come back to")
	case Incomplete, Deleting:
		return fmt.Errorf("virtual cluster %s: it cannot be %s while it is %s", c.Name, done, c.State)
	}
	return nil
}

// Pause takes a cluster off its host. Called again, it goes on.
func Pause(ctx context.Context, client kubernetes.Interface, c *Cluster, report func(string)) error {
	if err := c.stoppable("paused"); err != nil {
		return err
	}
	return pause.Cluster{Host: client, Namespace: c.Namespace, Name: c.Name, Report: report}.Pause(ctx)
}

// Resume brings a cluster back that was paused. Called again, it goes on; a
// cluster that runs stays as it is.
func Resume(ctx context.Context, client kubernetes.Interface, c *Cluster, report func(string)) error {
	switch c.State {
	case Scaled:
		return output.WithHint(fmt.Errorf("virtual cluster %s: it was not paused: somebody has scaled its %s %s/%s to 0", c.Name, c.Kind, c.Namespace, c.Name),
			"kubectl scale %s/%s -n %s --replicas=1 starts it", c.Kind, c.Name, c.Namespace)
	case Incomplete, Deleting:
		return fmt.Errorf("virtual cluster %s: it cannot be resumed while it is %s", c.Name, c.State)
	}
	return pause.Cluster{Host: client, Namespace: c.Namespace, Name: c.Name, Report: report}.Resume(ctx)
}

// Sleep ends the control plane of a cluster until a client comes.
func Sleep(ctx context.Context, client kubernetes.Interface, c *Cluster, report func(string)) error {
	switch c.State {
	case Sleeping:
		return nil
	case Running:
	default:
		return output.WithHint(fmt.Errorf("virtual cluster %s: it cannot go to sleep while it is %s", c.Name, c.State), "portico status %s -n %s says why", c.Name, c.Namespace)
	}
	err := pause.Cluster{Host: client, Namespace: c.Namespace, Name: c.Name, Report: report}.Sleep(ctx, time.Now())
	if errors.Is(err, pause.ErrSleepless) {
		return output.WithHint(fmt.Errorf("virtual cluster %s: sleep.afterInactivity and sleep.schedule are not set, so it never sleeps", c.Name),
			"portico upgrade %s -n %s --set sleep.afterInactivity=30m --set coredns.mode=deployment; portico pause takes its pods off the host, too", c.Name, c.Namespace)
	}
	if err != nil {
		return fmt.Errorf("virtual cluster %s: %w", c.Name, err)
	}
	return nil
}

// Wake starts the control plane of a cluster that sleeps. One that runs stays as
// it is, and a person's pause is for Resume to end.
func Wake(ctx context.Context, client kubernetes.Interface, c *Cluster) error {
	switch c.State {
	case Sleeping:
		return controlPlane(client, c).Wake(ctx, time.Now())
	case Paused:
		return output.WithHint(fmt.Errorf("virtual cluster %s is paused", c.Name), "portico resume %s -n %s brings it back", c.Name, c.Namespace)
	case Scaled, Incomplete, Deleting:
		return fmt.Errorf("virtual cluster %s: it does not sleep, it is %s", c.Name, c.State)
	}
	return nil
}

func controlPlane(client kubernetes.Interface, c *Cluster) pause.Cluster {
	return pause.Cluster{Host: client, Namespace: c.Namespace, Name: c.Name}
}
