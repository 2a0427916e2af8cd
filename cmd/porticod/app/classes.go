// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"

	"portico.dev/portico/sync/classes"
)

// shownClasses is the part of the configuration that is about the host's
// classes.
func (vc *virtualCluster) shownClasses() (classes.Config, error) {
	from := vc.config.Sync.FromHost
	priority, err := from.PriorityClasses.Shown()
	if err != nil {
		return classes.Config{}, err
	}
	runtime, err := from.RuntimeClasses.Shown()
	if err != nil {
		return classes.Config{}, err
	}
	device, err := from.DeviceClasses.Shown()
	if err != nil {
		return classes.Config{}, err
	}
	return classes.Config{Host: vc.hostClient, PriorityClasses: priority, RuntimeClasses: runtime, DeviceClasses: device}, nil
}

// checkClasses tells at the start what would otherwise only be seen as pods
// that are refused.
func (vc *virtualCluster) checkClasses(ctx context.Context) error {
	c, err := vc.shownClasses()
	if err != nil {
		return err
	}
	if err := classes.CheckAccess(ctx, c); err != nil {
		return withHint(fmt.Errorf("sync.fromHost: %w", err),
			"porticod needs the rule for these classes of the ClusterRole that porticod rights prints, or leave them out of sync.fromHost")
	}
	return nil
}
