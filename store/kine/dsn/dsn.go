// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package dsn

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Database is a kind of database.
type Database string

// The databases.
const (
	PostgreSQL Database = "postgres"
	MySQL      Database = "mysql"
)

// Endpoint says where a database is and how to log in.
type Endpoint struct {
	Database Database
	// Source is the endpoint without its scheme.
	//
	//	PostgreSQL  [USER@]HOST[:PORT]/DATABASE[?PARAMETERS]
	//	MySQL       [USER@]tcp(HOST:PORT)/DATABASE[?PARAMETERS]
	Source string
	// Username and Password, if set, replace those of Source.
	Username, Password string
	// TLS is whether the database is only spoken to with TLS. Roots says that the
	// authorities come from a file, and not from the system; Certificate that we
	// have a client certificate.
	TLS, Roots, Certificate bool
}

// ErrSource is returned for a Source that cannot be read. It does not repeat
// the Source, which may contain a password.
var ErrSource = errors.New("the endpoint cannot be read")

// Parameters of a Source that change nothing about security.
var (
	postgresParameters = []string{"application_name", "connect_timeout", "search_path", "target_session_attrs"}
	mysqlParameters    = []string{"timeout", "readTimeout", "writeTimeout"}
)

// Validate returns an [ErrSource] with the mistake in Source.
func (e Endpoint) Validate() error {
	var err error
	if e.Database == MySQL {
		_, err = e.MySQL()
	} else {
		_, err = e.PostgreSQL()
	}
	return err
}

// abandoned is after how many seconds MySQL ends a connection on which nothing
// is asked, and its transaction: others wait for one of a machine that lost its
// power. It is longer than our own connections are idle.
const abandoned = "150"

// PostgreSQL returns the connection string, without a scheme as kine wants it.
// TLS is either verified or off: the other modes of the protocol do not protect
// from a man in the middle.
func (e Endpoint) PostgreSQL() (string, error) {
	u, err := url.Parse("postgres://" + e.Source)
	if err != nil || u.Host == "" || u.Fragment != "" {
		return "", fmt.Errorf("%w: must be postgres://[USER@]HOST[:PORT]/DATABASE", ErrSource)
	}
	if _, has := u.User.Password(); has {
		return "", fmt.Errorf("%w: must not contain a password", ErrSource)
	}
	if name := strings.TrimPrefix(u.Path, "/"); name == "" || strings.ContainsAny(name, `/"`) || name != strings.ToLower(name) {
		return "", fmt.Errorf("%w: must name a database, in lower case", ErrSource)
	}
	q := u.Query()
	for name := range q {
		if !slices.Contains(postgresParameters, name) {
			return "", fmt.Errorf("%w: parameter %q is not one of %s", ErrSource, name, strings.Join(postgresParameters, ", "))
		}
	}
	q.Set("sslmode", "disable")
	if e.TLS {
		q.Set("sslmode", "verify-full")
		if !e.Roots {
			q.Set("sslrootcert", "system")
		}
	}
	u.RawQuery = q.Encode()
	if user := or(e.Username, u.User.Username()); user != "" {
		u.User = url.User(user)
		if e.Password != "" {
			u.User = url.UserPassword(user, e.Password)
		}
	}
	return strings.TrimPrefix(u.String(), "postgres://"), nil
}

// MySQL returns the connection string.
func (e Endpoint) MySQL() (string, error) {
	c, err := mysql.ParseDSN(e.Source)
	if err != nil || c.Net != "tcp" && c.Net != "unix" {
		return "", fmt.Errorf("%w: must be mysql://[USER@]tcp(HOST:PORT)/DATABASE", ErrSource)
	}
	if c.Passwd != "" {
		return "", fmt.Errorf("%w: must not contain a password", ErrSource)
	}
	if c.DBName == "" || strings.ContainsAny(c.DBName, "/`") {
		return "", fmt.Errorf("%w: must name a database", ErrSource)
	}
	if _, parameters, found := strings.Cut(e.Source[strings.LastIndex(e.Source, "/"):], "?"); found {
		q, err := url.ParseQuery(parameters)
		if err != nil {
			return "", fmt.Errorf("%w: parameters", ErrSource)
		}
		for name := range q {
			if !slices.Contains(mysqlParameters, name) {
				return "", fmt.Errorf("%w: parameter %q is not one of %s", ErrSource, name, strings.Join(mysqlParameters, ", "))
			}
		}
	}
	c.User, c.Passwd = or(e.Username, c.User), e.Password
	if e.TLS && !e.Roots && !e.Certificate {
		c.TLSConfig = "true" // verified with the system's authorities
	}
	c.Params = map[string]string{"wait_timeout": abandoned}
	return c.FormatDSN(), nil
}

// Address is where the database is, for messages. It is empty for a Source that
// cannot be read.
func (e Endpoint) Address() string {
	if e.Database == MySQL {
		if c, err := mysql.ParseDSN(e.Source); err == nil {
			return c.Addr
		}
		return ""
	}
	if u, err := url.Parse("postgres://" + e.Source); err == nil {
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
