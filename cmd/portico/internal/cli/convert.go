// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"portico.dev/portico/cmd/portico/convert"
	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/cmd/portico/internal/release"
)

func (a *app) newConvert() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "convert FILE",
		Short: "Turn the values of a vcluster into those of Portico",
		Long: `Turn a vcluster.yaml, or a values file of the charts before it, into values of
Portico on standard output, and report the fate of each key. FILE may be -
for standard input. portico create -f does so by itself.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return output.Misuse(fmt.Errorf("want one FILE, got %d arguments", len(args)))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if err := output.CheckFormat(format, output.YAML, output.JSON); err != nil {
				return err
			}
			values, err := release.Source{Files: args, Stdin: a.streams.In, Read: a.readValues}.Values()
			if err != nil {
				return err
			}
			return output.Data(a.streams.Out, format, values)
		},
	}
	c.Flags().StringVarP(&format, "output", "o", output.YAML, "yaml or json")
	return c
}

// readValues makes values of a file, which may be a vcluster's, and reports the
// fate of each of its keys.
func (a *app) readValues(file string, content []byte) (map[string]any, error) {
	r, err := convert.Convert(content)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Form != convert.FormPortico:
		a.streams.Say("%s has the form of %s, and was converted:", file, r.Form)
	case len(r.Mapped)+len(r.Missing) > 0:
		a.streams.Say("%s has keys that are no values of the chart:", file)
	}
	for _, m := range r.Mapped {
		line := "  " + m.From + " -> " + m.To
		if m.Note != "" {
			line += ": " + m.Note
		}
		a.streams.Say("%s", line)
	}
	lacks := "has no counterpart"
	if r.Form == convert.FormPortico {
		lacks = "is left out"
	}
	for _, m := range r.Missing {
		a.streams.Say("  %s %s: %s", m.Path, lacks, m.Why)
	}
	if len(r.Needless) > 0 {
		a.streams.Say("  not needed here: %s", strings.Join(r.Needless, ", "))
	}
	return r.Values, nil
}
