// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package child

import "syscall"

func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
