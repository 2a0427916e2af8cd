// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/cmd/porticod/rights"
	"portico.dev/portico/proxy/activity"
	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/nap"
	"portico.dev/portico/sync/pause"
)

// workloadOf is the one that the chart makes, which porticod runs in.
func workloadOf(cfg *config.Config, client kubernetes.Interface) nap.Workload {
	return nap.Workload{
		Host: client, Namespace: cfg.Host.Namespace, Name: cfg.Name,
		Deployment: rights.WorkloadResource(cfg) == "deployments",
	}
}

// away has the pods of a cluster leave the host in its sleep.
func away(cfg *config.Config, client kubernetes.Interface) (nap.Away, error) {
	stay, err := cfg.Sleep.Exclude.Pods()
	if err != nil {
		return nap.Away{}, fmt.Errorf("sleep.exclude.selector: %w", err)
	}
	pods := pause.Cluster{Host: client, Namespace: cfg.Host.Namespace, Name: cfg.Name}
	if cfg.Sleep.PodsStay() {
		pods.Stays = func(host *corev1.Pod) bool { return stays(host, stay) }
	}
	return nap.Away{Workload: workloadOf(cfg, client), Pods: pods}, nil
}

// stays reports whether a pod is one of those that an operator has chosen. The
// pods of the cluster's DNS stay with them.
func stays(host *corev1.Pod, chosen labels.Selector) bool {
	has := labels.Set(host.Labels)
	dns := has[rewrite.LabelNamespace] == rewrite.DNSNamespace
	for key, value := range rewrite.DNSLabels() {
		dns = dns && has[key] == value
	}
	return dns || chosen.Matches(has)
}

// beginSleeping is called before anything of a cluster runs. It returns false when
// nothing is to run: the cluster was on its way to a sleep, and ctx has ended.
func beginSleeping(ctx context.Context, cfg *config.Config) (awake bool, err error) {
	if !cfg.Sleep.Sleeps() {
		return true, nil
	}
	hostConfig, err := hostClientConfig(cfg)
	if err != nil {
		return false, err
	}
	client, err := kubernetes.NewForConfig(hostConfig)
	if err != nil {
		return false, fmt.Errorf("host client: %w", err)
	}
	a, err := away(cfg, client)
	if err != nil {
		return false, err
	}
	if err := a.Workload.Check(ctx); err != nil {
		return false, sleepless(err)
	}
	if awake, err = a.Arrive(ctx); err != nil {
		return false, fmt.Errorf("bring pods back after a sleep: %w", err)
	}
	return awake, nil
}

func sleepless(err error) error {
	return withHint(fmt.Errorf("sleep: %w", err),
		"porticod has to be a pod of the workload that the chart makes, with the Role that porticod rights prints; elsewhere leave sleep.afterInactivity and sleep.schedule out")
}

// sleepPart notes who uses the cluster, and puts it to sleep when nobody does.
func (c *composition) sleepPart() (part, error) {
	cfg := c.config.Sleep
	if !cfg.Sleeps() {
		return part{}, nil
	}
	users := activity.NewRecorder(activity.Judge{IgnoredAgents: cfg.IgnoredAgents, PodsKeepAwake: cfg.PodsKeepAwake}, nil)
	c.storage.Around = users.Wrap
	nc := nap.Config{Workload: workloadOf(c.config, c.hostClient), After: cfg.After(), WithPods: cfg.WithPods(), Last: users.Last, Informers: c.shared}
	if cfg.PodsStay() {
		nc.Due = c.due // Tokens and certificates of pods.
	}
	// A nil pointer in an interface is not nil.
	sleep, wakeUp := cfg.Calendars()
	if sleep != nil {
		nc.Sleep = sleep
	}
	if wakeUp != nil {
		nc.WakeUp = wakeUp
	}
	sleeper := nap.New(nc)
	return part{always: sleeper.Observe, leading: sleeper.Run}, nil
}
