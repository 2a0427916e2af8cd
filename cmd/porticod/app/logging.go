// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"

	logsapi "k8s.io/component-base/logs/api/v1"
)

// setupLogging makes the whole process, upstream's parts included, log as text
// to standard error, up to the given verbosity.
func setupLogging(verbosity int) error {
	c := logsapi.NewLoggingConfiguration()
	c.Verbosity = logsapi.VerbosityLevel(verbosity)
	if err := logsapi.ValidateAndApply(c, nil); err != nil {
		return fmt.Errorf("set up logging: %w", err)
	}
	return nil
}
