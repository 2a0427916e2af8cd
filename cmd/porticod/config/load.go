// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// setting is a value that also has a flag and an environment variable.
type setting struct {
	path  string // in the file
	usage string
	set   func(*Config, string) error
}

// flag is the setting's flag: host.advertiseAddress is --host-advertise-address.
func (s setting) flag() string {
	var b strings.Builder
	for _, r := range s.path {
		switch {
		case r == '.':
			b.WriteByte('-')
		case r >= 'A' && r <= 'Z':
			b.WriteByte('-')
			b.WriteRune(r - 'A' + 'a')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// env is the setting's environment variable: PORTICO_HOST_ADVERTISE_ADDRESS.
func (s setting) env() string {
	return "PORTICO_" + strings.ToUpper(strings.ReplaceAll(s.flag(), "-", "_"))
}

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		*field(c) = v
		return nil
	}
}

func number(field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, v string) (err error) {
		*field(c), err = strconv.Atoi(v)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", v)
		}
		return nil
	}
}

func truth(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, v string) (err error) {
		*field(c), err = strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", v)
		}
		return nil
	}
}

func settings() []setting {
	return []setting{
		{"name", "name of the virtual cluster", text(func(c *Config) *string { return &c.Name })},
		{"host.kubeconfig", "kubeconfig of the host cluster; empty inside of it", text(func(c *Config) *string { return &c.Host.Kubeconfig })},
		{"host.namespace", "host namespace of the virtual cluster", text(func(c *Config) *string { return &c.Host.Namespace })},
		{"host.advertiseAddress", "IP:port at which pods reach the API when outside of the host cluster", text(func(c *Config) *string { return &c.Host.AdvertiseAddress })},
		{"host.serviceName", "host Service that leads to the API", text(func(c *Config) *string { return &c.Host.ServiceName })},
		{"host.workloadServiceAccount", "host ServiceAccount, without rights, that pods run as", text(func(c *Config) *string { return &c.Host.WorkloadServiceAccount })},
		{"host.qps", "requests a second to the host, for tenants and for porticod itself each", number(func(c *Config) *int { return &c.Host.QPS })},
		{"host.burst", "requests to the host at once", number(func(c *Config) *int { return &c.Host.Burst })},
		{"host.maxStreams", "logs, exec sessions, port forwards and proxied requests at a time", number(func(c *Config) *int { return &c.Host.MaxStreams })},
		{"dataDir", "directory of the store and the certificates", text(func(c *Config) *string { return &c.DataDir })},
		{"listen", "address:port to serve on; port 0 chooses one", text(func(c *Config) *string { return &c.Listen })},
		{"kubeconfigPath", "where to write the administrator's kubeconfig", text(func(c *Config) *string { return &c.KubeconfigPath })},
		{"clusterDomain", "DNS domain that pods see", text(func(c *Config) *string { return &c.ClusterDomain })},
		{"coredns.enabled", "true for a DNS of the cluster's own", truth(func(c *Config) *bool { return &c.CoreDNS.Enabled })},
		{"coredns.mode", "embedded or deployment", text(func(c *Config) *string { return &c.CoreDNS.Mode })},
		{"coredns.listen", "IP:port of the embedded DNS; port 0 chooses one", text(func(c *Config) *string { return &c.CoreDNS.Listen })},
		{"coredns.replicas", "number of pods in the mode deployment", number(func(c *Config) *int { return &c.CoreDNS.Replicas })},
		{"coredns.image", "image of the pods in the mode deployment", text(func(c *Config) *string { return &c.CoreDNS.Image })},
		{"store.endpoint", "shared store; empty means SQLite", text(func(c *Config) *string { return &c.Store.Endpoint })},
		{"store.prefix", "beginning of every key in a shared etcd", text(func(c *Config) *string { return &c.Store.Prefix })},
		{"store.tls.caFile", "authorities of a shared store's certificate", text(func(c *Config) *string { return &c.Store.TLS.CAFile })},
		{"store.tls.certFile", "client certificate for a shared store", text(func(c *Config) *string { return &c.Store.TLS.CertFile })},
		{"store.tls.keyFile", "key of the client certificate", text(func(c *Config) *string { return &c.Store.TLS.KeyFile })},
		{"store.tls.serverName", "name in a shared store's certificate", text(func(c *Config) *string { return &c.Store.TLS.ServerName })},
		{"store.insecure", "true for a shared store without TLS", truth(func(c *Config) *bool { return &c.Store.Insecure })},
		{"store.usernameFile", "file with the user of a shared store", text(func(c *Config) *string { return &c.Store.UsernameFile })},
		{"store.passwordFile", "file with the password for a shared store", text(func(c *Config) *string { return &c.Store.PasswordFile })},
		{"store.durability", "full or normal", text(func(c *Config) *string { return &c.Store.Durability })},
		{"store.maxSize", "bytes that the cluster's own objects can have, such as 512Mi; 0 for any number", text(func(c *Config) *string { return &c.Store.MaxSize })},
		{"reads", "cached or strict", text(func(c *Config) *string { return &c.Reads })},
		{"replicas", "number of porticod processes of this cluster", number(func(c *Config) *int { return &c.Replicas })},
		{"pods.hostsImage", "image of porticod, which writes the full names of pods into their /etc/hosts", text(func(c *Config) *string { return &c.Pods.HostsImage })},
		{"sleep.afterInactivity", "inactivity after which the cluster sleeps, such as 30m", text(func(c *Config) *string { return &c.Sleep.AfterInactivity })},
		{"sleep.schedule", "when the cluster goes to sleep, as for cron", text(func(c *Config) *string { return &c.Sleep.Schedule })},
		{"sleep.timezone", "time zone of the schedules of sleep, such as Europe/Berlin", text(func(c *Config) *string { return &c.Sleep.Timezone })},
		{"sleep.wakeup.schedule", "when the cluster wakes, as for cron", text(func(c *Config) *string { return &c.Sleep.WakeUp.Schedule })},
		{"logLevel", "verbosity of the log, 0 to 10", number(func(c *Config) *int { return &c.LogLevel })},
	}
}

// Loader reads the configuration from its three sources.
type Loader struct {
	flags  *pflag.FlagSet
	env    func(string) (string, bool)
	file   string
	values map[string]*string
}

// NewLoader adds the flags of all settings to flags. env is os.LookupEnv, or a
// stand-in.
func NewLoader(flags *pflag.FlagSet, env func(string) (string, bool)) *Loader {
	l := &Loader{flags: flags, env: env, values: map[string]*string{}}
	flags.StringVarP(&l.file, "config", "c", "", "configuration file (portico.yaml)")
	for _, s := range settings() {
		l.values[s.path] = flags.String(s.flag(), "", s.usage+" ["+s.env()+"]")
	}
	return l
}

// Read returns the configuration of a file alone, completed and valid, or every
// mistake in it. Flags and the environment have no say.
func Read(path string) (*Config, error) {
	c := Default()
	errs, err := readFile(path, c)
	if err != nil {
		return nil, err
	}
	return c.finish(errs)
}

// Load returns the configuration, completed and valid, or every mistake in it.
func (l *Loader) Load() (*Config, error) {
	c := Default()
	errs, err := readFile(l.file, c)
	if err != nil {
		return nil, err
	}
	for _, s := range settings() {
		v, set := l.env(s.env())
		if f := l.flags.Lookup(s.flag()); f.Changed {
			v, set = *l.values[s.path], true
		}
		if !set {
			continue
		}
		if err := s.set(c, v); err != nil {
			errs = append(errs, field.Invalid(field.NewPath(s.path), v, err.Error()))
		}
	}
	return c.finish(errs)
}

// finish completes and validates a configuration. errs are the mistakes that
// were found while it was read.
func (c *Config) finish(errs field.ErrorList) (*Config, error) {
	c.complete()
	if err := append(errs, c.validate()...).ToAggregate(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return c, nil
}

// readFile fills c from a file, if there is one. Keys that mean nothing are
// mistakes like others; a file of which the rest cannot be read is an error.
func readFile(path string, c *Config) (field.ErrorList, error) {
	if path == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	content, err := yaml.YAMLToJSONStrict(raw)
	if err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", path, err)
	}
	unknown, err := json.UnmarshalStrict(content, c)
	if err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", path, err)
	}
	var errs field.ErrorList
	for _, u := range unknown {
		var at json.FieldError
		if !errors.As(u, &at) {
			return nil, fmt.Errorf("configuration file %s: %w", path, u)
		}
		errs = append(errs, unknownKey(at.FieldPath()))
	}
	return errs, nil
}
