// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/sync/mapservices"
)

// mapServicesPart keeps the Services that the operator maps from one side to the
// other. Without any, it removes those of an earlier configuration.
func (c *composition) mapServicesPart() (part, error) {
	mapped := c.config.MapServices
	// The host's Events are the leader's work, and written with its client.
	hostEvents := newReporter(c.lead.host)
	m, err := mapservices.New(mapServices(mapped, mapservices.Config{
		Translator: c.translator, Virtual: c.lead.virtual, Informers: c.shared, Host: c.lead.host,
		VirtualEvents: c.report, HostEvents: hostEvents,
	}))
	if err != nil {
		return part{}, err
	}
	return part{leading: hostEvents.during(m.Run)}, nil
}

// mapServices adds the mappings of a configuration to cfg.
func mapServices(m config.MapServices, cfg mapservices.Config) mapservices.Config {
	for _, s := range m.FromHost {
		cfg.FromHost = append(cfg.FromHost, mapservices.FromHost{Host: config.ServiceKey(s.From), Virtual: config.ServiceKey(s.To)})
	}
	for _, s := range m.FromVirtual {
		cfg.FromVirtual = append(cfg.FromVirtual, mapservices.FromVirtual{Virtual: config.ServiceKey(s.From), Host: s.To})
	}
	return cfg
}
