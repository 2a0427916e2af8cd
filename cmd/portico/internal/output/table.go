// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package output

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"
)

// Formats of data.
const (
	Table = ""
	Wide  = "wide"
	JSON  = "json"
	YAML  = "yaml"
)

// CheckFormat refuses a format that is not among the allowed ones.
func CheckFormat(format string, allowed ...string) error {
	for _, a := range allowed {
		if format == a {
			return nil
		}
	}
	return Misuse(WithHint(fmt.Errorf("--output %q: there is no such format here", format), "use %s", strings.Join(allowed, ", ")))
}

// Data writes v as JSON or YAML. The names of the fields are those of the JSON
// tags and stay the same between versions.
func Data(w io.Writer, format string, v any) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err == nil && format == YAML {
		content, err = yaml.Marshal(v)
	}
	if err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	_, err = fmt.Fprintln(w, strings.TrimRight(string(content), "\n"))
	return err
}

// Rows writes a table; an empty cell shows as a dash.
func Rows(w io.Writer, head []string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = c
			if c == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}
