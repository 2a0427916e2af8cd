// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Sizes of the plot, in pixels.
const (
	plotWidth  = 900
	plotLabels = 260
	plotRow    = 15
	plotTop    = 44
)

// plot draws the ratios with their intervals, on a logarithmic scale: twice as
// slow is as far from 1 as twice as fast.
func (r *report) plot() string {
	lowest, highest := 0.5, 2.0
	for _, row := range r.Ratios {
		lowest, highest = min(lowest, max(row.Low, 0.01)), max(highest, row.High)
	}
	from, to := math.Floor(math.Log2(lowest)), math.Ceil(math.Log2(highest))
	x := func(v float64) float64 {
		return plotLabels + (math.Log2(max(v, 0.01))-from)/(to-from)*(plotWidth-plotLabels-80)
	}
	height := plotTop + len(r.Ratios)*plotRow + 10
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", plotWidth, height, plotWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<text x="%d" y="16">time of the door, relative to the other side; interval of 95 %% confidence; a tick is the mark</text>`+"\n", plotLabels)
	for power := from; power <= to; power++ {
		colour := "#dddddd"
		if power == 0 {
			colour = "#666666"
		}
		at := x(math.Pow(2, power))
		fmt.Fprintf(&b, `<line x1="%.1f" y1="36" x2="%.1f" y2="%d" stroke="%s"/><text x="%.1f" y="34" text-anchor="middle" fill="#666666">%gx</text>`+"\n", at, at, height, colour, at, math.Pow(2, power))
	}
	for i, row := range r.Ratios {
		y := plotTop + i*plotRow
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s, %d clients</text>`+"\n", plotLabels-8, y+10, html.EscapeString(row.What), row.Clients)
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#0b6e4f" stroke-width="2"/><circle cx="%.1f" cy="%d" r="3.5" fill="#0b6e4f"/><text x="%.1f" y="%d">%.2f</text>`+"\n",
			x(row.Low), y+6, x(row.High), y+6, x(row.Ratio), y+6, x(row.High)+6, y+10, row.Ratio)
		if row.Mark > 0 {
			fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#c98b2e" stroke-width="2"/>`+"\n", x(row.Mark), y, x(row.Mark), y+12)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}
