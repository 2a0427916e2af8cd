// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Command helm3 renders the charts as Helm 3 does, and compares the objects with
// the golden renderings of test/charts, which are Helm 4's. It is a module of its
// own, so that Portico does not depend on two Helms.
//
// Usage: helm3 DIRECTORY_OF_THE_TREE
package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/yaml"
)

// renderings say where the golden renderings of each chart are. The release is
// called as test/charts calls it.
var renderings = []struct{ chart, values, release, namespace string }{
	{"charts/portico", "test/charts/testdata/*.values.yaml", "demo", "portico-demo"},
	{"charts/portico-gateway", "test/charts/testdata/gateway/*.values.yaml", "gw", "portico-gateway"},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: helm3 DIRECTORY_OF_THE_TREE")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func run(tree string) error {
	var faults []error
	for _, r := range renderings {
		files, err := filepath.Glob(filepath.Join(tree, r.values))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("no values under %s (%w)", r.values, err)
		}
		for _, file := range files {
			// Loaded anew: Helm 3 writes the values of a rendering into the chart.
			c, err := loader.Load(filepath.Join(tree, r.chart))
			if err != nil {
				return fmt.Errorf("load %s: %w", r.chart, err)
			}
			if err := compare(c, r.release, r.namespace, file); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", file, err))
				continue
			}
			fmt.Printf("the same as with Helm 4: %s\n", filepath.Base(file))
		}
	}
	return errors.Join(faults...)
}

func compare(c *chart.Chart, release, namespace, file string) error {
	set, err := chartutil.ReadValuesFile(file)
	if err != nil {
		return err
	}
	options := chartutil.ReleaseOptions{Name: release, Namespace: namespace, IsInstall: true, Revision: 1}
	values, err := chartutil.ToRenderValues(c, set, options, nil)
	if err != nil {
		return err
	}
	rendered, err := engine.Render(c, values)
	if err != nil {
		return err
	}
	golden, err := os.ReadFile(strings.TrimSuffix(file, ".values.yaml") + ".golden.yaml")
	if err != nil {
		return err
	}
	want, err := documents(string(golden))
	if err != nil {
		return err
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if strings.HasSuffix(name, ".yaml") {
			all = append(all, rendered[name])
		}
	}
	got, err := documents(strings.Join(all, "\n---\n"))
	if err != nil {
		return err
	}
	if len(want) != len(got) {
		return fmt.Errorf("%d objects, and %d with Helm 4", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(want[i], got[i]) {
			return fmt.Errorf("Helm 4 renders\n%s\nand Helm 3 renders\n%s", want[i], got[i])
		}
	}
	return nil
}

// documents returns the objects of a rendering, each in the same form.
func documents(rendering string) ([][]byte, error) {
	var all [][]byte
	for _, document := range strings.Split("\n"+rendering, "\n---") {
		var object map[string]any
		document = strings.TrimSpace(document) + "\n" // The end of a block is content.
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			return nil, fmt.Errorf("%w in\n%s", err, document)
		}
		if len(object) == 0 {
			continue
		}
		normal, err := yaml.Marshal(object)
		if err != nil {
			return nil, err
		}
		all = append(all, normal)
	}
	return all, nil
}
