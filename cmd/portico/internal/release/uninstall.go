// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"fmt"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"

	"portico.dev/portico/cmd/portico/internal/output"
)

// Uninstall removes a release and all its records, and reports whether there
// was one. Without hooks, nothing on the host is cleaned up by porticod: that is
// for a cluster that has never run.
func (c *Client) Uninstall(ctx context.Context, name string, hooks bool, timeout time.Duration) (bool, error) {
	history, err := c.settled(ctx, name)
	if err != nil || len(history) == 0 {
		return false, err
	}
	u := action.NewUninstall(c.Config)
	u.WaitStrategy, u.Timeout = kube.HookOnlyStrategy, timeout
	u.IgnoreNotFound, u.DisableHooks = true, !hooks
	if _, err := u.Run(name); err != nil {
		err = fmt.Errorf("uninstall the Helm release %s/%s: %w", c.Namespace, name, err)
		return true, output.WithHint(err, "the same command goes on from here; kubectl get jobs,pods -n %s shows what is in the way", c.Namespace)
	}
	return true, nil
}
