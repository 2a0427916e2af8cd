// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"portico.dev/portico/proxy/host"
)

func TestLagOfACache(t *testing.T) {
	clock, memory := testclock.NewFakeClock(time.Unix(1000, 0)), host.NewMemory()
	c := newCached(t, func(cfg *host.Config) { cfg.Clock, cfg.Memory = clock, memory })
	c.waitReady()
	lag := func() host.Lag {
		all := memory.Lags()
		if len(all) != 1 || all[0].Resource != "pods" {
			t.Fatalf("the lags are %v", all)
		}
		return all[0]
	}
	poll(t, func() bool { return lag() == host.Lag{Resource: "pods"} })

	c.host.setLate(true)
	c.create(newPod("demo", "web"))
	clock.Step(5 * time.Second)
	if l := lag(); l.Revisions == 0 || l.Behind != 5*time.Second {
		t.Errorf("with a write that the watch has not brought, the lag is %+v", l)
	}
	c.host.setLate(false)
	poll(t, func() bool { return lag() == host.Lag{Resource: "pods"} })

	c.host.setDown(true)
	poll(t, func() bool { clock.Step(time.Second); return lag().Behind >= 10*time.Second })
}
