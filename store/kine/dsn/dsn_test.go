// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package dsn_test

import (
	"strings"
	"testing"

	"portico.dev/portico/store/kine/dsn"
)

func TestSources(t *testing.T) {
	for name, c := range map[string]struct {
		endpoint dsn.Endpoint
		want     bool
	}{
		"PostgreSQL":                  {dsn.Endpoint{Database: dsn.PostgreSQL, Source: "user@host:5432/portico?connect_timeout=5"}, true},
		"PostgreSQL password":         {dsn.Endpoint{Database: dsn.PostgreSQL, Source: "user:secret@host/portico"}, false},
		"PostgreSQL password apart":   {dsn.Endpoint{Database: dsn.PostgreSQL, Source: "user@host/portico?password=secret"}, false},
		"PostgreSQL without database": {dsn.Endpoint{Database: dsn.PostgreSQL, Source: "user@host"}, false},
		"PostgreSQL unverified TLS":   {dsn.Endpoint{Database: dsn.PostgreSQL, Source: "user@host/portico?sslmode=require"}, false},
		"MySQL":                       {dsn.Endpoint{Database: dsn.MySQL, Source: "user@tcp(host:3306)/portico?timeout=5s"}, true},
		"MySQL password":              {dsn.Endpoint{Database: dsn.MySQL, Source: "user:secret@tcp(host:3306)/portico"}, false},
		"MySQL unverified TLS":        {dsn.Endpoint{Database: dsn.MySQL, Source: "user@tcp(host:3306)/portico?tls=skip-verify"}, false},
		"MySQL files of the client":   {dsn.Endpoint{Database: dsn.MySQL, Source: "user@tcp(host:3306)/portico?allowAllFiles=true"}, false},
		"MySQL without database":      {dsn.Endpoint{Database: dsn.MySQL, Source: "user@tcp(host:3306)/"}, false},
		"MySQL nonsense":              {dsn.Endpoint{Database: dsn.MySQL, Source: "user:secret@"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.endpoint.Validate()
			if (err == nil) != c.want || err != nil && strings.Contains(err.Error(), "secret") {
				t.Error(err)
			}
		})
	}
}
