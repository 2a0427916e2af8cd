// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"

	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/rewrite"
)

// maxHistory is the number of records that are kept.
const maxHistory = 10

// Request describes a release to be.
type Request struct {
	Name string
	// Values are those that were named this time.
	Values map[string]any
	// Change allows a change of a release that is there.
	Change bool
	// Timeout bounds each hook.
	Timeout time.Duration
}

// Outcome is how a release came to be as requested.
type Outcome string

// The outcomes.
const (
	Unchanged Outcome = "unchanged"
	Installed Outcome = "installed"
	Finished  Outcome = "finished" // the interrupted or failed action
	Changed   Outcome = "changed"
)

// Apply makes a release as requested: it installs it, or finishes an
// interrupted installation, or changes it. The objects are applied, and not
// waited for.
func (c *Client) Apply(ctx context.Context, r Request) (Outcome, error) {
	history, err := c.settled(ctx, r.Name)
	if err != nil {
		return "", err
	}
	newest, deployed := last(history), Deployed(history)
	switch {
	case newest == nil:
		return Installed, c.install(ctx, r, false)
	case newest.Info.Status == common.StatusUninstalling || newest.Info.Status == common.StatusUninstalled:
		return "", output.WithHint(fmt.Errorf("virtual cluster %s: its deletion was begun", r.Name),
			"portico delete %s -n %s finishes that, and then it can be created again", r.Name, c.Namespace)
	case deployed == nil:
		// It has never been there as a whole: its former values do not bind.
		return Finished, c.install(ctx, r, true)
	}
	changes := Diff(deployed.Config, Merge(r.Values, deployed.Config))
	if len(changes) > 0 && !r.Change {
		return "", output.WithHint(fmt.Errorf("virtual cluster %s exists with other values:\n%s", r.Name, list(changes)),
			"--upgrade changes them, and keeps all others")
	}
	if !r.Change && newest == deployed {
		return Unchanged, nil
	}
	outcome := Changed
	if newest != deployed {
		outcome = Finished
	}
	return outcome, c.upgrade(ctx, r)
}

func (c *Client) install(ctx context.Context, r Request, replace bool) error {
	i := action.NewInstall(c.Config)
	i.ReleaseName, i.Namespace = r.Name, c.Namespace
	i.WaitStrategy, i.Timeout = kube.HookOnlyStrategy, r.Timeout
	i.Replace, i.ForceConflicts = replace, true
	i.Labels = map[string]string{rewrite.LabelCluster: r.Name, LabelHolder: holder()}
	_, err := i.RunWithContext(ctx, c.Chart, r.Values)
	return c.explained(r.Name, err)
}

func (c *Client) upgrade(ctx context.Context, r Request) error {
	u := action.NewUpgrade(c.Config)
	u.Namespace, u.MaxHistory = c.Namespace, maxHistory
	u.WaitStrategy, u.Timeout = kube.HookOnlyStrategy, r.Timeout
	u.ResetThenReuseValues = true
	// The number of replicas was ours while the cluster was paused.
	u.ForceConflicts = true
	u.Labels = map[string]string{rewrite.LabelCluster: r.Name, LabelHolder: holder()}
	_, err := u.RunWithContext(ctx, r.Name, c.Chart, r.Values)
	return c.explained(r.Name, err)
}

// explained adds a remedy to an error of Helm's.
func (c *Client) explained(name string, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	err = fmt.Errorf("install the chart of %s into the host namespace %s: %w", name, c.Namespace, err)
	switch {
	case strings.Contains(text, "values don't meet the specifications of the schema"):
		return output.WithHint(err, "portico convert FILE shows the keys that there are")
	case strings.Contains(text, "invalid ownership metadata"):
		return output.WithHint(err, "something else has made an object of this name: choose another name, or another namespace with -n")
	case strings.Contains(text, "forbidden"):
		return output.WithHint(err, "portico doctor lists the rights that this needs")
	}
	return err
}

func list(changes []Change) string {
	var lines []string
	for _, c := range changes {
		lines = append(lines, "  "+c.String())
	}
	return strings.Join(lines, "\n")
}
