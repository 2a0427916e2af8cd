// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/client-go/informers"
	batchlisters "k8s.io/client-go/listers/batch/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite/marks"
)

const (
	// look is how often the workload is read: for a request to sleep, and for
	// the users of other replicas.
	look = 15 * time.Second
	// say is how often an activity is written down at most.
	say = time.Minute
	// startLimit is more than a start takes after the cluster was woken.
	startLimit = 30 * time.Minute
)

// Config names the cluster that is put to sleep, and the time for it.
type Config struct {
	// Workload is read and patched in every replica.
	Workload Workload
	// After is the time of inactivity; 0 means that it alone puts no cluster to
	// sleep.
	After time.Duration
	// Sleep has the times at which the cluster goes to sleep, and WakeUp those at
	// which it wakes. Nil means at none.
	Sleep, WakeUp Calendar
	// WithPods says that the cluster's pods leave the host in its sleep. Run then
	// returns ErrLeaves.
	WithPods bool
	// Last returns the last user of this process and the time of their activity.
	Last func() (user string, at time.Time)
	// Due return when there is work that nobody else does; false means that there
	// is none.
	Due []func() (at time.Time, some bool)
	// Informers are of the virtual side.
	Informers informers.SharedInformerFactory
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Calendar has times that people have set.
type Calendar interface {
	// Next returns the first time after t, and Last the last one that is not after
	// it. They are zero if there is none in years.
	Next(t time.Time) time.Time
	Last(t time.Time) time.Time
}

// Sleeper puts a control plane to sleep.
type Sleeper struct {
	Config
	jobs   batchlisters.JobLister
	crons  batchlisters.CronJobLister
	synced []cache.InformerSynced
	began  time.Time
}

// New returns a sleeper. It registers with the informers, so it must be called
// before they are relied on.
func New(cfg Config) *Sleeper {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	batch := cfg.Informers.Batch().V1()
	return &Sleeper{
		Config: cfg, jobs: batch.Jobs().Lister(), crons: batch.CronJobs().Lister(), began: cfg.Clock.Now(),
		synced: []cache.InformerSynced{batch.Jobs().Informer().HasSynced, batch.CronJobs().Informer().HasSynced},
	}
}

// Observe writes down who uses this replica, until ctx ends.
func (s *Sleeper) Observe(ctx context.Context) error {
	var written time.Time
	return s.every(ctx, say, func() error {
		user, at := s.Last()
		if !at.After(written) {
			return nil
		}
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"annotations": map[string]string{marks.AnnotationLastActivity: marks.ActivityText(user, at)},
		}})
		if err == nil {
			err = s.Workload.patch(ctx, body)
		}
		if err != nil {
			s.complain(ctx, err)
			return nil
		}
		written = at
		return nil
	})
}

// Run puts the control plane to sleep when it is time. It goes on until ctx ends,
// which is how a control plane notices that it was scaled to 0.
func (s *Sleeper) Run(ctx context.Context) error {
	s.Informers.StartWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), s.synced...) {
		return nil
	}
	first := true
	return s.every(ctx, look, func() error {
		w, err := s.Workload.get(ctx)
		switch {
		case err != nil:
		case first && !w.rest().Leaving:
			err = s.awake(ctx, w)
			first = err != nil
		default:
			err = s.look(ctx, w)
		}
		if errors.Is(err, ErrLeaves) {
			return err
		}
		if err != nil {
			s.complain(ctx, err)
		}
		return nil
	})
}

// awake takes the marks of sleep off, which are there if somebody has scaled the
// workload up by hand.
func (s *Sleeper) awake(ctx context.Context, w seen) error {
	if w.replicas == 0 {
		return nil
	}
	body, err := marks.AwakePatch(w.GetResourceVersion(), w.GetAnnotations())
	if body == nil || err != nil {
		return err
	}
	return s.Workload.patch(ctx, body)
}

// look decides, and does it.
func (s *Sleeper) look(ctx context.Context, w seen) error {
	if w.replicas == 0 {
		return nil // The end comes.
	}
	if w.rest().Leaving {
		return ErrLeaves // Another process of this cluster has decided it.
	}
	now, annotations := s.Clock.Now(), w.GetAnnotations()
	user, last := s.Last()
	if noted, at := marks.LastActivity(annotations); at.After(last) {
		user, last = noted, at
	}
	place := situation{now: now, began: s.began, forWork: s.wokenForWork(w), lastUse: last, after: s.After}
	s.calendars(&place)
	asked := annotations[marks.AnnotationSleepRequested]
	place.requested = asked != "" && !strings.HasPrefix(asked, marks.SleepRefused)
	if err := s.work(&place); err != nil {
		return err
	}
	if s.WithPods && w.replicas > 1 {
		// Controllers of the others would see the pods go.
		place.busy = fmt.Sprintf("its pods can leave the host with one replica of the control plane only, and there are %d", w.replicas)
	}
	wakeAt, why := place.decide()
	if why != "" {
		if place.requested {
			return s.refuse(ctx, w, why)
		}
		return nil
	}
	text := ""
	if !last.IsZero() {
		text = marks.ActivityText(user, last)
	}
	patch := marks.SleepPatch
	if s.WithPods {
		patch = marks.LeavePatch
	}
	body, err := patch(w.GetResourceVersion(), w.replicas, now, wakeAt, text)
	if err != nil {
		return err
	}
	if err := s.Workload.patch(ctx, body); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Goes to sleep: nobody uses the cluster", "lastUser", user, "lastActivity", last, "wakeAt", wakeAt, "requested", place.requested, "withPods", s.WithPods)
	if s.WithPods {
		return ErrLeaves
	}
	return nil
}

// calendars looks the times of schedules up.
func (s *Sleeper) calendars(place *situation) {
	if s.Sleep != nil {
		place.evening = s.Sleep.Last(place.now)
	}
	if s.WakeUp != nil {
		place.morning, place.nextMorning = s.WakeUp.Last(place.now), s.WakeUp.Next(place.now)
	}
}

// wokenForWork reports whether this process was started for the cluster's own
// work. A mark that is old is of another start.
func (s *Sleeper) wokenForWork(w seen) bool {
	rest := w.rest()
	return rest.WokenBy == marks.WokenByTime && s.began.Sub(rest.Woken) < startLimit
}

// work finds the work that there is, now and later.
func (s *Sleeper) work(place *situation) (err error) {
	if place.busy, err = running(s.jobs); err != nil {
		return err
	}
	if place.due, err = runs(s.crons, place.now); err != nil {
		return err
	}
	for _, due := range s.Due {
		if at, some := due(); some {
			place.due = append(place.due, at)
		}
	}
	return nil
}

// refuse answers the request of a person.
func (s *Sleeper) refuse(ctx context.Context, w seen, why string) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": w.GetResourceVersion(),
		"annotations":     map[string]string{marks.AnnotationSleepRequested: marks.SleepRefused + why},
	}})
	if err != nil {
		return err
	}
	return s.Workload.patch(ctx, body)
}

// every calls do again and again until ctx ends, or until it fails.
func (s *Sleeper) every(ctx context.Context, pause time.Duration, do func() error) error {
	ticker := s.Clock.NewTicker(pause)
	defer ticker.Stop()
	for {
		if err := do(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

func (s *Sleeper) complain(ctx context.Context, err error) {
	if ctx.Err() == nil {
		klog.FromContext(ctx).Error(err, "Cluster stays awake: its workload was not read or written")
	}
}
