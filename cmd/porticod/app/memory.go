// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"os"
	"runtime/debug"
)

// gcPercent trades processor time for memory: an idle control plane is mostly
// live data, of which the default would let as much again pile up as garbage.
const gcPercent = 50

// tuneMemory applies gcPercent unless the operator chose with GOGC.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// releaseStartup gives back what only starting needed: composing the API makes
// about as much garbage as it leaves live data.
func releaseStartup() { debug.FreeOSMemory() }
