// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"portico.dev/portico/cmd/portico/convert"
	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/cmd/portico/internal/release"
)

// valueFlags are -f and --set.
type valueFlags struct {
	files []string
	set   []string
}

// values reads the values that a person gives.
func (a *app) values(f valueFlags) (map[string]any, error) {
	return release.Source{Files: f.files, Set: f.set, Stdin: a.streams.In, Read: a.readValues, Check: checkSet}.Values()
}

// checkSet refuses keys of --set that are none, and those of a vcluster, which
// only a file is converted from: some of them become several of ours.
func checkSet(named map[string]any) error {
	content, err := yaml.Marshal(named)
	if err != nil {
		return fmt.Errorf("--set: %w", err)
	}
	r, err := convert.Convert(content)
	var key *convert.KeyError
	if errors.As(err, &key) && key.Other == "" && key.Meant == "" {
		err = fmt.Errorf("%s: no such key", key.Path) // There is no file that looks like anything.
	}
	if err != nil {
		return output.WithHint(fmt.Errorf("--set %w", err), "docs/configuration.md has the keys")
	}
	if r.Form == convert.FormPortico || len(r.Mapped)+len(r.Missing) == 0 {
		return nil
	}
	var theirs []string
	for _, m := range r.Mapped {
		theirs = append(theirs, m.From+" (here "+m.To+")")
	}
	for _, m := range r.Missing {
		theirs = append(theirs, m.Path)
	}
	return output.WithHint(fmt.Errorf("--set %s: keys of %s", strings.Join(theirs, ", "), r.Form), "put them into a file: -f converts it")
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
