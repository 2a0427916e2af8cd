// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"portico.dev/portico/cmd/portico/internal/kubeconfig"
	"portico.dev/portico/cmd/portico/internal/output"
)

// runCommand runs a command with a kubeconfig of its own, which goes with it.
func (a *app) runCommand(ctx context.Context, e kubeconfig.Entry, command []string) error {
	content, err := e.YAML()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "portico-")
	if err != nil {
		return fmt.Errorf("run %s: %w", command[0], err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // Nobody else can read it.
	path := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return fmt.Errorf("run %s: %w", command[0], err)
	}
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Env = append(os.Environ(), "KUBECONFIG="+path)
	c.Stdin, c.Stdout, c.Stderr = a.streams.In, a.streams.Out, a.streams.Err
	// The command ends as it likes; a terminal sends it Ctrl-C, too.
	c.WaitDelay = 10 * time.Second
	c.Cancel = func() error {
		if runtime.GOOS == "windows" {
			return c.Process.Kill()
		}
		return c.Process.Signal(os.Interrupt)
	}
	err = c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return output.ExitError(exit.ExitCode())
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", command[0], err)
	}
	return nil
}
