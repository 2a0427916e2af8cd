// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
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

// restoringDir is below a data directory that is being restored. porticod refuses
// the directory while it is there.
const restoringDir = ".restoring"

func newSnapshotRestore(s Streams) *cobra.Command {
	replace := false
	c := &cobra.Command{
		Use:   "restore FILE DATA-DIR",
		Short: "Make a data directory of a snapshot",
		Long: `Make a data directory of a snapshot that was verified first. The directory must
be empty, or not there. With --replace it may have the data of a cluster that
does not run: they stay until those of the snapshot are complete and verified,
and are gone then. Cut off at any point, the same command finishes.

FILE may be - for standard input.

The revision of the store is raised far beyond the snapshot's, and its history
is given up, so that no client mistakes an object for a later one of the lost
cluster: those that were watching list again.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			path, remove, err := fromStandard(s, args[0])
			if err != nil {
				return err
			}
			defer remove()
			if replace {
				return replaceBySnapshot(c.Context(), s, path, args[1])
			}
			return restoreSnapshot(c.Context(), s, path, args[1])
		},
	}
	c.Flags().BoolVar(&replace, "replace", replace, "replace the data in the directory")
	return c
}

// fromStandard returns the file of a snapshot, which is a copy of standard input if
// that is asked for, and a function that removes the copy.
func fromStandard(s Streams, path string) (file string, remove func(), err error) {
	if path != standard {
		return path, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "portico-snapshot-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) } // Nothing can be done about it here.
	file = filepath.Join(dir, "snapshot")
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = io.Copy(f, s.In)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		remove()
		return "", nil, fmt.Errorf("read the snapshot from standard input: %w", err)
	}
	return file, remove, nil
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
	return withHint(fmt.Errorf("data directory %s was not restored to the end", dataDir), "restore the snapshot again: porticod snapshot restore --replace FILE "+dataDir)
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
