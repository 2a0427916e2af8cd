// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nap

import (
	"fmt"
	"slices"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	batchlisters "k8s.io/client-go/listers/batch/v1"
	"k8s.io/utils/ptr"
)

// running names a Job that has not ended: without a controller, none of its pods
// is counted and none is made again. One that backs off between two tries has no
// pod, and one that is suspended waits for its tenant.
func running(jobs batchlisters.JobLister) (string, error) {
	all, err := jobs.List(labels.Everything())
	if err != nil {
		return "", fmt.Errorf("list Jobs: %w", err)
	}
	for _, j := range all {
		if j.Status.Active > 0 || !ptr.Deref(j.Spec.Suspend, false) && !ended(j) {
			return fmt.Sprintf("Job %s/%s runs", j.Namespace, j.Name), nil
		}
	}
	return "", nil
}

func ended(j *batchv1.Job) bool {
	return slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
	})
}

// runs returns the next run of each CronJob.
func runs(crons batchlisters.CronJobLister, now time.Time) ([]time.Time, error) {
	all, err := crons.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("list CronJobs: %w", err)
	}
	var due []time.Time
	for _, c := range all {
		if at := nextRun(c, now); !at.IsZero() {
			due = append(due, at)
		}
	}
	return due, nil
}

// nextRun reads a schedule as upstream's controller does. One that cannot be
// read, or that never comes, runs nothing there either.
func nextRun(c *batchv1.CronJob, now time.Time) time.Time {
	if ptr.Deref(c.Spec.Suspend, false) || c.DeletionTimestamp != nil {
		return time.Time{}
	}
	text := c.Spec.Schedule
	if zone := ptr.Deref(c.Spec.TimeZone, ""); zone != "" {
		if _, err := time.LoadLocation(zone); err != nil {
			return time.Time{}
		}
		text = "TZ=" + zone + " " + text
	}
	schedule, err := cron.ParseStandard(text)
	if err != nil {
		return time.Time{}
	}
	return schedule.Next(now)
}
