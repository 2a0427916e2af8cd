// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestPartsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range parts {
		if p.name == "" || seen[p.name] {
			t.Errorf("part %q: the name is empty or taken", p.name)
		}
		seen[p.name] = true
	}
}

func TestErrorOfAPartHasItsName(t *testing.T) {
	broken := errors.New("broken")
	p := part{name: "events", leading: func(context.Context) error { return broken }}
	err := p.named(p.leading(t.Context()))
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "events: ") {
		t.Errorf("got %v, want the part's name before its error", err)
	}
	if err := p.named(nil); err != nil {
		t.Errorf("got %v for a part that ended well", err)
	}
}
