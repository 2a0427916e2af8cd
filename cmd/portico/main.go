// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Command portico creates virtual clusters on a host cluster, leads into them,
// and looks after them. Named kubectl-portico, it is a plugin of kubectl.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"portico.dev/portico/cmd/portico/internal/cli"
	"portico.dev/portico/cmd/portico/internal/output"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, output.Standard(), os.Args)
	stop()
	os.Exit(code)
}
