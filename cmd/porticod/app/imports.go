// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/sync/imports"
)

// importsPart shows the ConfigMaps and Secrets of the host that the operator chose.
// Without any, it removes those of an earlier configuration.
func (c *composition) importsPart() (part, error) {
	from := &c.config.Sync.FromHost
	i, err := imports.New(imports.Config{
		Virtual: c.lead.virtual, Informers: c.shared, Host: c.lead.host,
		ConfigMaps: c.sourcesOf(&from.ConfigMaps), Secrets: c.sourcesOf(&from.Secrets),
	})
	if err != nil {
		return part{}, err
	}
	return part{leading: i.Run}, nil
}

func (c *composition) sourcesOf(objects *config.FromHostObjects) []imports.Source {
	var all []imports.Source
	for _, m := range objects.Shown(c.config.Host.Namespace) {
		all = append(all, imports.Source{Host: m.Host, Virtual: m.Virtual})
	}
	return all
}
