// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"helm.sh/helm/v4/pkg/release/common"

	"portico.dev/portico/cmd/portico/internal/wait"
	"portico.dev/portico/rewrite"
)

const (
	// LabelHolder says, on a record, which process wrote it.
	LabelHolder = rewrite.Prefix + "holder"

	// abandoned is the age at which a pending record has no writer any more, if
	// the writer is a process of another machine or not known.
	abandoned = 2 * time.Minute
	// settleLimit is how long a writer on this machine is waited for.
	settleLimit = 10 * time.Minute
)

// settled returns the history of a release, none of whose records is pending: a
// writer at work was waited for, and the record of a killed one is marked
// failed.
func (c *Client) settled(ctx context.Context, name string) (history []*Release, err error) {
	var pending *Release
	err = wait.Until(ctx, wait.Options{
		For: "another creation or upgrade of " + name, Limit: settleLimit, Say: c.Say,
		Why: func(context.Context) string {
			return fmt.Sprintf("Helm's record says %s since %s", pending.Info.Status, pending.Info.LastDeployed.Format(time.TimeOnly))
		},
	}, func(context.Context) (bool, error) {
		if history, err = c.History(name); err != nil {
			return false, err
		}
		pending = last(history)
		if pending == nil || !pending.Info.Status.IsPending() {
			return true, nil
		}
		if atWork(pending, time.Now()) {
			return false, nil
		}
		c.Say("an earlier %s of %s was interrupted; going on from there", strings.TrimPrefix(pending.Info.Status.String(), "pending-"), name)
		pending.SetStatus(common.StatusFailed, "interrupted")
		if err := c.Config.Releases.Update(pending); err != nil {
			return false, fmt.Errorf("settle the interrupted Helm release %s/%s: %w", c.Namespace, name, err)
		}
		return true, nil
	})
	return history, err
}

// atWork reports whether the writer of a pending record may still be at work.
func atWork(r *Release, now time.Time) bool {
	if machine, pid, ok := strings.Cut(r.Labels[LabelHolder], "."); ok && machine == thisMachine() {
		n, err := strconv.Atoi(pid)
		return err == nil && n != os.Getpid() && alive(n)
	}
	return now.Sub(r.Info.LastDeployed) < abandoned
}

// holder names this process, in a form that a label can have.
func holder() string { return thisMachine() + "." + strconv.Itoa(os.Getpid()) }

// thisMachine distinguishes machines, and containers of one machine.
func thisMachine() string {
	name, _ := os.Hostname()
	pids, _ := os.Readlink("/proc/self/ns/pid")
	sum := sha256.Sum256([]byte(name + "\x00" + pids))
	return hex.EncodeToString(sum[:8])
}

func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release() //nolint:errcheck // Nothing is lost.
	if runtime.GOOS == "windows" {
		return true // FindProcess has found it.
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, os.ErrPermission)
}

func sortByVersion(history []*Release) {
	slices.SortFunc(history, func(a, b *Release) int { return cmp.Compare(a.Version, b.Version) })
}
