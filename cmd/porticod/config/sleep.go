// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Sleep says when a cluster that nobody uses ends its control plane.
type Sleep struct {
	// AfterInactivity is how long nobody has used the cluster before, a duration
	// such as 30m. Empty or "0": it never sleeps.
	AfterInactivity string `json:"afterInactivity,omitempty"`
	// IgnoredAgents are user agents whose requests keep no cluster awake. A * at
	// the end stands for any text.
	IgnoredAgents []string `json:"ignoredAgents,omitempty"`
	// PodsKeepAwake says that requests of the cluster's own pods keep it awake.
	PodsKeepAwake bool `json:"podsKeepAwake"`
}

// leastInactivity is longer than a cluster takes to sleep and to wake.
const leastInactivity = time.Minute

func defaultSleep() Sleep {
	return Sleep{IgnoredAgents: []string{"argocd-*", "kube-state-metrics*", "Prometheus*"}}
}

// After returns the time of inactivity, and 0 for a cluster that never sleeps.
func (s *Sleep) After() time.Duration {
	d, err := time.ParseDuration(s.AfterInactivity)
	if err != nil {
		return 0 // empty, or reported
	}
	return d
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
	if s.After() > 0 && dns.Enabled && dns.Mode == CoreDNSEmbedded {
		errs = append(errs, field.Invalid(at, s.AfterInactivity, "pods would have no DNS while the cluster sleeps: porticod answers it; set coredns.mode to deployment as well"))
	}
	return errs
}
