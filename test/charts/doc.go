// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package charts tests the chart in charts/portico: it renders the chart as
// Helm does, and compares the objects with golden files and with the rest of
// the source.
//
// It asks no cluster: test/e2e does.
//
// # Invariants
//
//   - Every file under testdata is a golden rendering of the values next to it.
//   - The tested chart is the embedded one, as a command line tool has it.
//
// # Map
//
//	values.go       the types of the values, and the schema that follows from them
//	render_test.go  Helm, the objects of a rendering
//	golden_test.go  golden renderings
//	schema_test.go  values.schema.json and values.yaml
//	gateway_test.go the chart of the gateway
//	helm3_test.go  the same objects by Helm 3
//	chart_test.go   rights, selectors, Pod Security, and values that must not render
package charts
