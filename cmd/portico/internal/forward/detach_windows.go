// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"os/exec"
	"syscall"
)

const detachedProcess = 0x00000008 // DETACHED_PROCESS of CreateProcess

// detach gives a child a group and no console: neither Ctrl-C nor the end of the
// console reaches it.
func detach(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP | detachedProcess}
}
