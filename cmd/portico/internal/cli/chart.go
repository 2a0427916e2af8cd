// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io/fs"

	chart "helm.sh/helm/v4/pkg/chart/v2"

	"portico.dev/portico/charts"
	"portico.dev/portico/cmd/portico/internal/release"
)

// embeddedChart is the chart of this version, which is in the program.
func embeddedChart() (*chart.Chart, error) {
	files, err := fs.Sub(charts.Portico, "portico")
	if err != nil {
		return nil, fmt.Errorf("read the chart: %w", err)
	}
	return release.LoadChart(files)
}
