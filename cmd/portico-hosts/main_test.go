// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	fullName = "web-0.web.demo.svc.cluster.local"
	head     = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\nfe00::0\tip6-localnet\n"
	aliases  = "\n# Entries added by HostAliases.\n10.96.7.7\tkubernetes\tkubernetes.default\n"
	own      = "10.0.0.7\t" + fullName + "\tweb-0\n"
)

func TestLinesOfThePodGetItsFullName(t *testing.T) {
	for name, c := range map[string]struct{ hosts, want, ips string }{
		"one address":           {head + "10.0.0.7\tweb-0\n" + aliases, head + own + aliases, "10.0.0.7"},
		"two addresses":         {head + "10.0.0.7\tweb-0\nfd00::7\tweb-0\n", head + own + "fd00::7\t" + fullName + "\tweb-0\n", "10.0.0.7,fd00::7"},
		"full name as hostname": {head + "10.0.0.7\t" + fullName + "\n", head + own, "10.0.0.7"},
		"again":                 {head + own, head + own, "10.0.0.7"},
		"no line of the pod":    {head + aliases, head + aliases + own, "10.0.0.7"},
		"no newline at the end": {"127.0.0.1\tlocalhost", "127.0.0.1\tlocalhost\n" + own, "10.0.0.7"},
		"an alias of the tenant": {head + "10.0.0.7\tweb-0\n\n10.0.0.7\tother\n192.0.2.1\tweb-0\n",
			head + own + "\n10.0.0.7\tother\n192.0.2.1\tweb-0\n", "10.0.0.7"},
		"no addresses": {head, head, ""},
		"empty":        {"", own, "10.0.0.7"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
			// Files that a tenant may have left there.
			for path, content := range map[string]string{from: c.hosts, to: "old", to + ".new": strings.Repeat("old", 1000)} {
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := run([]string{from, to, fullName, "web-0"}, c.ips); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(to)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o644 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
		})
	}
}

func TestMistakesAreErrors(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{"only", "three", "arguments"},
		{filepath.Join(dir, "missing"), filepath.Join(dir, "to"), fullName, "web-0"},
		{os.DevNull, filepath.Join(dir, "no", "directory"), fullName, "web-0"},
	} {
		if err := run(args, "10.0.0.7"); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
