// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"strings"
)

// Sizes of the plot, in pixels.
const (
	plotWidth  = 900
	plotLabels = 230
	plotRow    = 44
	plotBar    = 11
	plotTop    = 44
)

var colours = map[string]string{"portico": "#0b6e4f", "etcd": "#4a7fb5", "kine": "#c98b2e"}

// plot draws requests a second, one group of bars for each row, on a logarithmic
// scale: the sides are orders of magnitude apart.
func plot(rows []row) string {
	highest, lowest := 1.0, math.Inf(1)
	for _, r := range rows {
		for _, s := range r.samples {
			highest, lowest = max(highest, s.perSecond()), min(lowest, max(s.perSecond(), 1))
		}
	}
	from, to := math.Floor(math.Log10(lowest)), math.Ceil(math.Log10(highest))
	x := func(v float64) float64 {
		return plotLabels + (math.Log10(max(v, 1))-from)/(to-from)*(plotWidth-plotLabels-70)
	}
	height := plotTop + len(rows)*plotRow + 10
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", plotWidth, height, plotWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", plotWidth, height)
	for i, name := range sideNames {
		fmt.Fprintf(&b, `<rect x="%d" y="8" width="11" height="11" fill="%s"/><text x="%d" y="18">%s</text>`+"\n", plotLabels+i*90, colours[name], plotLabels+i*90+16, name)
	}
	fmt.Fprintf(&b, `<text x="%d" y="18">requests a second, logarithmic</text>`+"\n", plotLabels+300)
	for power := from; power <= to; power++ {
		at := x(math.Pow(10, power))
		fmt.Fprintf(&b, `<line x1="%.1f" y1="36" x2="%.1f" y2="%d" stroke="#dddddd"/><text x="%.1f" y="34" text-anchor="middle" fill="#666666">%.0f</text>`+"\n", at, at, height, at, math.Pow(10, power))
	}
	for i, r := range rows {
		top := plotTop + i*plotRow
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s, %d clients</text>`+"\n", plotLabels-8, top+22, r.name, r.clients)
		for j, name := range sideNames {
			v := r.samples[name].perSecond()
			y := top + j*(plotBar+1)
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d">%.0f</text>`+"\n",
				plotLabels, y, max(x(v)-plotLabels, 1), plotBar, colours[name], x(v)+4, y+10, v)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}
