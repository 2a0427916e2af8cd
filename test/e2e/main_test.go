// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// patience is how long anything may take on a busy machine with two cores.
const patience = 2 * time.Minute

// lab describes the host cluster of these tests; set once, before the first
// test.
var lab struct {
	porticod   string
	kubectl    string
	kubeconfig string // of the host's administrator
}

func TestMain(m *testing.M) {
	if err := findLab(); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\nhint: make e2e builds and starts what these tests need\n", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintf(os.Stderr, "error: shared cluster: %v\n", err)
		code = 1
	}
	os.Exit(code)
}

func findLab() error {
	dir := os.Getenv("LAB_DIR")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "lab")
	}
	lab.porticod = os.Getenv("PORTICOD")
	if lab.porticod == "" {
		lab.porticod = filepath.Join("..", "..", "bin", "porticod")
	}
	lab.kubectl = filepath.Join(dir, "bin", "kubectl")
	lab.kubeconfig = filepath.Join(dir, "admin.conf")
	for _, path := range []*string{&lab.porticod, &lab.kubectl, &lab.kubeconfig} {
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		if _, err := os.Stat(abs); err != nil {
			return err
		}
		*path = abs
	}
	return nil
}
