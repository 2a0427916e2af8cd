// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package charts

import "embed"

// Portico is the chart, in the directory portico.
//
//go:embed all:portico
var Portico embed.FS
