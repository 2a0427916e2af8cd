// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"encoding/json"
	"log/slog"
	"sort"

	"github.com/go-logr/logr"
	kwoklog "sigs.k8s.io/kwok/pkg/log"
)

// newKwokLogger returns a logger for kwok that ends in ours. kwok only makes
// loggers that write somewhere, so its JSON lines are read back. Below Warn it
// logs a line for every pod it touches, which is of no use here.
func newKwokLogger(logger logr.Logger) *kwoklog.Logger {
	return kwoklog.NewLogger(lineWriter{logger}, kwoklog.LevelWarn)
}

// lineWriter logs each JSON line written to it.
type lineWriter struct{ logger logr.Logger }

// Write takes exactly one line: slog's handlers write a record in one call.
func (w lineWriter) Write(line []byte) (int, error) {
	fields := map[string]any{}
	if err := json.Unmarshal(line, &fields); err != nil {
		w.logger.Info("Unreadable log line from kwok", "line", string(line))
		return len(line), nil
	}
	keys := make([]string, 0, len(fields))
	for key := range fields {
		switch key {
		case slog.TimeKey, slog.LevelKey, slog.MessageKey, slog.SourceKey:
		default:
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	values := []any{"kwokMessage", fields[slog.MessageKey]}
	for _, key := range keys {
		values = append(values, key, fields[key])
	}
	// Not for every operator's eyes: most are deletions that kwok saw twice.
	w.logger.V(2).Info("Simulated node reported a problem", values...)
	return len(line), nil
}
