// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestSleep(t *testing.T) {
	embedded, pods, none := defaultCoreDNS(), defaultCoreDNS(), defaultCoreDNS()
	pods.Mode, none.Enabled = CoreDNSDeployment, false
	for name, c := range map[string]struct {
		sleep Sleep
		dns   CoreDNS
		after time.Duration
		bad   string // the path of the mistake
	}{
		"nothing is said":                          {defaultSleep(), embedded, 0, ""},
		"never":                                    {Sleep{AfterInactivity: "0"}, embedded, 0, ""},
		"pods are the DNS":                         {Sleep{AfterInactivity: "30m"}, pods, 30 * time.Minute, ""},
		"the host's DNS":                           {Sleep{AfterInactivity: "90s"}, none, 90 * time.Second, ""},
		"porticod is the DNS":                      {Sleep{AfterInactivity: "30m"}, embedded, 30 * time.Minute, "sleep.afterInactivity"},
		"sooner than it would have woken":          {Sleep{AfterInactivity: "10s"}, pods, 10 * time.Second, "sleep.afterInactivity"},
		"no duration":                              {Sleep{AfterInactivity: "soon"}, pods, 0, "sleep.afterInactivity"},
		"less than nothing":                        {Sleep{AfterInactivity: "-1h"}, pods, -time.Hour, "sleep.afterInactivity"},
		"an agent without a name":                  {Sleep{IgnoredAgents: []string{"k9s*", ""}}, embedded, 0, "sleep.ignoredAgents[1]"},
		"a pattern that is matched nowhere":        {Sleep{IgnoredAgents: []string{"*k9s"}}, embedded, 0, "sleep.ignoredAgents[0]"},
		"by a calendar":                            {Sleep{Schedule: "0 20 * * 1-5", Timezone: "Europe/Berlin", WakeUp: WakeUp{Schedule: "0 8 * * 1-5"}}, pods, 0, ""},
		"by a calendar, porticod is the DNS":       {Sleep{Schedule: "0 20 * * 1-5"}, embedded, 0, "sleep.schedule"},
		"no calendar":                              {Sleep{Schedule: "20:00"}, pods, 0, "sleep.schedule"},
		"no time zone":                             {Sleep{Schedule: "0 20 * * *", Timezone: "Moon/Tycho"}, pods, 0, "sleep.timezone"},
		"wakes each morning":                       {Sleep{AfterInactivity: "30m", WakeUp: WakeUp{Schedule: "@daily"}}, pods, 30 * time.Minute, ""},
		"wakes on no day":                          {Sleep{AfterInactivity: "30m", WakeUp: WakeUp{Schedule: "0 0 30 2 *"}}, pods, 30 * time.Minute, "sleep.wakeup.schedule"},
		"with its workloads":                       {Sleep{AfterInactivity: "30m", Scope: SleepWorkloads}, embedded, 30 * time.Minute, ""},
		"with most workloads":                      {Sleep{AfterInactivity: "30m", Scope: SleepWorkloads, Exclude: labelled("app", "db")}, pods, 30 * time.Minute, ""},
		"with most workloads, porticod is the DNS": {Sleep{AfterInactivity: "30m", Scope: SleepWorkloads, Exclude: labelled("app", "db")}, embedded, 30 * time.Minute, "sleep.afterInactivity"},
		"some pods stay where all do":              {Sleep{AfterInactivity: "30m", Exclude: labelled("app", "db")}, pods, 30 * time.Minute, "sleep.exclude.selector"},
		"no label":                                 {Sleep{AfterInactivity: "30m", Scope: SleepWorkloads, Exclude: labelled("a b", "c")}, pods, 30 * time.Minute, "sleep.exclude.selector.matchLabels"},
		"another scope":                            {Sleep{Scope: "everything"}, embedded, 0, "sleep.scope"},
		"wakes without a sleep":                    {Sleep{WakeUp: WakeUp{Schedule: "@daily"}}, pods, 0, "sleep.wakeup.schedule"},
	} {
		if c.sleep.Scope == "" {
			c.sleep.Scope = SleepControlPlane
		}
		errs := c.sleep.validate(field.NewPath("sleep"), &c.dns)
		switch {
		case c.bad == "" && len(errs) > 0:
			t.Errorf("%s: %v", name, errs)
		case c.bad != "" && (len(errs) != 1 || errs[0].Field != c.bad):
			t.Errorf("%s: %v; want one about %s", name, errs, c.bad)
		}
		if got := c.sleep.After(); got != c.after {
			t.Errorf("%s: after %s, want %s", name, got, c.after)
		}
	}
}

func labelled(key, value string) Exclude {
	return Exclude{Selector: metav1.LabelSelector{MatchLabels: map[string]string{key: value}}}
}
