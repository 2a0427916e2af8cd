// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"testing"

	"portico.dev/portico/test/embedded"
)

func TestMain(m *testing.M) { embedded.Main(m) }

// cluster is a virtual cluster of one test, with the questions that several
// tests of this package ask it.
type cluster struct{ *embedded.Cluster }

func newCluster(t *testing.T) *cluster {
	t.Helper()
	return &cluster{embedded.NewCluster(t)}
}

func newClusterOn(t *testing.T, h *embedded.Host) *cluster {
	t.Helper()
	return &cluster{embedded.NewClusterOn(t, h)}
}

func newClusterWith(t *testing.T, h *embedded.Host, more string) *cluster {
	t.Helper()
	return &cluster{embedded.NewClusterWith(t, h, more)}
}
