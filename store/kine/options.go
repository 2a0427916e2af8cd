// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kine

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Database is a kind of database.
type Database string

// The databases.
const (
	PostgreSQL Database = "postgres"
	MySQL      Database = "mysql"
)

// DefaultPollInterval is a compromise between how late a change is seen by
// other processes and how many questions an idle cluster asks.
const DefaultPollInterval = 500 * time.Millisecond

// Options say where a database is.
type Options struct {
	Database Database
	// Source is the endpoint without its scheme.
	//
	//	PostgreSQL  [USER@]HOST[:PORT]/DATABASE[?PARAMETERS]
	//	MySQL       [USER@]tcp(HOST:PORT)/DATABASE[?PARAMETERS]
	Source string
	// Username and Password, if set, replace what Source says.
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

// errSource is returned for a Source that cannot be read. It does not repeat it,
// for it may contain what somebody should not have put there.
var errSource = errors.New("the endpoint cannot be read")

// Parameters of a Source that change nothing about security.
var (
	postgresParameters = []string{"application_name", "connect_timeout", "search_path", "target_session_attrs"}
	mysqlParameters    = []string{"timeout", "readTimeout", "writeTimeout"}
)

// Validate says what is wrong with Source.
func (o Options) Validate() error {
	var err error
	if o.Database == MySQL {
		_, err = o.mysql()
	} else {
		_, err = o.postgres()
	}
	return err
}

// abandoned is after how many seconds MySQL ends a connection on which nothing
// is asked, and its transaction: others wait for one of a machine that lost its
// power. It is longer than our own connections are idle.
const abandoned = "150"

// postgres returns the connection string, without a scheme as kine wants it.
// TLS is either verified or off: the other modes of the protocol protect from
// nobody who is in the way.
func (o Options) postgres() (string, error) {
	u, err := url.Parse("postgres://" + o.Source)
	if err != nil || u.Host == "" || u.Fragment != "" {
		return "", fmt.Errorf("%w: must be postgres://[USER@]HOST[:PORT]/DATABASE", errSource)
	}
	if _, has := u.User.Password(); has {
		return "", fmt.Errorf("%w: must not contain a password", errSource)
	}
	if name := strings.TrimPrefix(u.Path, "/"); name == "" || strings.ContainsAny(name, `/"`) || name != strings.ToLower(name) {
		return "", fmt.Errorf("%w: must name a database, in lower case", errSource)
	}
	q := u.Query()
	for name := range q {
		if !slices.Contains(postgresParameters, name) {
			return "", fmt.Errorf("%w: parameter %q is not one of %s", errSource, name, strings.Join(postgresParameters, ", "))
		}
	}
	q.Set("sslmode", "disable")
	if o.TLS {
		q.Set("sslmode", "verify-full")
		if o.CAFile == "" {
			q.Set("sslrootcert", "system")
		}
	}
	u.RawQuery = q.Encode()
	if user := or(o.Username, u.User.Username()); user != "" {
		u.User = url.User(user)
		if o.Password != "" {
			u.User = url.UserPassword(user, o.Password)
		}
	}
	return strings.TrimPrefix(u.String(), "postgres://"), nil
}

// mysql returns the connection string.
func (o Options) mysql() (string, error) {
	c, err := mysql.ParseDSN(o.Source)
	if err != nil || c.Net != "tcp" && c.Net != "unix" {
		return "", fmt.Errorf("%w: must be mysql://[USER@]tcp(HOST:PORT)/DATABASE", errSource)
	}
	if c.Passwd != "" {
		return "", fmt.Errorf("%w: must not contain a password", errSource)
	}
	if c.DBName == "" || strings.ContainsAny(c.DBName, "/`") {
		return "", fmt.Errorf("%w: must name a database", errSource)
	}
	if _, parameters, found := strings.Cut(o.Source[strings.LastIndex(o.Source, "/"):], "?"); found {
		q, err := url.ParseQuery(parameters)
		if err != nil {
			return "", fmt.Errorf("%w: parameters", errSource)
		}
		for name := range q {
			if !slices.Contains(mysqlParameters, name) {
				return "", fmt.Errorf("%w: parameter %q is not one of %s", errSource, name, strings.Join(mysqlParameters, ", "))
			}
		}
	}
	c.User, c.Passwd = or(o.Username, c.User), o.Password
	if o.TLS && o.CAFile == "" && o.CertFile == "" {
		c.TLSConfig = "true" // verified with the system's authorities
	}
	c.Params = map[string]string{"wait_timeout": abandoned}
	return c.FormatDSN(), nil
}

// address is where the database is, for messages.
func (o Options) address() string {
	if o.Database == MySQL {
		if c, err := mysql.ParseDSN(o.Source); err == nil {
			return c.Addr
		}
		return ""
	}
	if u, err := url.Parse("postgres://" + o.Source); err == nil {
		if u.Port() == "" {
			return net.JoinHostPort(u.Hostname(), "5432")
		}
		return u.Host
	}
	return ""
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
