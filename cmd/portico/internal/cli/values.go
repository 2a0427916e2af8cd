// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"portico.dev/portico/cmd/portico/internal/release"
)

// valueFlags are -f and --set.
type valueFlags struct {
	files []string
	set   []string
}

// values reads the values that a person gives.
func (a *app) values(f valueFlags) (map[string]any, error) {
	return release.Source{Files: f.files, Set: f.set, Stdin: a.streams.In, Read: a.readValues}.Values()
}

// put sets a value by its path, which is there only if a person has given it.
func put(values map[string]any, value any, path ...string) {
	for _, key := range path[:len(path)-1] {
		next, ok := values[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			values[key] = next
		}
		values = next
	}
	values[path[len(path)-1]] = value
}
