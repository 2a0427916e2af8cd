// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// glance is how often a child looks whether its file is still there.
const glance = 500 * time.Millisecond

// Serve is the child: it forwards as its file says until the file goes, or is
// another's.
func Serve(ctx context.Context, file string, dialer func(Spec) (Dial, error), say func(string, ...any)) error {
	lock := flock.New(file + ".lock")
	if free, err := lock.TryLock(); err != nil || !free {
		return fmt.Errorf("another process serves %s: %w", file, err)
	}
	defer lock.Unlock() //nolint:errcheck // The end of the process does it as well.
	spec, err := readSpec(file)
	if err != nil {
		return fmt.Errorf("background forward: %w", err)
	}
	dial, err := dialer(spec)
	if err != nil {
		return err
	}
	l, err := Listen(ctx, spec.Port, PodPort, dial, say)
	if err != nil {
		return err
	}
	spec.PID, spec.Port = os.Getpid(), l.Port()
	if err := writeSpec(file, spec); err != nil {
		return fmt.Errorf("background forward: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		for ; ctx.Err() == nil; time.Sleep(glance) {
			now, err := readSpec(file)
			if errors.Is(err, fs.ErrNotExist) || err == nil && now != spec {
				return
			}
		}
	}()
	return l.Serve(ctx)
}
