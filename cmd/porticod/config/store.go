// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"portico.dev/portico/store/kine/dsn"
)

// StoreKind is the kind of store that keeps a cluster's objects.
type StoreKind string

// The kinds of stores.
const (
	StoreSQLite     StoreKind = "sqlite"
	StoreEtcd       StoreKind = "etcd"
	StorePostgreSQL StoreKind = "postgres"
	StoreMySQL      StoreKind = "mysql"
)

// storeSchemes are the schemes of endpoints, and the stores that they lead to.
var storeSchemes = map[string]struct {
	kind StoreKind
	tls  bool
}{
	"etcd":       {StoreEtcd, false},
	"etcds":      {StoreEtcd, true},
	"etcd+https": {StoreEtcd, true},
	"postgres":   {StorePostgreSQL, false},
	"postgresql": {StorePostgreSQL, false},
	"mysql":      {StoreMySQL, false},
}

// StoreEndpoint is a parsed Store.Endpoint.
type StoreEndpoint struct {
	Kind StoreKind
	// Addresses are the members of an etcd, each host:port.
	Addresses []string
	// Source is a database's endpoint without its scheme and parameters for TLS.
	Source string
	// TLS is whether the store is only spoken to with TLS.
	TLS bool
}

// Parse takes Endpoint apart. Connections are made with TLS if the scheme or
// any setting of TLS asks for it, so that a store is never reached in the clear
// by mistake.
//
//	etcd://HOST:PORT[,HOST:PORT]...
//	etcds://HOST:PORT[,HOST:PORT]...                 with TLS; also etcd+https://
//	postgres://[USER@]HOST[:PORT]/DATABASE           also postgresql://
//	mysql://[USER@]tcp(HOST:PORT)/DATABASE
//	postgres://...?sslmode=verify-full, mysql://...?tls=true    with TLS
func (s *Store) Parse() (StoreEndpoint, error) {
	if s.Endpoint == "" {
		return StoreEndpoint{Kind: StoreSQLite}, nil
	}
	name, rest, ok := strings.Cut(s.Endpoint, "://")
	scheme, known := storeSchemes[name]
	if !ok || !known {
		return StoreEndpoint{}, endpointError("must begin with etcd://, etcds://, postgres:// or mysql://, or be empty for SQLite")
	}
	if scheme.kind != StoreEtcd {
		return s.parseDatabase(scheme.kind, rest)
	}
	if strings.Contains(rest, "@") {
		return StoreEndpoint{}, endpointError("must not contain credentials; put them into store.usernameFile and store.passwordFile")
	}
	e := StoreEndpoint{Kind: scheme.kind, TLS: scheme.tls || s.TLS != StoreTLS{}}
	for address := range strings.SplitSeq(strings.TrimSuffix(rest, "/"), ",") {
		if !hostPort(address) {
			return StoreEndpoint{}, endpointError("must be a list of host:port after the scheme, separated by commas")
		}
		e.Addresses = append(e.Addresses, address)
	}
	return e, nil
}

// tlsParameters turn TLS on and off in the endpoints of databases. Other values
// of them encrypt without verifying, which protects from no attacker on the
// way.
var tlsParameters = map[StoreKind]struct{ name, on, off string }{
	StorePostgreSQL: {"sslmode", "verify-full", "disable"},
	StoreMySQL:      {"tls", "true", "false"},
}

// parseDatabase takes the parameter for TLS out of an endpoint. The rest is for
// package dsn to understand.
func (s *Store) parseDatabase(kind StoreKind, rest string) (StoreEndpoint, error) {
	e := StoreEndpoint{Kind: kind, TLS: s.TLS != StoreTLS{}}
	source, query, _ := strings.Cut(rest, "?")
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return StoreEndpoint{}, endpointError("has parameters that cannot be read")
	}
	if t := tlsParameters[kind]; parameters.Has(t.name) {
		switch value := parameters.Get(t.name); {
		case value == t.on:
			e.TLS = true
		case value != t.off:
			return StoreEndpoint{}, endpointError(fmt.Sprintf("%s must be %s or %s: an unverified connection is not secure", t.name, t.on, t.off))
		case e.TLS:
			return StoreEndpoint{}, endpointError(fmt.Sprintf("%s=%s contradicts store.tls", t.name, value))
		}
		parameters.Del(t.name)
	}
	if e.Source = source; len(parameters) > 0 {
		e.Source += "?" + parameters.Encode()
	}
	if err := (dsn.Endpoint{Database: dsn.Database(kind), Source: e.Source}).Validate(); err != nil {
		return StoreEndpoint{}, endpointError(err.Error())
	}
	return e, nil
}

// endpointError names the fault of an endpoint and does not repeat the
// endpoint: it may contain a password that somebody put there by mistake.
type endpointError string

func (e endpointError) Error() string { return string(e) }

func hostPort(v string) bool {
	host, port, err := net.SplitHostPort(v)
	if err != nil || host == "" || strings.ContainsAny(host, "/?#") {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && n > 0 && n <= 65535
}

// prefixPattern keeps prefixes plain: no empty or dotted part, nothing that
// needs quoting.
var prefixPattern = regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$`)

// leastSize is room enough for a cluster to begin.
const leastSize = 16 << 20

// MaxBytes is MaxSize as a number; 0 means no limit.
func (s *Store) MaxBytes() (int64, error) {
	q, err := resource.ParseQuantity(s.MaxSize)
	if err != nil {
		return 0, fmt.Errorf("store.maxSize: %w", err)
	}
	return q.Value(), nil
}

func (s *Store) validateSize(path *field.Path) field.ErrorList {
	bytes, err := s.MaxBytes()
	if err != nil {
		return field.ErrorList{field.Invalid(path, s.MaxSize, "must be a quantity, such as 512Mi, or 0 for no limit")}
	}
	if bytes != 0 && bytes < leastSize {
		return field.ErrorList{field.Invalid(path, s.MaxSize, "must be at least 16Mi, or 0 for no limit")}
	}
	return nil
}

func (s *Store) validate(path *field.Path) field.ErrorList {
	errs := oneOf(path.Child("durability"), s.Durability, DurabilityFull, DurabilityNormal)
	errs = append(errs, s.validateSize(path.Child("maxSize"))...)
	endpoint, err := s.Parse()
	if err != nil {
		errs = append(errs, field.Invalid(path.Child("endpoint"), redacted(s.Endpoint), err.Error()))
	}
	errs = append(errs, s.validateInsecure(path.Child("insecure"), endpoint, err == nil)...)
	for _, f := range []struct {
		name, value string
		file        bool
	}{
		{"prefix", s.Prefix, false},
		{"tls.caFile", s.TLS.CAFile, true},
		{"tls.certFile", s.TLS.CertFile, true},
		{"tls.keyFile", s.TLS.KeyFile, true},
		{"tls.serverName", s.TLS.ServerName, false},
		{"usernameFile", s.UsernameFile, true},
		{"passwordFile", s.PasswordFile, true},
	} {
		at := path.Child(f.name)
		switch {
		case f.value == "":
		case endpoint.Kind == StoreSQLite:
			errs = append(errs, field.Forbidden(at, "only a shared store has this (store.endpoint)"))
		case f.file && !filepath.IsAbs(f.value):
			errs = append(errs, field.Invalid(at, f.value, "must be an absolute path"))
		}
	}
	if s.Prefix != "" && !prefixPattern.MatchString(s.Prefix) {
		errs = append(errs, field.Invalid(path.Child("prefix"), s.Prefix, "must be like /a/b, of letters, digits, '.', '_' and '-'"))
	}
	if s.TLS.ServerName != "" && (endpoint.Kind == StorePostgreSQL || endpoint.Kind == StoreMySQL) {
		errs = append(errs, field.Forbidden(path.Child("tls", "serverName"), "only for etcd; a database is known by the host name of the endpoint"))
	}
	errs = append(errs, together(path.Child("tls"), "certFile", s.TLS.CertFile, "keyFile", s.TLS.KeyFile)...)
	if endpoint.Kind == StoreEtcd {
		errs = append(errs, together(path, "usernameFile", s.UsernameFile, "passwordFile", s.PasswordFile)...)
	}
	return errs
}

// validateInsecure refuses a connection to a store in the clear, unless the
// operator has written so.
func (s *Store) validateInsecure(path *field.Path, endpoint StoreEndpoint, known bool) field.ErrorList {
	switch {
	case !known:
		return nil
	case s.Insecure && endpoint.Kind == StoreSQLite:
		return field.ErrorList{field.Forbidden(path, "only a shared store has this (store.endpoint)")}
	case s.Insecure && endpoint.TLS:
		return field.ErrorList{field.Invalid(path, true, "contradicts the endpoint or store.tls, which ask for TLS")}
	case !s.Insecure && endpoint.Kind != StoreSQLite && !endpoint.TLS:
		return field.ErrorList{field.Required(path, "the endpoint has no TLS, and the store has all Secrets of the cluster: use "+secureForm[endpoint.Kind]+", or write true here")}
	}
	return nil
}

// secureForm is how an endpoint asks for TLS.
var secureForm = map[StoreKind]string{
	StoreEtcd: "etcds:// or store.tls", StorePostgreSQL: "?sslmode=verify-full or store.tls", StoreMySQL: "?tls=true or store.tls",
}

// together demands both of two values or neither.
func together(path *field.Path, a, valueA, b, valueB string) field.ErrorList {
	switch {
	case valueA != "" && valueB == "":
		return field.ErrorList{field.Required(path.Child(b), "goes together with "+a)}
	case valueB != "" && valueA == "":
		return field.ErrorList{field.Required(path.Child(a), "goes together with "+b)}
	default:
		return nil
	}
}

// redacted is an endpoint without its possible credentials.
func redacted(endpoint string) string {
	if address, _, found := strings.Cut(endpoint, "?"); found {
		endpoint = address + "?***"
	}
	at := strings.LastIndex(endpoint, "@")
	if at < 0 {
		return endpoint
	}
	scheme, _, found := strings.Cut(endpoint, "://")
	if !found {
		return "***" + endpoint[at:]
	}
	return scheme + "://***" + endpoint[at:]
}
