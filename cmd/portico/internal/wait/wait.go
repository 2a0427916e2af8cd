// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package wait

import (
	"context"
	"fmt"
	"time"

	"portico.dev/portico/cmd/portico/internal/output"
)

const (
	interval = 500 * time.Millisecond
	// patience is how long a wait goes on without a word.
	patience = 3 * time.Second
	// once bounds a single look at the state.
	once = 15 * time.Second
)

// Options describe a wait.
type Options struct {
	// For says in words, after "waiting for", which state is awaited.
	For   string
	Limit time.Duration
	// Flag is how a person gives another limit; empty if there is no way.
	Flag string
	// Why says why it is not so yet; nil or "" if that is not known.
	Why func(ctx context.Context) string
	// Say shows a line to a person.
	Say func(format string, args ...any)
}

// Until looks at the state until it is as wanted. A look that returns an error
// ends the wait.
func Until(ctx context.Context, o Options, look func(ctx context.Context) (bool, error)) error {
	began, shown := time.Now(), ""
	for {
		done, err := bounded(ctx, look)
		if err != nil || done {
			return err
		}
		reason := ""
		if waited := time.Since(began); waited >= patience || waited >= o.Limit {
			reason = o.reason(ctx)
			if line := "waiting for " + o.For + suffix(reason); line != shown && waited < o.Limit && o.Say != nil {
				o.Say("%s", line)
				shown = line
			}
		}
		if time.Since(began) >= o.Limit {
			return o.tooLong(reason)
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", o.For, context.Cause(ctx))
		}
	}
}

func bounded(ctx context.Context, look func(ctx context.Context) (bool, error)) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, once)
	defer cancel()
	return look(ctx)
}

func (o Options) reason(ctx context.Context) string {
	if o.Why == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, once)
	defer cancel()
	return o.Why(ctx)
}

func (o Options) tooLong(reason string) error {
	err := fmt.Errorf("waited %s for %s%s", o.Limit, o.For, suffix(reason))
	if o.Flag == "" {
		return err
	}
	return output.WithHint(err, "the same command goes on from here; %s waits longer", o.Flag)
}

func suffix(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}
