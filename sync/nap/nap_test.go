// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nap

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/marks"
)

var start = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func TestDecide(t *testing.T) {
	for name, c := range map[string]struct {
		situation situation
		wakeAt    time.Time // zero: it stays awake
	}{
		"nobody uses it, nothing is due":  {situation{lastUse: start.Add(-time.Hour)}, start.Add(most)},
		"just long enough":                {situation{lastUse: start.Add(-30 * time.Minute)}, start.Add(most)},
		"it was used a moment ago":        {situation{lastUse: start.Add(-29 * time.Minute)}, time.Time{}},
		"it was used, but is told to":     {situation{lastUse: start.Add(-time.Minute), requested: true}, start.Add(most)},
		"a clock that went back":          {situation{lastUse: start.Add(time.Hour)}, time.Time{}},
		"a Job runs":                      {situation{lastUse: start.Add(-time.Hour), busy: "a Job runs"}, time.Time{}},
		"a Job runs, and it is told to":   {situation{lastUse: start.Add(-time.Hour), busy: "a Job runs", requested: true}, time.Time{}},
		"work in an hour, and in three":   {situation{lastUse: start.Add(-time.Hour), due: []time.Time{start.Add(3 * time.Hour), start.Add(time.Hour)}}, start.Add(time.Hour - lead)},
		"work in a week":                  {situation{lastUse: start.Add(-time.Hour), due: []time.Time{start.Add(7 * 24 * time.Hour)}}, start.Add(most)},
		"work in two minutes":             {situation{lastUse: start.Add(-time.Hour), due: []time.Time{start.Add(2 * time.Minute)}}, time.Time{}},
		"work that should have been done": {situation{lastUse: start.Add(-time.Hour), due: []time.Time{{}}}, time.Time{}},
	} {
		c.situation.now, c.situation.after = start, 30*time.Minute
		wakeAt, why := c.situation.decide()
		if !wakeAt.Equal(c.wakeAt) || (why == "") != !wakeAt.IsZero() {
			t.Errorf("%s: until %s, %q; want until %s", name, wakeAt, why, c.wakeAt)
		}
	}
}

// TestDecideByCalendar: the cluster is to sleep at 20:00 and to wake at 8:00, or
// has one of these times only.
func TestDecideByCalendar(t *testing.T) {
	day := time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC)
	at := func(hour, minute int) time.Time {
		return day.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
	}
	const stays = ""
	for name, c := range map[string]struct {
		now, used, began time.Time
		forWork          bool
		after            time.Duration
		sleeps, wakes    bool // whether there are such times
		want             string
	}{
		"the evening comes":                          {now: at(20, 0), used: at(19, 59), sleeps: true, wakes: true, want: "11h59m30s"},
		"a minute before":                            {now: at(19, 59), used: at(9, 0), sleeps: true, wakes: true, want: stays},
		"somebody works late":                        {now: at(20, 5), used: at(20, 1), sleeps: true, wakes: true, want: stays},
		"they have gone home":                        {now: at(20, 11), used: at(20, 1), sleeps: true, wakes: true, want: "11h48m30s"},
		"they have gone home sooner":                 {now: at(20, 4), used: at(20, 1), after: 3 * time.Minute, sleeps: true, wakes: true, want: "11h55m30s"},
		"a client has woken it at night":             {now: at(23, 5), used: at(19, 0), began: at(23, 0), sleeps: true, wakes: true, want: stays},
		"a client has woken it, and went":            {now: at(23, 10), used: at(19, 0), began: at(23, 0), sleeps: true, wakes: true, want: "8h49m30s"},
		"work has woken it":                          {now: at(20, 46), used: at(19, 0), began: at(20, 45), forWork: true, sleeps: true, wakes: true, want: stays},
		"work has woken it, and is done":             {now: at(20, 47), used: at(19, 0), began: at(20, 45), forWork: true, sleeps: true, wakes: true, want: "11h12m30s"},
		"work has woken it right after the evening":  {now: at(20, 1), used: at(19, 0), began: at(20, 0), forWork: true, sleeps: true, wakes: true, want: stays},
		"the morning is near":                        {now: at(7, 58), used: at(-10, 0), sleeps: true, wakes: true, want: stays},
		"the morning has come":                       {now: at(8, 0), used: at(-10, 0), began: at(7, 59), forWork: true, sleeps: true, wakes: true, want: stays},
		"the morning is over, nobody has come":       {now: at(8, 29), used: at(-10, 0), began: at(7, 59), forWork: true, after: 30 * time.Minute, sleeps: true, wakes: true, want: stays},
		"the morning is over, nobody will come":      {now: at(8, 30), used: at(-10, 0), began: at(7, 59), forWork: true, after: 30 * time.Minute, sleeps: true, wakes: true, want: "23h29m30s"},
		"in the day, without a time of inactivity":   {now: at(15, 0), used: at(9, 0), sleeps: true, wakes: true, want: stays},
		"in the day, with one":                       {now: at(15, 0), used: at(9, 0), after: time.Hour, sleeps: true, wakes: true, want: "16h59m30s"},
		"a night without a morning":                  {now: at(20, 0), used: at(19, 59), sleeps: true, want: "24h0m0s"},
		"a night without a morning, work is done":    {now: at(22, 2), used: at(19, 59), began: at(22, 0), forWork: true, sleeps: true, want: "24h0m0s"},
		"a night without a morning ends by a client": {now: at(23, 59), used: at(20, 30), began: at(20, 30), sleeps: true, want: stays},
		"which then is inactive":                     {now: at(23, 59), used: at(20, 30), began: at(20, 30), after: time.Hour, sleeps: true, want: "24h0m0s"},
		"a morning without a night":                  {now: at(15, 0), used: at(9, 0), after: time.Hour, wakes: true, want: "16h59m30s"},
		"a morning without a night, a little later":  {now: at(8, 59), used: at(-10, 0), began: at(7, 59), forWork: true, after: time.Hour, wakes: true, want: stays},
	} {
		s := situation{now: c.now, lastUse: c.used, began: c.began, forWork: c.forWork, after: c.after}
		if c.began.IsZero() {
			s.began = at(-100, 0)
		}
		last := func(hour int) time.Time {
			if c.now.Before(at(hour, 0)) {
				return at(hour-24, 0)
			}
			return at(hour, 0)
		}
		if c.sleeps {
			s.evening = last(20)
		}
		if c.wakes {
			s.morning = last(8)
			s.nextMorning = s.morning.Add(24 * time.Hour)
		}
		got := stays
		if wakeAt, _ := s.decide(); !wakeAt.IsZero() {
			got = wakeAt.Sub(c.now).String()
		}
		if got != c.want {
			t.Errorf("%s: sleeps for %q, want %q", name, got, c.want)
		}
	}
}

func cronJob(name, schedule string, change func(*batchv1.CronJob)) *batchv1.CronJob {
	c := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: batchv1.CronJobSpec{Schedule: schedule}}
	if change != nil {
		change(c)
	}
	return c
}

func TestNextRun(t *testing.T) {
	for name, c := range map[string]struct {
		job  *batchv1.CronJob
		want time.Time
	}{
		"every quarter":          {cronJob("a", "*/15 * * * *", nil), start.Add(15 * time.Minute)},
		"a word":                 {cronJob("a", "@hourly", nil), start.Add(time.Hour)},
		"in another time zone":   {cronJob("a", "0 9 * * *", func(c *batchv1.CronJob) { c.Spec.TimeZone = ptr.To("America/New_York") }), start.Add(2 * time.Hour)},
		"suspended":              {cronJob("a", "* * * * *", func(c *batchv1.CronJob) { c.Spec.Suspend = ptr.To(true) }), time.Time{}},
		"on its way out":         {cronJob("a", "* * * * *", func(c *batchv1.CronJob) { c.DeletionTimestamp = &metav1.Time{Time: start} }), time.Time{}},
		"no schedule":            {cronJob("a", "now and then", nil), time.Time{}},
		"no time zone":           {cronJob("a", "* * * * *", func(c *batchv1.CronJob) { c.Spec.TimeZone = ptr.To("Moon/Tycho") }), time.Time{}},
		"the 30th of February":   {cronJob("a", "0 0 30 2 *", nil), time.Time{}},
		"a zone in the schedule": {cronJob("a", "TZ=UTC 30 12 * * *", nil), start.Add(30 * time.Minute)},
	} {
		if got := nextRun(c.job, start); !got.Equal(c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// home is the workload of a cluster on its host.
func home(annotations map[string]string, replicas int32) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "team-a", Name: "shop", ResourceVersion: "5",
			Labels: map[string]string{rewrite.LabelCluster: "shop"}, Annotations: annotations,
		},
		Spec: appsv1.StatefulSetSpec{Replicas: &replicas},
	}
}

// fixture is a sleeper whose cluster nobody has used since it began, an hour ago.
type fixture struct {
	*Sleeper
	host  *fake.Clientset
	clock *testingclock.FakeClock
	user  string
	used  time.Time
}

func newFixture(t *testing.T, w *appsv1.StatefulSet, virtual ...runtime.Object) *fixture {
	t.Helper()
	f := &fixture{host: fake.NewClientset(w), clock: testingclock.NewFakeClock(start.Add(-time.Hour))}
	factory := informers.NewSharedInformerFactory(fake.NewClientset(virtual...), 0)
	f.Sleeper = New(Config{
		Workload: Workload{Host: f.host, Namespace: "team-a", Name: "shop"},
		After:    30 * time.Minute, Last: func() (string, time.Time) { return f.user, f.used },
		Informers: factory, Clock: f.clock,
	})
	ctx, cancel := context.WithCancel(t.Context())
	factory.StartWithContext(ctx)
	t.Cleanup(func() { cancel(); factory.Shutdown() })
	if !cache.WaitForCacheSync(ctx.Done(), f.synced...) {
		t.Fatal("no Jobs and CronJobs")
	}
	f.clock.SetTime(start)
	return f
}

func (f *fixture) workload(t *testing.T) *appsv1.StatefulSet {
	t.Helper()
	s, err := f.host.AppsV1().StatefulSets("team-a").Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// once looks at the workload, and returns it as it is then.
func (f *fixture) once(t *testing.T) *appsv1.StatefulSet {
	t.Helper()
	w, err := f.Workload.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.look(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	return f.workload(t)
}

func TestSleeper(t *testing.T) {
	asked := map[string]string{marks.AnnotationSleepRequested: start.Add(-time.Minute).Format(time.RFC3339)}
	active := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "once"}, Status: batchv1.JobStatus{Active: 1}}
	job := func(suspended bool, is batchv1.JobConditionType, so corev1.ConditionStatus) []runtime.Object {
		return []runtime.Object{&batchv1.Job{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "once"}, Spec: batchv1.JobSpec{Suspend: &suspended},
			Status: batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: is, Status: so}}},
		}}
	}
	for name, c := range map[string]struct {
		annotations map[string]string
		virtual     []runtime.Object
		user        string
		used        time.Duration // ago
		due         time.Duration
		sleeps      bool
		wakeAt      time.Duration
		says        string // the answer to a request
	}{
		"nobody uses it":              {sleeps: true, wakeAt: most},
		"somebody does":               {user: "ann", used: 10 * time.Minute},
		"somebody did":                {user: "ann", used: 40 * time.Minute, sleeps: true, wakeAt: most},
		"another replica's user":      {annotations: map[string]string{marks.AnnotationLastActivity: marks.ActivityText("bob", start.Add(-time.Minute))}},
		"tokens are due":              {due: 48 * time.Minute, sleeps: true, wakeAt: 48*time.Minute - lead},
		"tokens are due soon":         {due: time.Minute},
		"a CronJob":                   {virtual: []runtime.Object{cronJob("a", "0 13 * * *", nil)}, sleeps: true, wakeAt: time.Hour - lead},
		"a Job runs":                  {virtual: []runtime.Object{active}},
		"a Job between two tries":     {virtual: job(false, batchv1.JobFailed, corev1.ConditionFalse)},
		"a Job that is about to fail": {virtual: job(false, batchv1.JobFailureTarget, corev1.ConditionTrue)},
		"a Job that is suspended":     {virtual: job(true, batchv1.JobSuspended, corev1.ConditionTrue), sleeps: true, wakeAt: most},
		"a Job that is complete":      {virtual: job(false, batchv1.JobComplete, corev1.ConditionTrue), sleeps: true, wakeAt: most},
		"a Job that has failed":       {virtual: job(false, batchv1.JobFailed, corev1.ConditionTrue), sleeps: true, wakeAt: most},
		"a request":                   {annotations: asked, user: "ann", used: 2 * time.Minute, sleeps: true, wakeAt: most},
		"a request that was answered": {annotations: map[string]string{marks.AnnotationSleepRequested: marks.SleepRefused + "x"}, user: "ann", used: time.Minute, says: "refused: x"},
		"a request, and a Job":        {annotations: asked, virtual: []runtime.Object{active}, says: "refused: Job shop/once runs"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, home(c.annotations, 2), c.virtual...)
			if c.user != "" {
				f.user, f.used = c.user, start.Add(-c.used)
			}
			if c.due != 0 {
				f.Due = []func() (time.Time, bool){func() (time.Time, bool) { return time.Time{}, false }, func() (time.Time, bool) { return start.Add(c.due), true }}
			}
			w := f.once(t)
			rest := marks.RestOf(w.Annotations, *w.Spec.Replicas)
			if (*w.Spec.Replicas == 0) != c.sleeps || !rest.Sleeping.IsZero() != c.sleeps {
				t.Fatalf("replicas %d, annotations %v", *w.Spec.Replicas, w.Annotations)
			}
			if got := w.Annotations[marks.AnnotationSleepRequested]; !c.sleeps && got != c.says {
				t.Errorf("the answer is %q, want %q", got, c.says)
			}
			if !c.sleeps {
				return
			}
			if !rest.Sleeping.Equal(start) || !rest.WakeAt.Equal(start.Add(c.wakeAt)) || w.Annotations[marks.AnnotationReplicas] != "2" {
				t.Errorf("sleeps with %v", w.Annotations)
			}
			if user, at := marks.LastActivity(w.Annotations); user != c.user || c.user != "" && !at.Equal(f.used) {
				t.Errorf("last activity: %q at %s", user, at)
			}
			// The end has not come yet: nothing more is written.
			before := len(f.host.Actions())
			f.once(t)
			for _, a := range f.host.Actions()[before:] {
				if a.GetVerb() == "patch" {
					t.Errorf("one that sleeps is patched: %s", a.(clienttesting.PatchAction).GetPatch())
				}
			}
		})
	}
}

// A start is an activity, so that one who has woken a cluster finds it awake.
func TestSleeperStaysAwakeAfterItsStart(t *testing.T) {
	for name, c := range map[string]struct {
		woken  string
		sleeps time.Duration // after the start
	}{
		"started":                          {"", 30 * time.Minute},
		"woken by a client":                {start.Add(-time.Hour).Format(time.RFC3339) + " " + marks.WokenByConnection, 30 * time.Minute},
		"woken for its own work":           {start.Add(-time.Hour).Format(time.RFC3339) + " " + marks.WokenByTime, brief},
		"woken for its own work, long ago": {start.Add(-5*time.Hour).Format(time.RFC3339) + " " + marks.WokenByTime, 30 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, home(map[string]string{
				marks.AnnotationWoken: c.woken, marks.AnnotationSleeping: start.Format(time.RFC3339), marks.AnnotationWakeAt: "x",
			}, 1))
			w, err := f.Workload.get(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := f.awake(t.Context(), w); err != nil {
				t.Fatal(err)
			}
			if a := f.workload(t).Annotations; a[marks.AnnotationSleeping] != "" || a[marks.AnnotationWakeAt] != "" {
				t.Errorf("after the start: %v", a)
			}
			began := start.Add(-time.Hour)
			f.clock.SetTime(began.Add(c.sleeps - time.Second))
			if got := f.once(t); *got.Spec.Replicas == 0 {
				t.Fatal("sleeps too early")
			}
			f.clock.SetTime(began.Add(c.sleeps))
			if got := f.once(t); *got.Spec.Replicas != 0 {
				t.Error("does not sleep")
			}
		})
	}
}

// TestAttackPauseOfTheSameMoment: the workload is patched only as it was read, so
// that a person's pause is not turned into a sleep that anybody ends.
func TestAttackPauseOfTheSameMoment(t *testing.T) {
	f := newFixture(t, home(nil, 1))
	f.host.PrependReactor("patch", "statefulsets", func(a clienttesting.Action) (bool, runtime.Object, error) {
		patch := string(a.(clienttesting.PatchAction).GetPatch())
		if want := `"resourceVersion":"5"`; !strings.Contains(patch, want) {
			t.Errorf("the patch lacks %s: %s", want, patch)
		}
		return true, nil, apierrors.NewConflict(schema.GroupResource{Group: "apps", Resource: "statefulsets"}, "shop", nil)
	})
	w, err := f.Workload.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.look(t.Context(), w); !apierrors.IsConflict(err) {
		t.Errorf("%v, want a conflict", err)
	}
	if got := f.workload(t); *got.Spec.Replicas != 1 {
		t.Errorf("scaled to %d", *got.Spec.Replicas)
	}
}

// Run and Observe go by the clock, and end with the context.
func TestRunAndObserve(t *testing.T) {
	f := newFixture(t, home(nil, 1))
	f.user, f.used = "ann", start.Add(-5*time.Minute)
	patches := make(chan string, 10)
	f.host.PrependReactor("patch", "statefulsets", func(a clienttesting.Action) (bool, runtime.Object, error) {
		patches <- string(a.(clienttesting.PatchAction).GetPatch())
		return false, nil, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- f.Observe(ctx) }()
	if got := <-patches; !strings.Contains(got, marks.ActivityText("ann", f.used)) {
		t.Errorf("written down: %s", got)
	}
	go func() { ended <- f.Run(ctx) }()
	for !f.clock.HasWaiters() {
		f.clock.Step(0)
	}
	f.clock.SetTime(start.Add(26 * time.Minute))
	for {
		select {
		case got := <-patches:
			if strings.Contains(got, marks.AnnotationSleeping) {
				cancel()
				for range 2 {
					if err := <-ended; err != nil {
						t.Error(err)
					}
				}
				return
			}
		default:
			f.clock.Step(look)
		}
	}
}

// TestMarksGoAfterAConflict: the workload may change between the look and the
// patch.
func TestMarksGoAfterAConflict(t *testing.T) {
	f := newFixture(t, home(map[string]string{marks.AnnotationSleeping: start.Format(time.RFC3339)}, 1))
	patches := make(chan string, 10)
	f.host.PrependReactor("patch", "statefulsets", func(a clienttesting.Action) (bool, runtime.Object, error) {
		first := len(patches) == 0
		patches <- string(a.(clienttesting.PatchAction).GetPatch())
		return first, nil, apierrors.NewConflict(schema.GroupResource{Group: "apps", Resource: "statefulsets"}, "shop", nil)
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	for len(patches) < 2 {
		f.clock.Step(look)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if first, again := <-patches, <-patches; first != again || !strings.Contains(first, `"`+marks.AnnotationSleeping+`":null`) {
		t.Errorf("after the conflict of %s came %s", first, again)
	}
}

func TestCheck(t *testing.T) {
	strangers := home(nil, 1)
	strangers.Labels = nil
	for name, c := range map[string]struct {
		workload Workload
		good     bool
	}{
		"the chart's":         {Workload{Host: fake.NewClientset(home(nil, 1)), Namespace: "team-a", Name: "shop"}, true},
		"none":                {Workload{Host: fake.NewClientset(), Namespace: "team-a", Name: "shop"}, false},
		"of another kind":     {Workload{Host: fake.NewClientset(home(nil, 1)), Namespace: "team-a", Name: "shop", Deployment: true}, false},
		"somebody else's":     {Workload{Host: fake.NewClientset(strangers), Namespace: "team-a", Name: "shop"}, false},
		"another namespace's": {Workload{Host: fake.NewClientset(home(nil, 1)), Namespace: "team-b", Name: "shop"}, false},
	} {
		if err := c.workload.Check(t.Context()); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
