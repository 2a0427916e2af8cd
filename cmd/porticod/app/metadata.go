// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/rewrite"
)

// allowedKeys are the keys that the operator lets through to the host.
func allowedKeys(of *config.AllowedMetadata) map[string]rewrite.Keys {
	all := map[string]rewrite.Keys{}
	for kind, keys := range of.Kinds() {
		all[kind] = rewrite.Keys{Labels: keys.Labels, Annotations: keys.Annotations}
	}
	return all
}
