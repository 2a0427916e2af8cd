// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"portico.dev/portico/store/sqlite"
)

const (
	// pkiDir holds the certificates and keys, below the data directory.
	pkiDir = "pki"
	// standard stands for standard output, or input, in the place of a file.
	standard = "-"
)

func newSnapshot(s Streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "snapshot",
		Short: "Save and restore the data directory of a virtual cluster",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSnapshotSave(s), newSnapshotRestore(s))
	return c
}

func newSnapshotSave(s Streams) *cobra.Command {
	withPKI := true
	c := &cobra.Command{
		Use:   "save DATA-DIR FILE",
		Short: "Write a snapshot of a data directory, which may be in use",
		Long: `Write a snapshot of a data directory to a new file. The cluster goes on
meanwhile: the snapshot has everything that was acknowledged before it began,
and nothing that came later. It is verified before the file appears.

The certificates and keys of the cluster are in it, unless --pki=false is given.
Anyone who can read it can then do anything in the cluster. Without them, no
kubeconfig and no token of the old cluster is valid in the restored one.

FILE may be - for standard output, for use with kubectl exec.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return saveSnapshot(c.Context(), s, args[0], args[1], withPKI)
		},
	}
	c.Flags().BoolVar(&withPKI, "pki", withPKI, "include the certificates and keys")
	return c
}

func saveSnapshot(ctx context.Context, s Streams, dataDir, path string, withPKI bool) error {
	storePath := filepath.Join(dataDir, storeDir)
	if _, err := os.Stat(storePath); errors.Is(err, fs.ErrNotExist) {
		return withHint(fmt.Errorf("there is no SQLite store in %s", dataDir),
			"a cluster on a shared store is saved with that database's own tool: etcdctl snapshot save, pg_dump, mariadb-dump; keep "+filepath.Join(dataDir, pkiDir)+" with it")
	}
	var files map[string][]byte
	if withPKI {
		var err error
		if files, err = readPKI(filepath.Join(dataDir, pkiDir)); err != nil {
			return fmt.Errorf("save certificates: %w", err)
		}
	}
	if path == standard {
		return saveToStdout(ctx, s, storePath, files)
	}
	saved, err := sqlite.SaveSnapshot(ctx, storePath, path, files)
	if err != nil {
		return err
	}
	return report(s.Out, saved)
}

// saveToStdout saves to a private file, and passes it on.
func saveToStdout(ctx context.Context, s Streams, storePath string, files map[string][]byte) error {
	dir, err := os.MkdirTemp("", "portico-snapshot-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // Nothing can be done about it here.
	path := filepath.Join(dir, "snapshot")
	saved, err := sqlite.SaveSnapshot(ctx, storePath, path, files)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(s.Out, f); err != nil {
		return fmt.Errorf("write snapshot to standard output: %w", err)
	}
	saved.Path = standard
	return report(s.Err, saved)
}

// readPKI reads all files of a directory.
func readPKI(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, withHint(err, "with --pki=false a snapshot has no certificates and keys")
	}
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if files[pkiDir+"/"+e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// report prints the result as JSON.
func report(to io.Writer, what any) error {
	out := json.NewEncoder(to)
	out.SetIndent("", "  ")
	return out.Encode(what)
}
