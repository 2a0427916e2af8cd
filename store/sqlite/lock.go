// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"portico.dev/portico/store"
)

// lockName is a file of its own, because SQLite uses POSIX locks on its files,
// and those vanish when any descriptor of the file is closed.
const lockName = "lock"

// Lock takes a data directory, so that no process opens it until the lock is
// closed, or this process ends.
func Lock(dir string) (io.Closer, error) { return lockDir(dir) }

// lockDir takes the data directory for this process. The kernel gives it back
// when the process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := readHolder(f)
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %q%s: %w", dir, holder, store.ErrLocked)
		}
		return nil, fmt.Errorf("lock %q: %w", path, err)
	}
	// Only a hint for the message of a second process.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	return f, nil
}

func readHolder(f *os.File) string {
	buf := make([]byte, 16)
	n, _ := f.ReadAt(buf, 0)
	if pid := strings.TrimSpace(string(buf[:n])); pid != "" {
		return " is held by process " + pid
	}
	return ""
}
