// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"fmt"
	"io/fs"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
)

// Load returns the chart as Helm takes it.
func Load() (*chart.Chart, error) {
	files, err := fs.Sub(Portico, "portico")
	if err != nil {
		return nil, fmt.Errorf("read the chart: %w", err)
	}
	return Read(files)
}

// Read returns the chart at the top of a file system.
func Read(files fs.FS) (*chart.Chart, error) {
	var found []*archive.BufferedFile
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		found = append(found, &archive.BufferedFile{Name: path, Data: content})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the chart: %w", err)
	}
	c, err := loader.LoadFiles(found)
	if err != nil {
		return nil, fmt.Errorf("read the chart: %w", err)
	}
	return c, nil
}
