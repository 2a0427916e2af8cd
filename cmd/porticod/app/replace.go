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

	"portico.dev/portico/store"
	"portico.dev/portico/store/sqlite"
)

// A data directory is often the root of a volume, which cannot be renamed. So the
// new data are made complete in a directory below it, whose renaming to
// restoringDir is the point of no return: from then on porticod refuses the
// directory, and the next call finishes.
const (
	// replacingDir has the new data until they are complete and verified.
	replacingDir = ".replacing"
	// replacedDir has the old data until the new ones are in their places.
	replacedDir = ".replaced"
	// readyFile is in restoringDir if all that is to be there is.
	readyFile = "ready"
)

// replaceBySnapshot puts the data of a snapshot in the place of those of a data
// directory.
func replaceBySnapshot(ctx context.Context, s Streams, path, dataDir string) error {
	lock, err := lockStore(dataDir)
	if err != nil {
		return err
	}
	// The store may be another one afterwards, with a lock of its own.
	if err := errors.Join(settleReplacing(dataDir), lock.Close()); err != nil {
		return err
	}
	if lock, err = lockStore(dataDir); err != nil {
		return err
	}
	defer lock.Close()
	fresh := filepath.Join(dataDir, replacingDir)
	restored, err := prepare(ctx, path, fresh)
	if err != nil {
		return errors.Join(withRestoreHint(err), os.RemoveAll(fresh))
	}
	if err := os.Rename(fresh, filepath.Join(dataDir, restoringDir)); err != nil {
		return err
	}
	if err := settleReplacing(dataDir); err != nil {
		return err
	}
	restored.Path = dataDir
	return report(s.Out, restored)
}

// lockStore takes the store of a data directory, which is made if there is none:
// a porticod that starts meanwhile would lose its data.
func lockStore(dataDir string) (io.Closer, error) {
	dir := filepath.Join(dataDir, storeDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := sqlite.Lock(dir)
	if errors.Is(err, store.ErrLocked) {
		err = withHint(err, "end the porticod that uses it first")
	}
	return lock, err
}

// prepare makes the new data, and looks at them as porticod check does.
func prepare(ctx context.Context, path, fresh string) (sqlite.Snapshot, error) {
	restored, files, err := sqlite.RestoreSnapshot(ctx, path, filepath.Join(fresh, storeDir))
	if err != nil {
		return restored, err
	}
	if err := writePKI(fresh, files); err != nil {
		return restored, fmt.Errorf("restore certificates: %w", err)
	}
	found, err := sqlite.Check(ctx, filepath.Join(fresh, storeDir))
	if err == nil && len(found.Problems) > 0 {
		err = fmt.Errorf("the restored store: %w: %s", store.ErrCorrupt, found.Problems[0])
	}
	if err != nil {
		return restored, err
	}
	if err := writeSynced(filepath.Join(fresh, readyFile), nil); err != nil {
		return restored, err
	}
	return restored, syncTree(fresh)
}

// settleReplacing finishes a replacement that has passed the point of no return,
// and clears what is left of any other.
func settleReplacing(dataDir string) error {
	for _, step := range replacingSteps(dataDir) {
		if err := step(); err != nil {
			return fmt.Errorf("replace the data in %s: %w", dataDir, err)
		}
	}
	return nil
}

// replacingSteps are the steps of settleReplacing, any number of which may have
// been done before.
func replacingSteps(dataDir string) []func() error {
	work, old := filepath.Join(dataDir, restoringDir), filepath.Join(dataDir, replacedDir)
	ready := there(filepath.Join(work, readyFile))
	var steps []func() error
	if ready {
		// A snapshot without keys leaves those that are there.
		for _, name := range []string{pkiDir, storeDir} {
			from, to, kept := filepath.Join(work, name), filepath.Join(dataDir, name), filepath.Join(old, name)
			if !there(from) {
				continue
			}
			steps = append(steps, func() error { return putAside(to, kept) }, func() error { return os.Rename(from, to) })
		}
	}
	return append(steps,
		func() error { return syncDirectory(dataDir) },
		// The work is last: until it is gone, the next call comes here again.
		func() error { return os.RemoveAll(old) },
		func() error { return os.RemoveAll(work) },
		func() error { return os.RemoveAll(filepath.Join(dataDir, replacingDir)) },
		func() error { return syncDirectory(dataDir) },
	)
}

// putAside keeps the old data. If they are kept already, a porticod that was
// started too early has made the present ones.
func putAside(path, kept string) error {
	switch {
	case !there(path):
		return nil
	case there(kept):
		return os.RemoveAll(path)
	}
	if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
		return err
	}
	return os.Rename(path, kept)
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// syncTree writes the entries of a directory and of those below it to the disk.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return syncDirectory(path)
	})
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
