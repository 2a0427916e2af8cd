// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// table is one kind as one side sees it.
type table struct {
	title  string
	header []string
	rows   [][]string
}

// pair is one kind as both sides see it.
type pair struct{ left, right table }

// lines renders the table, columns padded to their widest cell.
func (t table) lines() []string {
	lines := []string{t.title}
	if len(t.rows) == 0 {
		return append(lines, "  (none)")
	}
	all := append([][]string{t.header}, t.rows...)
	widths := make([]int, len(t.header))
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString("  " + pad(cell, widths[i]))
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	return lines
}

// writeSideBySide prints tables in two columns, each pair beginning on the
// same line.
func writeSideBySide(out io.Writer, left, right string, pairs []pair) error {
	columns := [2][]string{{left}, {right}}
	for _, p := range pairs {
		blocks := [2][]string{p.left.lines(), p.right.lines()}
		height := max(len(blocks[0]), len(blocks[1]))
		for i, block := range blocks {
			columns[i] = append(columns[i], "")
			columns[i] = append(columns[i], block...)
			columns[i] = append(columns[i], make([]string, height-len(block))...)
		}
	}
	width := 0
	for _, line := range columns[0] {
		width = max(width, utf8.RuneCountInString(line))
	}
	for i := range columns[0] {
		line := strings.TrimRight(pad(columns[0][i], width)+"  |  "+columns[1][i], " ")
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}
