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

	"portico.dev/portico/store"
	"portico.dev/portico/store/sqlite"
)

const (
	// pkiDir holds the certificates and keys, below the data directory.
	pkiDir = "pki"
	// restoringDir is below a data directory that is being restored.
	restoringDir = ".restoring"
	// toStdout stands for standard output in the place of a file.
	toStdout = "-"
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

func newSnapshotRestore(s Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "restore FILE DATA-DIR",
		Short: "Make a data directory of a snapshot",
		Long: `Make a data directory of a snapshot that was verified first. The directory must
be empty, or not there.

The revision of the store is raised far beyond the snapshot's, and its history
is given up, so that no client mistakes an object for a later one of the lost
cluster: those that were watching list again.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return restoreSnapshot(c.Context(), s, args[0], args[1]) },
	}
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
	if path == toStdout {
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
	saved.Path = toStdout
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

func restoreSnapshot(ctx context.Context, s Streams, path, dataDir string) error {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return err
	}
	if err := refuseUsed(dataDir); err != nil {
		return withHint(err, "a snapshot is restored into an empty directory; move the old one away first")
	}
	// Complete files move to their places at the end, the store last: until
	// then porticod refuses the directory.
	work := filepath.Join(dataDir, restoringDir)
	restored, files, err := sqlite.RestoreSnapshot(ctx, path, filepath.Join(work, storeDir))
	if err != nil {
		return errors.Join(withRestoreHint(err), os.RemoveAll(work))
	}
	if err := writePKI(work, files); err != nil {
		return errors.Join(fmt.Errorf("restore certificates: %w", err), os.RemoveAll(work))
	}
	for _, name := range []string{pkiDir, storeDir} {
		if err := os.Rename(filepath.Join(work, name), filepath.Join(dataDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(work); err != nil {
		return err
	}
	restored.Path = dataDir
	return report(s.Out, restored)
}

func withRestoreHint(err error) error {
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return withHint(err, "the snapshot is damaged or incomplete; use another one")
	case errors.Is(err, store.ErrNewerSchema):
		return withHint(err, "restore it with the version of porticod that made it, or a newer one")
	case errors.Is(err, store.ErrForeign):
		return withHint(err, "snapshots are made by porticod snapshot save")
	}
	return err
}

// refuseUsed refuses a data directory with any file in it that a new file
// system does not have.
func refuseUsed(dataDir string) error {
	entries, err := os.ReadDir(dataDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != "lost+found" {
			return fmt.Errorf("%s is not empty: it has %s", dataDir, e.Name())
		}
	}
	return nil
}

// refuseHalfRestored refuses a data directory whose restoring was cut short: to
// go on would be to begin with an empty cluster.
func refuseHalfRestored(dataDir string) error {
	_, err := os.Lstat(filepath.Join(dataDir, restoringDir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return withHint(fmt.Errorf("data directory %s was not restored to the end", dataDir), "empty it and restore the snapshot again")
}

// writePKI writes the files of a snapshot below a directory.
func writePKI(dir string, files map[string][]byte) error {
	for name, content := range files {
		base := filepath.Base(name)
		if name != pkiDir+"/"+base || !filepath.IsLocal(base) {
			return fmt.Errorf("a file has the name %q", name)
		}
		if err := os.MkdirAll(filepath.Join(dir, pkiDir), 0o700); err != nil {
			return err
		}
		if err := writeSynced(filepath.Join(dir, pkiDir, base), content); err != nil {
			return err
		}
	}
	return nil
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// report prints the result as JSON.
func report(to io.Writer, what any) error {
	out := json.NewEncoder(to)
	out.SetIndent("", "  ")
	return out.Encode(what)
}
