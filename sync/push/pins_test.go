// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	testingclock "k8s.io/utils/clock/testing"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/harness"
)

// A replica that never leads takes pods for as long as it lives. It remembers
// those of one PinTime.
func TestPinsEndWithoutALeader(t *testing.T) {
	virtual, clock := fake.NewClientset(), testingclock.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	p, err := New(Config{
		Translator: harness.Translator(t), Virtual: virtual, Informers: informers.NewSharedInformerFactory(virtual, 0),
		Host: fake.NewClientset(), Clock: clock, PinTime: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		settle, err := p.Ensure(t.Context(), "default", []rewrite.Reference{
			{Kind: "Secret", Name: fmt.Sprintf("of-one-pod-%d", i)}, {Kind: "Secret", Name: "of-all-pods"},
		})
		if err != nil {
			t.Fatal(err)
		}
		settle(false)
		clock.Step(time.Second)
	}
	if n := len(p.pinned); n > 61 {
		t.Errorf("%d references are pinned by the pods of a minute", n)
	}
	if n := len(p.ending); n > 120 {
		t.Errorf("%d pins wait for their end", n)
	}
	if p.pinned[reference{kind: "Secret", namespace: "default", name: "of-all-pods"}] == nil {
		t.Error("the reference of the last pod is not pinned")
	}
}
