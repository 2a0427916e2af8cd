// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"crypto/rand"
	"fmt"
	"os"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"portico.dev/portico/sync/leader"
)

// leaderClients are the clients of what only a leader does. They refuse to work
// for a replica that does not lead.
type leaderClients struct {
	virtual, host kubernetes.Interface
	hostMetadata  metadata.Interface
}

// compete sets up the election of a leader, if there are several replicas.
// virtual is a client of the loopback.
func (vc *virtualCluster) compete(loopback *rest.Config, virtual kubernetes.Interface) (lead leaderClients, err error) {
	if vc.config.Replicas == 1 {
		return newLeaderClients(loopback, vc.hostConfig)
	}
	name, err := os.Hostname()
	if err != nil {
		return lead, fmt.Errorf("name this replica: %w", err)
	}
	// For people, and unlike that of any process before.
	identity := fmt.Sprintf("%s:%d_%s", name, vc.at.Port(), rand.Text())
	vc.work.elector, err = leader.New(leader.Config{Virtual: virtual, Identity: identity})
	if err != nil {
		return lead, err
	}
	return newLeaderClients(fenced(loopback, vc.work.elector), fenced(vc.hostConfig, vc.work.elector))
}

func newLeaderClients(virtual, host *rest.Config) (c leaderClients, err error) {
	if c.virtual, err = kubernetes.NewForConfig(virtual); err != nil {
		return c, err
	}
	if c.host, err = kubernetes.NewForConfig(host); err != nil {
		return c, fmt.Errorf("host client: %w", err)
	}
	if c.hostMetadata, err = metadata.NewForConfig(host); err != nil {
		return c, fmt.Errorf("host client: %w", err)
	}
	return c, nil
}

func fenced(c *rest.Config, e *leader.Elector) *rest.Config {
	c = rest.CopyConfig(c)
	c.Wrap(e.Fence)
	return c
}
