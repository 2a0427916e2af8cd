// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

// markOf names a comparison that has a mark.
type markOf struct {
	what    string
	clients int
}

// marks are the highest ratios that a comparison may have.
var marks = map[markOf]float64{
	{"GET pod", 1}:                0.5,
	{"LIST many pod", 1}:          0.8,
	{"POST pod", 1}:               1.6,
	{"merge patch pod", 1}:        1.6,
	{"strategic patch pod", 1}:    1.6,
	{"apply pod", 1}:              1.6,
	{"DELETE pod", 1}:             1.5,
	{"GET ConfigMap, 1 KiB", 1}:   0.5,
	{"POST ConfigMap, 1 KiB", 1}:  0.7,
	{"pod, create to Running", 1}: 1.03,
}

// Marks of porticod alone.
const (
	startMark         = 0.7 // seconds, on an existing store
	startNewMark      = 1.0
	startFullMark     = 2.0 // with 50 CRDs and 10,000 objects
	stopMark          = 1.0
	residentMark      = 100 // MB
	anonymousMark     = 60
	idleProcessorMark = 0.5 // percent of a core
	idleRequestsMark  = 6   // a minute
	podMemoryMark     = 20  // KB
)
