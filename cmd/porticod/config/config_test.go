// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"portico.dev/portico/cmd/porticod/config"
)

var update = flag.Bool("update", false, "write the golden reports again")

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

// An operator fixes a file once, not once per mistake. Each file of testdata
// has its whole report next to it.
func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = load(t, string(content), nil)
			var aggregate utilerrors.Aggregate
			if !errors.As(err, &aggregate) {
				t.Fatalf("got %v, want a list of mistakes", err)
			}
			var got strings.Builder
			for _, mistake := range aggregate.Errors() {
				fmt.Fprintln(&got, mistake)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBrokenSourcesAreErrors(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		env  map[string]string
		want string
	}{
		"not YAML":       {"name: [", nil, "portico.yaml"},
		"no class":       {"name: a\nsync: {toHost: {ingresses: {enabled: true, allowedHosts: ['*']}}}\n", nil, "sync.toHost.ingresses.classes"},
		"no host name":   {"name: a\nsync: {toHost: {ingresses: {enabled: true, classes: [web]}}}\n", nil, "sync.toHost.ingresses.allowedHosts"},
		"host pattern":   {"name: a\nsync: {toHost: {ingresses: {allowedHosts: ['a.*.example.com']}}}\n", nil, "sync.toHost.ingresses.allowedHosts[0]"},
		"class by key":   {"name: a\nsync: {toHost: {ingresses: {annotations: [kubernetes.io/ingress.class]}}}\n", nil, "sync.toHost.ingresses.annotations[0]"},
		"wrong type":     {"name: a\nreplicas: many\n", nil, "replicas"},
		"key twice":      {"name: a\nname: b\n", nil, `"name" already set`},
		"not a number":   {"name: a\nhost: {namespace: b}\n", map[string]string{"PORTICO_REPLICAS": "many"}, "replicas: Invalid value: \"many\""},
		"one of several": {"name: a\n", map[string]string{"PORTICO_REPLICAS": "many"}, "host.namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := load(t, c.file, c.env); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestEndpointsOfSharedStores(t *testing.T) {
	for name, c := range map[string]struct {
		store config.Store
		want  config.StoreEndpoint
	}{
		"none":     {config.Store{}, config.StoreEndpoint{Kind: config.StoreSQLite}},
		"etcd":     {config.Store{Endpoint: "etcd://a:1,[::1]:2/"}, config.StoreEndpoint{Kind: config.StoreEtcd, Addresses: []string{"a:1", "[::1]:2"}}},
		"with TLS": {config.Store{Endpoint: "etcds://a:1"}, config.StoreEndpoint{Kind: config.StoreEtcd, Addresses: []string{"a:1"}, TLS: true}},
		"or so":    {config.Store{Endpoint: "etcd+https://a:1"}, config.StoreEndpoint{Kind: config.StoreEtcd, Addresses: []string{"a:1"}, TLS: true}},
		"PostgreSQL": {
			config.Store{Endpoint: "postgres://user@db/portico?sslmode=disable&connect_timeout=5"},
			config.StoreEndpoint{Kind: config.StorePostgreSQL, Source: "user@db/portico?connect_timeout=5"},
		},
		"PostgreSQL with TLS": {
			config.Store{Endpoint: "postgresql://user@db/portico?sslmode=verify-full"},
			config.StoreEndpoint{Kind: config.StorePostgreSQL, Source: "user@db/portico", TLS: true},
		},
		"MySQL": {
			config.Store{Endpoint: "mysql://user@tcp(db:3306)/portico"},
			config.StoreEndpoint{Kind: config.StoreMySQL, Source: "user@tcp(db:3306)/portico"},
		},
		"MySQL with TLS": {
			config.Store{Endpoint: "mysql://user@tcp(db:3306)/portico?tls=true"},
			config.StoreEndpoint{Kind: config.StoreMySQL, Source: "user@tcp(db:3306)/portico", TLS: true},
		},
		"TLS is never left out": {
			config.Store{Endpoint: "etcd://a:1", TLS: config.StoreTLS{CAFile: "/ca"}},
			config.StoreEndpoint{Kind: config.StoreEtcd, Addresses: []string{"a:1"}, TLS: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.store.Parse()
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	for _, endpoint := range []string{"etcd", "etcd://", "etcd://a", "etcd://a:1,", "etcd://a:0", "etcd://a:1/path", "etcd://a:1?x", "file:///x", "ETCD://a:1",
		"postgres://db", "postgres://db/portico?sslmode=require", "mysql://db/portico", "mysql://tcp(db:1)/portico?tls=skip-verify"} {
		if got, err := (&config.Store{Endpoint: endpoint}).Parse(); err == nil {
			t.Errorf("%q was taken for %+v", endpoint, got)
		}
	}
}

// Somebody will put a password into the endpoint. The printed configuration
// must not spread it further.
func TestPasswordInTheEndpointIsNotRepeated(t *testing.T) {
	for _, endpoint := range []string{"etcd://user:secret@etcd:2379", "user:secret@etcd:2379", "nonsense://u:secret@x", "etcd://user:se@cret@etcd:2379",
		"postgres://user:secret@db/portico", "postgres://user@db/portico?password=secret", "mysql://user:secret@tcp(db:3306)/portico"} {
		_, err := load(t, "name: a\nhost: {namespace: b}\n", nil, "--store-endpoint", endpoint)
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "cret@") {
			t.Errorf("error %v", err)
		}
	}
}

func TestHighAvailabilityWithSQLiteIsRefused(t *testing.T) {
	_, err := load(t, "name: a\nhost: {namespace: b}\nreplicas: 2\n", nil)
	if err == nil || !strings.Contains(err.Error(), "SQLite") {
		t.Errorf("got %v, want a refusal that says why", err)
	}
}

// Somebody listens on the way to a shared store, which has all Secrets of the
// cluster. No configuration speaks to it without TLS that does not say so.
func TestAttackStoreIsSpokenToInTheClear(t *testing.T) {
	const required = "store.insecure: Required value"
	for name, c := range map[string]struct{ store, want string }{
		"etcd":                 {`{endpoint: "etcd://a:1"}`, required},
		"etcd with a prefix":   {`{endpoint: "etcd://a:1", prefix: /a, usernameFile: /u, passwordFile: /p}`, required},
		"PostgreSQL":           {`{endpoint: "postgres://user@db/portico"}`, required},
		"PostgreSQL, in words": {`{endpoint: "postgres://user@db/portico?sslmode=disable"}`, required},
		"MySQL":                {`{endpoint: "mysql://user@tcp(db:3306)/portico"}`, required},
		"MySQL, in words":      {`{endpoint: "mysql://user@tcp(db:3306)/portico?tls=false"}`, required},
		"both":                 {`{endpoint: "etcds://a:1", insecure: true}`, "store.insecure: Invalid value: true"},
		"SQLite":               {`{insecure: true}`, "store.insecure: Forbidden"},
		"etcd, on purpose":     {`{endpoint: "etcd://a:1", insecure: true}`, ""},
		"MySQL, on purpose":    {`{endpoint: "mysql://user@tcp(db:3306)/portico?tls=false", insecure: true}`, ""},
		"etcd with TLS":        {`{endpoint: "etcds://a:1"}`, ""},
		"etcd with a CA":       {`{endpoint: "etcd://a:1", tls: {caFile: /ca}}`, ""},
		"PostgreSQL with TLS":  {`{endpoint: "postgres://user@db/portico?sslmode=verify-full"}`, ""},
		"MySQL with TLS":       {`{endpoint: "mysql://user@tcp(db:3306)/portico?tls=true"}`, ""},
	} {
		_, err := load(t, "name: a\nhost: {namespace: b}\nstore: "+c.store+"\n", nil)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// An operator who says nothing of metadata has the safe lists, and an allowed
// key is allowed for its kind.
func TestMetadata(t *testing.T) {
	cfg, err := load(t, "name: a\nhost: {namespace: b}\n", nil)
	if err != nil || !cfg.Metadata.HideNodeAnnotations {
		t.Errorf("by default, keys for nodes pass: %v", err)
	}
	cfg, err = load(t, `name: a
host: {namespace: b}
metadata:
  hideNodeAnnotations: false
  allowed:
    services: {annotations: [service.beta.kubernetes.io/aws-load-balancer-type]}
    pods: {labels: ["*.istio.io/"]}
`, nil)
	if err != nil || cfg.Metadata.HideNodeAnnotations {
		t.Fatalf("got %+v, %v", cfg, err)
	}
	kinds := cfg.Metadata.Allowed.Kinds()
	if len(kinds) != 7 || kinds["Service"].Annotations[0] != "service.beta.kubernetes.io/aws-load-balancer-type" || kinds["Pod"].Labels[0] != "*.istio.io/" {
		t.Errorf("allowed: %v", kinds)
	}
}

// TestErrorsHaveAnOrder: the same mistakes are reported in the same words.
func TestErrorsHaveAnOrder(t *testing.T) {
	const file = "audit: {log: {maxAge: -1, maxBackups: -1, maxSize: -1}}\n"
	for range 20 {
		_, err := load(t, file, nil)
		if err == nil {
			t.Fatal("no error")
		}
		said := err.Error()
		age, backups, size := strings.Index(said, "audit.log.maxAge"), strings.Index(said, "audit.log.maxBackups"), strings.Index(said, "audit.log.maxSize")
		if age < 0 || backups < age || size < backups {
			t.Fatalf("got %s", said)
		}
	}
}
