// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/sync/custom"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestRecipesCanBeRead, by porticod, and their rewrites compile.
func TestRecipesCanBeRead(t *testing.T) {
	pages, err := filepath.Glob("../../../docs/recipes/*.md")
	if err != nil || len(pages) < 5 {
		t.Fatalf("recipes %v, %v", pages, err)
	}
	kinds := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
			at := filepath.Join(t.TempDir(), "portico.yaml")
			if err := os.WriteFile(at, []byte("name: a\nhost: {namespace: team-a}\n"+block[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := config.Read(at)
			if err != nil {
				t.Errorf("%s: %v", page, err)
				continue
			}
			for i := range c.Sync.Custom {
				kinds++
				if _, err := custom.NewRewriter(c.Sync.Custom[i].Rewrite, nil); err != nil {
					t.Errorf("%s: %s: %v", page, c.Sync.Custom[i].Kind, err)
				}
				if _, err := c.Sync.Custom[i].Rules(); err != nil {
					t.Errorf("%s: %s: %v", page, c.Sync.Custom[i].Kind, err)
				}
			}
		}
	}
	if kinds < 7 {
		t.Errorf("the recipes have %d kinds", kinds)
	}
}
