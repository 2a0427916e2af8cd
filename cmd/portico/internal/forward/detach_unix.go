// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package forward

import (
	"os/exec"
	"syscall"
)

// detach gives a child a session of its own: neither Ctrl-C nor the end of the
// terminal reaches it.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
