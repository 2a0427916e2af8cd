// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestImports keeps the engine pure: the standard library, the API types and
// the machinery around them. A client, a clock or a logger would come with
// something else.
func TestImports(t *testing.T) {
	why := map[string]string{
		"context": "a translation cannot be cancelled", "log": "nothing is logged here", "os": "no I/O", "net/http": "no I/O",
		"time": "no clock; the API has its own type", "math/rand": "no chance", "math/rand/v2": "no chance", "crypto/rand": "no chance",
	}
	for _, dir := range []string{".", "rules"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range f.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if reason, bad := why[path]; bad {
					t.Errorf("%s imports %s: %s", file, path, reason)
				}
				standard := !strings.Contains(strings.Split(path, "/")[0], ".")
				allowed := path == "portico.dev/portico/rewrite/rules" || path == "k8s.io/utils/ptr" || strings.HasPrefix(path, "k8s.io/api/") || strings.HasPrefix(path, "k8s.io/apimachinery/")
				if !standard && !allowed {
					t.Errorf("%s imports %s", file, path)
				}
				if dir == "rules" {
					t.Errorf("%s imports %s: rules are data", file, path)
				}
			}
		}
	}
}
