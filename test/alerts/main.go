// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Command alerts checks files of Prometheus rules as promtool does: the
// structure, each expression, and the templates of labels and annotations. It is
// a module of its own, so that Prometheus is no dependency of Portico.
//
//	alerts FILE...
package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

func main() {
	failed := false
	for _, path := range os.Args[1:] {
		groups, errs := rulefmt.ParseFile(path, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
		for _, err := range errs {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			failed = true
		}
		if len(errs) == 0 {
			rules := 0
			for _, g := range groups.Groups {
				rules += len(g.Rules)
			}
			fmt.Printf("%s: %d rules\n", path, rules)
		}
	}
	if failed || len(os.Args) < 2 {
		os.Exit(1)
	}
}
