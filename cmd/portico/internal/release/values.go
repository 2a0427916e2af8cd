// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"io"
	"os"

	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/strvals"

	"portico.dev/portico/cmd/portico/internal/output"
)

// Source is where the values that a person gives come from.
type Source struct {
	Files []string  // in order; the later wins; "-" is Stdin
	Set   []string  // key=value, over all files
	Stdin io.Reader // for "-"
	// Read makes values of the content of a file.
	Read func(file string, content []byte) (map[string]any, error)
	// Check refuses what Set names and there is not; nil for no check.
	Check func(named map[string]any) error
}

// Values returns all values of the source as one tree.
func (s Source) Values() (map[string]any, error) {
	all := map[string]any{}
	for _, file := range s.Files {
		content, err := s.content(file)
		if err != nil {
			return nil, output.Misuse(output.WithHint(fmt.Errorf("read values: %w", err), "-f wants a file, or - for standard input"))
		}
		values, err := s.Read(file, content)
		if err != nil {
			return nil, output.Misuse(fmt.Errorf("%s: %w", file, err))
		}
		all = util.MergeTables(values, all)
	}
	named := map[string]any{}
	for _, set := range s.Set {
		// Into all, too: an index is one of a file's list.
		err := strvals.ParseInto(set, all)
		if err == nil {
			err = strvals.ParseInto(set, named)
		}
		if err != nil {
			return nil, output.Misuse(output.WithHint(fmt.Errorf("--set %s: %w", set, err), "give it as --set KEY.KEY=VALUE"))
		}
	}
	if s.Check != nil {
		if err := s.Check(named); err != nil {
			return nil, output.Misuse(err)
		}
	}
	return all, nil
}

func (s Source) content(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(s.Stdin)
	}
	return os.ReadFile(file)
}

// Merge returns the named values over the kept ones, as Helm merges them. A
// named null takes a kept value away.
func Merge(named, kept map[string]any) map[string]any {
	return util.CoalesceTables(clone(named), clone(kept))
}

func clone(values map[string]any) map[string]any {
	out := make(map[string]any, len(values))
	for k, v := range values {
		if m, ok := v.(map[string]any); ok {
			v = clone(m)
		}
		out[k] = v
	}
	return out
}
