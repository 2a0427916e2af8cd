// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
)

// The schedule has no finer grain than a minute: this test takes up to one.
func TestCronJobRunsItsJobs(t *testing.T) {
	t.Parallel()
	k, _ := shared(t)
	k.apply("cron.yaml")
	k.run("create", "job", "byhand", "--from=cronjob/tick")
	jobTicked(k, "byhand")
	k.waitFor("jsonpath={.status.lastSuccessfulTime}", "cronjob/tick")

	eventuallyWithin(t, time.Minute+patience, "a job by the schedule", func() (bool, string) {
		jobs := k.names("jobs")
		return len(jobs) > 1, strings.Join(jobs, " ")
	})
	// Not another one, should this take until the next minute.
	k.run("patch", "cronjob/tick", "-p", `{"spec":{"suspend":true}}`)
	for _, job := range slices.DeleteFunc(k.names("jobs"), func(name string) bool { return name == "byhand" }) {
		jobTicked(k, job)
	}
	eventually(t, "the last times of the schedule", func() (bool, string) {
		var cron batchv1.CronJob
		k.object(&cron, "cronjob/tick")
		scheduled, successful := cron.Status.LastScheduleTime, cron.Status.LastSuccessfulTime
		return scheduled != nil && successful != nil && !successful.Before(scheduled) && len(cron.Status.Active) == 0, cron.Status.String()
	})

	k.run("delete", "cronjob/tick")
	eventually(t, "jobs and pods of the schedule gone", func() (bool, string) {
		left := k.names("jobs,pods")
		return len(left) == 0, strings.Join(left, " ")
	})
}

// jobTicked waits for a job of cron.yaml and checks the log of its pod.
func jobTicked(k kubectl, job string) {
	k.t.Helper()
	k.waitFor("condition=Complete", "job/"+job)
	if out := k.run("logs", "job/"+job); !strings.HasPrefix(out, "ticked by "+job+"-") {
		k.t.Errorf("job %s said %q", job, out)
	}
}
