// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/proxy/apiserver"
)

// podSecurity is the standard that holds for every pod, if the operator isolates
// the cluster.
func podSecurity(i *config.Isolation) *apiserver.PodSecurity {
	if !i.Enabled {
		return nil
	}
	return &apiserver.PodSecurity{
		Level:          i.PodSecurityStandard,
		Version:        i.PodSecurityVersion,
		Namespaces:     i.PodSecurityExemptions.Namespaces,
		Usernames:      i.PodSecurityExemptions.Usernames,
		RuntimeClasses: i.PodSecurityExemptions.RuntimeClasses,
	}
}
