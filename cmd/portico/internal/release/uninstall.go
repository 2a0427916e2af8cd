// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"fmt"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"

	"portico.dev/portico/cmd/portico/internal/output"
)

// Uninstall removes the objects of a release, and keeps its record, so that an
// interruption before Forget leaves a trace. It returns the values that the
// release had, and whether there was one. Hooks are left out: the caller does
// the work of porticod's hook itself, and needs no image for it.
func (c *Client) Uninstall(ctx context.Context, name string, timeout time.Duration) (values map[string]any, there bool, err error) {
	history, err := c.settled(ctx, name)
	newest := last(history)
	if err != nil || newest == nil {
		return nil, false, err
	}
	if newest.Info.Status == common.StatusUninstalled {
		return newest.Config, true, nil
	}
	u := action.NewUninstall(c.Config)
	u.WaitStrategy, u.Timeout = kube.HookOnlyStrategy, timeout
	u.KeepHistory, u.DisableHooks = true, true
	if _, err := u.Run(name); err != nil {
		err = fmt.Errorf("uninstall the Helm release %s/%s: %w", c.Namespace, name, err)
		return nil, true, output.WithHint(err, "the same command goes on from here")
	}
	return newest.Config, true, nil
}

// Forget removes the records of a release that was uninstalled.
func (c *Client) Forget(name string) error {
	u := action.NewUninstall(c.Config)
	u.WaitStrategy, u.IgnoreNotFound = kube.HookOnlyStrategy, true
	if _, err := u.Run(name); err != nil {
		return fmt.Errorf("remove the records of the Helm release %s/%s: %w", c.Namespace, name, err)
	}
	return nil
}
