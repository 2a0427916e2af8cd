// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"testing"
)

// TestRestoreOnAKubelet is the drill of docs/operations.md with the chart: a snapshot,
// losses, and a restore. The pods run on meanwhile, and the cluster that comes back
// knows them.
func TestRestoreOnAKubelet(t *testing.T) {
	// Not parallel: every portico on this host takes a gateway that is there.
	loadImage(t)
	r := newReader(t)
	r.finally(t, "portico delete drilled --ignore-not-found")
	r.does(t, "portico create drilled --connect=false --set 'coredns.upstream={192.0.2.53}'")
	r.does(t, "(umask 077; portico connect drilled --print >drilled.kubeconfig)")
	k := "kubectl --kubeconfig drilled.kubeconfig "
	r.does(t, k+"run web "+nettool)
	r.does(t, k+"wait pod/web --for=condition=Ready --timeout "+patience.String())
	r.does(t, k+"create configmap settings --from-literal a=b")
	uid := r.does(t, k+"get pod/web -o 'jsonpath={.metadata.uid}'")

	r.does(t, "portico snapshot drilled drilled.snapshot")
	r.does(t, k+"delete configmap settings")
	r.does(t, k+"create configmap later")
	r.does(t, "portico restore drilled drilled.snapshot")

	r.does(t, "(umask 077; portico connect drilled --print >drilled.kubeconfig)")
	r.says(t, k+"get configmap settings -o 'jsonpath={.data.a}'", "b")
	if out, err := r.run(t.Context(), k+"get configmap later"); err == nil {
		t.Errorf("an object of after the snapshot is there: %s", out)
	}
	r.says(t, k+"get pod/web -o 'jsonpath={.metadata.uid} {.status.containerStatuses[0].restartCount}'", uid+" 0")
	r.does(t, k+"exec web -- true")
	r.does(t, k+"run after "+nettool)
	r.does(t, k+"wait pod/after --for=condition=Ready --timeout "+patience.String())
}
