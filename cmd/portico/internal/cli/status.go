// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/output"
)

func (a *app) newStatus() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "status NAME",
		Short: "Say in a few lines how a virtual cluster is",
		Args:  oneName,
		RunE: func(c *cobra.Command, args []string) error {
			return a.show(c, args[0], format, func(o *overview) error { return a.printStatus(o) })
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "", "json or yaml")
	return c
}

func (a *app) newDescribe() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "describe NAME",
		Short: "Show everything of a virtual cluster: pods, values, warnings",
		Args:  oneName,
		RunE: func(c *cobra.Command, args []string) error {
			return a.show(c, args[0], format, func(o *overview) error { return a.printAll(o) })
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "", "json or yaml")
	return c
}

// show shows a cluster as data, or as text.
func (a *app) show(c *cobra.Command, name, format string, text func(*overview) error) error {
	if err := output.CheckFormat(format, output.Table, output.JSON, output.YAML); err != nil {
		return err
	}
	_, o, err := a.look(c.Context(), name)
	if err != nil {
		return err
	}
	if format != output.Table {
		return output.Data(a.streams.Out, format, o)
	}
	return text(o)
}

func (a *app) printStatus(o *overview) error {
	line := func(key, value string) { fmt.Fprintf(a.streams.Out, "%-12s %s\n", key+":", value) }
	line("Name", o.Name)
	line("Namespace", o.Namespace)
	state := string(o.State)
	switch {
	case o.State == cluster.Sleeping:
		state += " since " + a.ago(o.SleepingSince)
	case o.Kind != "" && o.State != cluster.Paused:
		state += fmt.Sprintf(" (%d of %d replicas ready)", o.Ready, o.Replicas)
	}
	line("State", state)
	if o.Problem != "" {
		line("Reason", o.Problem)
	}
	if o.WakeAt != nil {
		line("Wakes", o.WakeAt.Local().Format(time.DateTime)+" at the latest, for work of its own")
	}
	if o.SleepsAfter != "" {
		line("Sleeps", "after "+o.SleepsAfter+" without users")
	}
	if o.SleepsBy != "" {
		line("Calendar", o.SleepsBy)
	}
	if o.LastActivity != nil {
		line("Last used", "by "+o.LastUser+", "+a.ago(o.LastActivity))
	}
	line("Version", o.Version)
	line("Age", duration.HumanDuration(time.Duration(o.AgeSeconds)*time.Second))
	address := o.Address
	if address == "" {
		address = "none: " + a.command + " connect forwards a port"
	}
	line("Address", address)
	line("Pods", fmt.Sprintf("%d of the tenant", o.Tenants))
	for _, c := range o.Conditions {
		line("Warning", c.Reason+": "+c.Message)
	}
	return nil
}

// ago says when something was.
func (a *app) ago(t *time.Time) string {
	return fmt.Sprintf("%s (%s ago)", t.Local().Format(time.DateTime), duration.HumanDuration(a.now().Sub(*t)))
}

func (a *app) printAll(o *overview) error {
	if err := a.printStatus(o); err != nil {
		return err
	}
	out := a.streams.Out
	if r := o.Release; r != nil {
		set := r.Values
		if set == nil {
			set = map[string]any{}
		}
		values, err := yaml.Marshal(set)
		if err != nil {
			return fmt.Errorf("show the values of %s: %w", o.Name, err)
		}
		fmt.Fprintf(out, "\nRelease: revision %d, %s, %s, of %s\nValues:\n%s", r.Revision, r.Status, r.Chart, r.Updated.Local().Format(time.DateTime), indent(string(values)))
	}
	fmt.Fprintf(out, "\nControl plane:\n")
	rows := [][]string{}
	for _, p := range o.Pods {
		rows = append(rows, []string{p.Name, fmt.Sprint(p.Ready), fmt.Sprint(p.Restarts), p.Node, p.Image, p.Problem})
	}
	if err := output.Rows(out, []string{"POD", "READY", "RESTARTS", "NODE", "IMAGE", "PROBLEM"}, rows); err != nil {
		return err
	}
	for _, claim := range o.Claims {
		fmt.Fprintf(out, "Data: PersistentVolumeClaim %s\n", claim)
	}
	if len(o.Events) > 0 {
		fmt.Fprintf(out, "\nWarnings:\n")
	}
	for _, e := range o.Events {
		fmt.Fprintf(out, "%s %s %s (%d times): %s\n", e.Seen.Local().Format(time.DateTime), e.Object, e.Reason, e.Count, e.Message)
	}
	return nil
}
