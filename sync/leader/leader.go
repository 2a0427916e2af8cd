// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package leader

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// The Lease that replicas compete for.
const (
	LeaseNamespace = metav1.NamespaceSystem
	LeaseName      = "portico-controllers"
)

// Defaults of Config. A leader that dies is followed by another within Takeover
// (docs/configuration.md promises 15 seconds).
const (
	LeaseDuration = 10 * time.Second
	RenewDeadline = 7 * time.Second
	RetryPeriod   = 2 * time.Second

	// Takeover is a whole Lease and the longest pause between two looks at it.
	Takeover = LeaseDuration + RetryPeriod*22/10
)

// ErrLost is returned when somebody else may lead now.
var ErrLost = errors.New("leadership was lost: the lease could not be renewed in time")

// Config says where the replicas compete, and who this one is.
type Config struct {
	// Virtual reaches the virtual cluster. It must not be fenced.
	Virtual kubernetes.Interface
	// Identity distinguishes this process from all others, earlier ones at the
	// same address included.
	Identity string

	// LeaseDuration, RenewDeadline and RetryPeriod are those of leader
	// election, with defaults when zero. The first must be longer than the
	// other two together.
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
}

func (c Config) complete() (Config, error) {
	if c.LeaseDuration == 0 {
		c.LeaseDuration = LeaseDuration
	}
	if c.RenewDeadline == 0 {
		c.RenewDeadline = RenewDeadline
	}
	if c.RetryPeriod == 0 {
		c.RetryPeriod = RetryPeriod
	}
	if c.LeaseDuration <= c.RenewDeadline+c.RetryPeriod {
		return c, fmt.Errorf("a lease of %v ends before a renewal that begins after %v and is given up after %v", c.LeaseDuration, c.RetryPeriod, c.RenewDeadline)
	}
	return c, nil
}

// Elector lets this process work while it leads.
type Elector struct {
	cfg   Config
	fence *fence
}

// New returns an elector that does not compete yet.
func New(cfg Config) (*Elector, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, fmt.Errorf("configure leader election: %w", err)
	}
	return &Elector{cfg: cfg, fence: &fence{
		clock: clock.RealClock{},
		// The first renewal begins a RetryPeriod after the last success, and is
		// given up a RenewDeadline later. A request that is sent until then has
		// the rest of the Lease to arrive.
		term: cfg.RetryPeriod + cfg.RenewDeadline,
	}}, nil
}

// Fence returns a transport that refuses requests with ErrDeposed unless this
// process leads. It is for rest.Config.Wrap.
func (e *Elector) Fence(next http.RoundTripper) http.RoundTripper {
	return &fencedTransport{next: next, fence: e.fence}
}

// Leads reports whether this process leads now.
func (e *Elector) Leads() bool { return e.fence.check() == nil }

// Run waits until this process leads, and calls work. The context of work ends
// with leadership or with ctx; the Lease is given up when work has returned.
// Run returns work's error, nil when ctx ended first, or ErrLost when
// leadership was lost, in any case after work has returned. It must be called
// once.
func (e *Elector) Run(ctx context.Context, work func(context.Context) error) error {
	// Ends after ctx does: the Lease is held for as long as work takes to end.
	competing, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()

	t := &term{work: work, ctx: ctx, giveUp: giveUp, ended: make(chan struct{})}
	lock := &watchedLock{fence: e.fence, deposed: giveUp, Interface: &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: LeaseNamespace, Name: LeaseName},
		Client:     e.cfg.Virtual.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: e.cfg.Identity},
	}}
	// ReleaseOnCancel would release before work has ended, and also a Lease
	// that another holds by now.
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: LeaseName, Lock: lock,
		LeaseDuration: e.cfg.LeaseDuration, RenewDeadline: e.cfg.RenewDeadline, RetryPeriod: e.cfg.RetryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: t.run,
			OnStoppedLeading: func() {},
			OnNewLeader: func(identity string) {
				klog.FromContext(ctx).Info("Leader changed", "leader", identity, "self", e.cfg.Identity)
			},
		},
	})
	if err != nil {
		return fmt.Errorf("configure leader election: %w", err)
	}
	stopWaiting := context.AfterFunc(ctx, t.abandon)
	defer stopWaiting()
	elector.Run(competing)

	led, err := t.wait()
	if led && !errors.Is(err, ErrLost) {
		releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.RetryPeriod)
		defer cancel()
		if err := lock.release(releasing); err != nil {
			klog.FromContext(ctx).Info("Leader lease not given up; another leads when it has ended", "err", err)
		}
	}
	return err
}

// term is the one time in the life of a process in which it may lead.
type term struct {
	work   func(context.Context) error
	ctx    context.Context //nolint:containedctx // of the call that made it
	giveUp context.CancelFunc
	ended  chan struct{} // closed when work has returned

	mu        sync.Mutex
	begun     bool
	abandoned bool
	lost      bool
	err       error
}

// run works until leading or the context of Run ends.
func (t *term) run(leading context.Context) {
	t.mu.Lock()
	if t.abandoned {
		t.mu.Unlock()
		return
	}
	t.begun = true
	t.mu.Unlock()
	defer close(t.ended)

	// leading does not end with the context of Run, but when the Lease is lost.
	working, stop := context.WithCancelCause(t.ctx)
	defer stop(nil)
	defer context.AfterFunc(leading, func() { stop(ErrLost) })()
	err := t.work(working)

	t.mu.Lock()
	t.lost = errors.Is(context.Cause(working), ErrLost)
	t.err = err
	t.mu.Unlock()
	t.giveUp()
}

// abandon ends a wait for leadership. Work that has begun ends by itself.
func (t *term) abandon() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.begun {
		t.abandoned = true
		t.giveUp()
	}
}

// wait waits until work has ended, and returns how, if it was called at all.
func (t *term) wait() (led bool, err error) {
	t.mu.Lock()
	// Work that has not begun will, unless it was abandoned: there is no other
	// way out of the election.
	led = t.begun || !t.abandoned
	t.mu.Unlock()
	if !led {
		return false, nil
	}
	<-t.ended
	if t.lost {
		return true, errors.Join(ErrLost, t.err)
	}
	return true, t.err
}
