// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"

	logsapi "k8s.io/component-base/logs/api/v1"
)

// maxVerbosity is the highest at which no body of a request or an answer is
// logged: from 8 on client-go writes them down, Secrets and tokens included
// (logBody in k8s.io/client-go/rest/request.go).
const maxVerbosity = 7

// setupLogging makes the whole process, upstream's parts included, log as text
// to standard error, up to the given verbosity or maxVerbosity.
func setupLogging(verbosity int) error {
	c := logsapi.NewLoggingConfiguration()
	c.Verbosity = logsapi.VerbosityLevel(min(verbosity, maxVerbosity))
	if err := logsapi.ValidateAndApply(c, nil); err != nil {
		return fmt.Errorf("set up logging: %w", err)
	}
	return nil
}
