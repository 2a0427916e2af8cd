// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// table is revisions in a database.
type table struct{ *sql.DB }

func (t table) look(ctx context.Context, from, to int64) (compacted, current, n int64, err error) {
	err = t.QueryRowContext(ctx, fmt.Sprintf(`SELECT
		(SELECT COALESCE(MAX(prev_revision), 0) FROM kine WHERE name = '%s'),
		(SELECT COALESCE(MAX(id), 0) FROM kine),
		(SELECT COUNT(*) FROM kine WHERE id > %d AND id <= %d)`, compactionKey, from, to)).Scan(&compacted, &current, &n)
	return compacted, current, n, err
}

// filler is the beginning of the name of a row that fills a gap, as kine has it.
const filler = "gap-"

func (t table) fillers(ctx context.Context, from, to int64) (n int64, err error) {
	err = t.QueryRowContext(ctx, fmt.Sprintf(`SELECT COUNT(*) FROM kine WHERE id > %d AND id <= %d AND name LIKE '%s%%'`,
		from, to, filler)).Scan(&n)
	return n, err
}

// maxFill are filled at a time.
const maxFill = 1000

func (t table) fill(ctx context.Context, from, to int64) error {
	rows, err := t.QueryContext(ctx, fmt.Sprintf(`SELECT id FROM kine WHERE id > %d AND id <= %d ORDER BY id`, from, to))
	if err != nil {
		return err
	}
	var missing []int64
	next := from + 1
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return errors.Join(err, rows.Close())
		}
		for ; next < id && len(missing) < maxFill; next++ {
			missing = append(missing, next)
		}
		next = id + 1
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, id := range missing {
		_, err := t.ExecContext(ctx, fmt.Sprintf(`INSERT INTO kine(id, name, created, deleted, create_revision, prev_revision, lease)
			VALUES (%d, '%s%d', 0, 1, 0, 0, 0)`, id, filler, id))
		if err != nil && !taken(err) {
			return err
		}
	}
	return nil
}

// Codes of the databases for a row that is there already, or may be soon.
const (
	postgresDuplicate = "23505"
	mysqlDuplicate    = 1062
	mysqlLockTimeout  = 1205
	mysqlDeadlock     = 1213
)

func taken(err error) bool {
	var p *pgconn.PgError
	var m *mysql.MySQLError
	return errors.As(err, &p) && p.Code == postgresDuplicate ||
		errors.As(err, &m) && (m.Number == mysqlDuplicate || m.Number == mysqlLockTimeout || m.Number == mysqlDeadlock)
}
