// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"portico.dev/portico/store/sqlite"
)

func newCheck(s Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "check DATA-DIR",
		Short: "Verify the store of a data directory that no process is using",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			report, err := sqlite.Check(c.Context(), filepath.Join(args[0], storeDir))
			if err != nil {
				return err
			}
			out := json.NewEncoder(s.Out)
			out.SetIndent("", "  ")
			if err := out.Encode(report); err != nil {
				return err
			}
			if n := len(report.Problems); n > 0 {
				return fmt.Errorf("the store has %d problem(s)", n)
			}
			return nil
		},
	}
}
