// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kine

import (
	"io"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"
	"k8s.io/klog/v2"
)

// takeLog sends the lines that kine writes to a process-global logger to ours.
// Requests that fail are logged with all they carry, Secrets of tenants
// included, and are answered with the same error: those are dropped.
var takeLog = func() func(klog.Logger) {
	var once sync.Once
	return func(logger klog.Logger) {
		once.Do(func() {
			logrus.SetOutput(io.Discard)
			logrus.SetLevel(logrus.WarnLevel)
			logrus.AddHook(forward{logger})
		})
	}
}()

type forward struct{ logger klog.Logger }

// Levels implements logrus.Hook.
func (forward) Levels() []logrus.Level {
	return []logrus.Level{logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel, logrus.WarnLevel}
}

// carries are the beginnings of messages that have a request or a value in them.
var carries = []string{"error in ", "error while "}

// longest message that is passed on.
const longest = 500

// Fire implements logrus.Hook.
func (f forward) Fire(e *logrus.Entry) error {
	for _, beginning := range carries {
		if strings.HasPrefix(e.Message, beginning) {
			return nil
		}
	}
	f.logger.Info("Database store reported", "level", e.Level.String(), "message", e.Message[:min(len(e.Message), longest)])
	return nil
}
