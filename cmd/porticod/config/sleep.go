// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"portico.dev/portico/cmd/porticod/calendar"
)

// Sleep says when a cluster that nobody uses ends its control plane.
type Sleep struct {
	// AfterInactivity is how long nobody has used the cluster before, a duration
	// such as 30m. Empty or "0": inactivity alone ends none.
	AfterInactivity string `json:"afterInactivity,omitempty"`
	// Schedule has the times at which it goes to sleep, as for cron. Empty: at none.
	Schedule string `json:"schedule,omitempty"`
	// Timezone is the IANA's name of the zone whose clock both schedules go by, and
	// UTC when empty.
	Timezone string `json:"timezone,omitempty"`
	// WakeUp says when it wakes although nobody comes.
	WakeUp WakeUp `json:"wakeup"`
	// Scope says how much of the cluster sleeps: SleepControlPlane or
	// SleepWorkloads.
	Scope string `json:"scope"`
	// Exclude are the pods that stay on the host in a sleep of workloads.
	Exclude Exclude `json:"exclude"`
	// IgnoredAgents are user agents whose requests keep no cluster awake. A * at
	// the end stands for any text.
	IgnoredAgents []string `json:"ignoredAgents,omitempty"`
	// PodsKeepAwake says that requests of the cluster's own pods keep it awake.
	PodsKeepAwake bool `json:"podsKeepAwake"`
}

// WakeUp says when a cluster wakes.
type WakeUp struct {
	// Schedule has the times at which it wakes, as for cron. Empty: at none.
	Schedule string `json:"schedule,omitempty"`
}

// The scopes of a sleep.
const (
	// SleepControlPlane lets pods go on running.
	SleepControlPlane = "controlPlane"
	// SleepWorkloads takes the pods off the host as well.
	SleepWorkloads = "workloads"
)

// Exclude chooses pods.
type Exclude struct {
	// Selector of labels as they are on the host. An empty one chooses no pod.
	Selector metav1.LabelSelector `json:"selector"`
}

func (e *Exclude) some() bool {
	return len(e.Selector.MatchLabels)+len(e.Selector.MatchExpressions) > 0
}

// Pods returns the pods that are chosen.
func (e *Exclude) Pods() (labels.Selector, error) {
	if !e.some() {
		return labels.Nothing(), nil
	}
	return metav1.LabelSelectorAsSelector(&e.Selector)
}

// leastInactivity is longer than a cluster takes to sleep and to wake.
const leastInactivity = time.Minute

func defaultSleep() Sleep {
	return Sleep{Scope: SleepControlPlane, IgnoredAgents: []string{"argocd-*", "kube-state-metrics*", "Prometheus*"}}
}

// After returns the time of inactivity, and 0 where none ends in a sleep.
func (s *Sleep) After() time.Duration {
	d, err := time.ParseDuration(s.AfterInactivity)
	if err != nil {
		return 0 // empty, or reported
	}
	return d
}

// Sleeps reports whether the cluster goes to sleep by itself.
func (s *Sleep) Sleeps() bool { return s.After() > 0 || s.Schedule != "" }

// WithPods reports whether pods leave the host in a sleep.
func (s *Sleep) WithPods() bool { return s.Sleeps() && s.Scope == SleepWorkloads }

// PodsStay reports whether some pods run on in a sleep.
func (s *Sleep) PodsStay() bool {
	return s.Scope != SleepWorkloads || s.Exclude.some()
}

// Calendars returns the times of the sleep and of the wake-up, and nil where no
// schedule is set or can be read.
func (s *Sleep) Calendars() (sleep, wakeUp *calendar.Calendar) {
	read := func(schedule string) *calendar.Calendar {
		c, err := calendar.Parse(schedule, s.Timezone)
		if err != nil {
			return nil // empty, or reported
		}
		return c
	}
	return read(s.Schedule), read(s.WakeUp.Schedule)
}

func (s *Sleep) validate(path *field.Path, dns *CoreDNS) field.ErrorList {
	var errs field.ErrorList
	for i, agent := range s.IgnoredAgents {
		if at := path.Child("ignoredAgents").Index(i); agent == "" || strings.Contains(strings.TrimSuffix(agent, "*"), "*") {
			errs = append(errs, field.Invalid(at, agent, "must be a user agent, or the beginning of one and a * at the end"))
		}
	}
	at := path.Child("afterInactivity")
	if d, err := time.ParseDuration(s.AfterInactivity); s.AfterInactivity != "" && (err != nil || d != 0 && d < leastInactivity) {
		return append(errs, field.Invalid(at, s.AfterInactivity, "must be 0, or a duration of at least 1m, such as 30m"))
	}
	errs = append(errs, s.validateSchedules(path)...)
	errs = append(errs, s.validateScope(path)...)
	if s.Sleeps() && s.PodsStay() && dns.Enabled && dns.Mode == CoreDNSEmbedded {
		if s.After() == 0 {
			at = path.Child("schedule")
		}
		errs = append(errs, field.Invalid(at, cmp.Or(s.AfterInactivity, s.Schedule), "pods would have no DNS while the cluster sleeps: porticod answers it; set coredns.mode to deployment as well"))
	}
	return errs
}

func (s *Sleep) validateScope(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Scope != SleepControlPlane && s.Scope != SleepWorkloads {
		errs = append(errs, field.NotSupported(path.Child("scope"), s.Scope, []string{SleepControlPlane, SleepWorkloads}))
	}
	at := path.Child("exclude", "selector")
	if s.Scope == SleepControlPlane && s.Exclude.some() {
		errs = append(errs, field.Invalid(at, metav1.FormatLabelSelector(&s.Exclude.Selector), "all pods go on running: set sleep.scope to workloads as well"))
	}
	return append(errs, metav1validation.ValidateLabelSelector(&s.Exclude.Selector, metav1validation.LabelSelectorValidationOptions{}, at)...)
}

func (s *Sleep) validateSchedules(path *field.Path) field.ErrorList {
	wakeUp := path.Child("wakeup", "schedule")
	if s.WakeUp.Schedule != "" && !s.Sleeps() {
		return field.ErrorList{field.Invalid(wakeUp, s.WakeUp.Schedule, "the cluster never sleeps: set sleep.schedule or sleep.afterInactivity as well")}
	}
	if _, err := calendar.Zone(s.Timezone); err != nil {
		return field.ErrorList{field.Invalid(path.Child("timezone"), s.Timezone, "must be the name of a time zone, such as Europe/Berlin: "+err.Error())}
	}
	var errs field.ErrorList
	check := func(at *field.Path, schedule string) {
		if _, err := calendar.Parse(schedule, s.Timezone); schedule != "" && err != nil {
			errs = append(errs, field.Invalid(at, schedule, err.Error()))
		}
	}
	check(path.Child("schedule"), s.Schedule)
	check(wakeUp, s.WakeUp.Schedule)
	return errs
}
