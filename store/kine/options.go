// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kine

import (
	"time"

	"portico.dev/portico/store/kine/dsn"
)

// Database is a kind of database.
type Database = dsn.Database

// The databases.
const (
	PostgreSQL = dsn.PostgreSQL
	MySQL      = dsn.MySQL
)

// DefaultPollInterval is a compromise between how late a change is seen by
// other processes and how many questions an idle cluster asks.
const DefaultPollInterval = 500 * time.Millisecond

// Options say where a database is.
type Options struct {
	Database Database
	// Source is the endpoint without its scheme (see [dsn.Endpoint]).
	Source string
	// Username and Password, if set, replace those of Source.
	Username string
	Password string
	// TLS is whether the database is only spoken to with TLS. The files are PEM;
	// without CAFile the system's authorities hold.
	TLS                       bool
	CAFile, CertFile, KeyFile string
	// Prefix is before every key of the virtual cluster.
	Prefix string
	// Retention is how long history is kept; etcd.DefaultRetention if 0.
	// Negative turns compaction off.
	Retention time.Duration
	// PollInterval is how late changes of other processes are seen;
	// DefaultPollInterval if 0. Our own wake the poll at once.
	PollInterval time.Duration
	// StartTimeout is how long Open waits for a database that answers;
	// etcd.DefaultStartTimeout if 0.
	StartTimeout time.Duration
}

// endpoint is the part of the options that makes up a connection string.
func (o Options) endpoint() dsn.Endpoint {
	return dsn.Endpoint{
		Database: o.Database, Source: o.Source, Username: o.Username, Password: o.Password,
		TLS: o.TLS, Roots: o.CAFile != "", Certificate: o.CertFile != "",
	}
}
