// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// writeFile replaces path by data, readable by its owner only. The data is on
// disk before the name is.
func writeFile(path string, data []byte) (err error) {
	// CreateTemp gives mode 0600.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()           // The first error is the one to report.
			_ = os.Remove(f.Name()) // Nothing refers to it.
		}
	}()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// writeChanged is writeFile for a path that is watched: without a change, the
// file is not touched.
func writeChanged(path string, data []byte) error {
	if found, err := os.ReadFile(path); err == nil && bytes.Equal(found, data) {
		return nil
	}
	return writeFile(path, data)
}
