// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver that kine uses
	kinetls "github.com/k3s-io/kine/pkg/tls"

	"portico.dev/portico/store"
	"portico.dev/portico/store/kine/dsn"
)

// waitAnswering returns when the database accepts us, or with an error that
// waiting would not change. kine itself tries again for minutes, for any
// reason.
func (o Options) waitAnswering(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, o.StartTimeout)
	defer cancel()
	db, err := o.open()
	if err != nil {
		return err
	}
	defer db.Close()
	for {
		err := o.try(ctx, db)
		switch {
		case err == nil || noDatabase(err):
			return nil // kine makes it, if it may
		case denied(err):
			return fmt.Errorf("%w: %w", store.ErrDenied, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no healthy answer within %v: %w", o.StartTimeout, err)
		case <-time.After(retryInterval):
		}
	}
}

const (
	retryInterval = 250 * time.Millisecond
	tryTimeout    = 5 * time.Second
)

func (o Options) try(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tryTimeout)
	defer cancel()
	return db.PingContext(ctx)
}

// open returns a pool of our own, without connecting.
func (o Options) open() (*sql.DB, error) {
	if o.Database == MySQL {
		return o.openMySQL()
	}
	source, err := o.endpoint().PostgreSQL()
	if err != nil {
		return nil, err
	}
	source = "postgres://" + source
	for name, value := range map[string]string{"sslrootcert": o.CAFile, "sslcert": o.CertFile, "sslkey": o.KeyFile} {
		if value != "" {
			source += "&" + name + "=" + value
		}
	}
	// Our questions have numbers in them, and each would be prepared.
	return sql.Open("pgx", source+"&default_query_exec_mode=simple_protocol")
}

func (o Options) openMySQL() (*sql.DB, error) {
	source, err := o.endpoint().MySQL()
	if err != nil {
		return nil, err
	}
	c, err := mysql.ParseDSN(source)
	if err != nil {
		return nil, dsn.ErrSource
	}
	if c.TLS, err = o.files().ClientConfig(); err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func (o Options) files() kinetls.Config {
	return kinetls.Config{CAFile: o.CAFile, CertFile: o.CertFile, KeyFile: o.KeyFile}
}

// Codes of the databases' errors.
const (
	postgresNoDatabase  = "3D000"
	postgresAuth        = "28" // class: invalid authorization specification
	mysqlNoDatabase     = 1049
	mysqlDenied         = 1045
	mysqlDatabaseDenied = 1044
)

func noDatabase(err error) bool {
	var p *pgconn.PgError
	var m *mysql.MySQLError
	return errors.As(err, &p) && p.Code == postgresNoDatabase || errors.As(err, &m) && m.Number == mysqlNoDatabase
}

func denied(err error) bool {
	var p *pgconn.PgError
	var m *mysql.MySQLError
	return errors.As(err, &p) && len(p.Code) == 5 && p.Code[:2] == postgresAuth ||
		errors.As(err, &m) && (m.Number == mysqlDenied || m.Number == mysqlDatabaseDenied)
}

// compareBytes makes MySQL distinguish keys as Kubernetes does: kine's table
// has the default collation of its character set, to which "Admin" and "admin"
// are the same name of a ClusterRole.
func (o Options) compareBytes(ctx context.Context) error {
	if o.Database != MySQL {
		return nil
	}
	db, err := o.openMySQL()
	if err != nil {
		return err
	}
	defer db.Close()
	var collation string
	err = db.QueryRowContext(ctx, `SELECT collation_name FROM information_schema.columns
		WHERE table_schema = DATABASE() AND table_name = 'kine' AND column_name = 'name'`).Scan(&collation)
	if err != nil {
		return fmt.Errorf("look at the table: %w", err)
	}
	if collation == "ascii_bin" {
		return nil
	}
	if _, err := db.ExecContext(ctx, "ALTER TABLE kine MODIFY name VARCHAR(630) CHARACTER SET ascii COLLATE ascii_bin"); err != nil {
		return fmt.Errorf("make keys be compared byte by byte: %w", err)
	}
	return nil
}
