// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"

	"portico.dev/portico/cmd/porticod/rights"
	"portico.dev/portico/proxy/activity"
	"portico.dev/portico/sync/nap"
)

// workload is the one that the chart makes, which porticod runs in.
func (vc *virtualCluster) workload() nap.Workload {
	return nap.Workload{
		Host: vc.hostClient, Namespace: vc.config.Host.Namespace, Name: vc.config.Name,
		Deployment: rights.WorkloadResource(vc.config) == "deployments",
	}
}

// checkSleep reports at the start that there is nothing to be scaled: a porticod
// that somebody else started would be left without a way back.
func (vc *virtualCluster) checkSleep(ctx context.Context) error {
	if !vc.config.Sleep.Sleeps() {
		return nil
	}
	if err := vc.workload().Check(ctx); err != nil {
		return withHint(fmt.Errorf("sleep: %w", err),
			"porticod has to be a pod of the workload that the chart makes, with the Role that porticod rights prints; elsewhere leave sleep.afterInactivity and sleep.schedule out")
	}
	return nil
}

// sleepPart notes who uses the cluster, and puts it to sleep when nobody does.
func (c *composition) sleepPart() (part, error) {
	cfg := c.config.Sleep
	if !cfg.Sleeps() {
		return part{}, nil
	}
	users := activity.NewRecorder(activity.Judge{IgnoredAgents: cfg.IgnoredAgents, PodsKeepAwake: cfg.PodsKeepAwake}, nil)
	c.storage.Around = users.Wrap
	nc := nap.Config{Workload: c.workload(), After: cfg.After(), Last: users.Last, Due: c.due, Informers: c.shared}
	// A nil pointer in an interface is not nil.
	sleep, wakeUp := cfg.Calendars()
	if sleep != nil {
		nc.Sleep = sleep
	}
	if wakeUp != nil {
		nc.WakeUp = wakeUp
	}
	sleeper := nap.New(nc)
	return part{always: sleeper.Observe, leading: sleeper.Run}, nil
}
