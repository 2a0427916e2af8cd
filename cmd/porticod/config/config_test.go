// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"portico.dev/portico/cmd/porticod/config"
)

func load(t *testing.T, file string, env map[string]string, args ...string) (*config.Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	l := config.NewLoader(flags, func(k string) (string, bool) { v, ok := env[k]; return v, ok })
	if file != "" {
		path := filepath.Join(t.TempDir(), "portico.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return l.Load()
}

func TestPrecedence(t *testing.T) {
	file := "name: file\nhost: {namespace: ns}\nlogLevel: 1\n"
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		want string
	}{
		"file":        {nil, nil, "file"},
		"environment": {map[string]string{"PORTICO_NAME": "env"}, nil, "env"},
		"flag":        {map[string]string{"PORTICO_NAME": "env"}, []string{"--name", "flag"}, "flag"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := load(t, file, c.env, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Name != c.want || cfg.LogLevel != 1 || cfg.Host.Namespace != "ns" {
				t.Errorf("got %+v, want name %q and the rest of the file", cfg, c.want)
			}
			if cfg.Host.ServiceName != c.want || cfg.KubeconfigPath != "/var/lib/portico/kubeconfig.yaml" {
				t.Errorf("derived values: %+v", cfg)
			}
		})
	}
}

// An operator fixes a file once, not once per mistake.
func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	_, err := load(t, `
name: Not_A_Name
host: {namespace: "", advertiseAddress: "door:0"}
dataDir: relative
listen: nonsense
certSANs: ["ok.example", "not ok"]
reads: sometimes
store: {durability: maybe}
replicas: 3
sync: {nodes: {enabled: true}}
logLevel: 11
`, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, path := range []string{
		"name:", "host.namespace:", "host.advertiseAddress:", "dataDir:", "listen:", "certSANs[1]:", "reads:",
		"store.durability:", "replicas:", "sync.nodes.enabled:", "logLevel:",
	} {
		if !strings.Contains(err.Error(), path) {
			t.Errorf("%q is not in the report:\n%v", path, err)
		}
	}
}

func TestUnknownKeysAreMistakes(t *testing.T) {
	_, err := load(t, "name: a\nhost: {namespace: b, namespase: c}\n", nil)
	if err == nil || !strings.Contains(err.Error(), "namespase") {
		t.Errorf("got %v, want an error that names the key", err)
	}
}

func TestHighAvailabilityWithSQLiteIsRefused(t *testing.T) {
	_, err := load(t, "name: a\nhost: {namespace: b}\nreplicas: 2\n", nil)
	if err == nil || !strings.Contains(err.Error(), "SQLite") {
		t.Errorf("got %v, want a refusal that says why", err)
	}
}
