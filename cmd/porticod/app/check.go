// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"portico.dev/portico/store"
	"portico.dev/portico/store/sqlite"
)

func newCheck(s Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "check DATA-DIR|SNAPSHOT",
		Short: "Verify a snapshot, or the store of a data directory that no process is using",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if sqlite.IsSnapshot(args[0]) {
				snapshot, err := sqlite.CheckSnapshot(c.Context(), args[0])
				if err != nil {
					return err
				}
				return verdict(s, "snapshot", snapshot, snapshot.Problems)
			}
			r, err := sqlite.Check(c.Context(), filepath.Join(args[0], storeDir))
			if errors.Is(err, store.ErrLocked) {
				return withHint(err, "stop that process, or check a snapshot: porticod snapshot save "+args[0]+" FILE")
			}
			if err != nil {
				return err
			}
			return verdict(s, "store", r, r.Problems)
		},
	}
}

// useSnapshot is the remedy for damage.
const useSnapshot = "keep it for a closer look, and restore an undamaged snapshot into an empty directory: porticod snapshot restore FILE DATA-DIR"

// verdict prints the findings, and fails if there are problems.
func verdict(s Streams, what string, found any, problems []string) error {
	if err := report(s.Out, found); err != nil {
		return err
	}
	if n := len(problems); n > 0 {
		return withHint(fmt.Errorf("the %s has %d problem(s)", what, n), useSnapshot)
	}
	return nil
}
