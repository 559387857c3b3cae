// Package rows reads what a server has stored in its database, past the server
// itself: the second witness of what an acknowledgement is worth.
//
// It knows one table, messages, by the columns room, seq, dup_of and body.
package rows

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"
)

// DB is a connection to the database.
type DB struct{ db *sql.DB }

// The most rows of one query, and how long it may take.
const (
	page    = 2000
	timeout = 30 * time.Second
)

// Open connects. Its errors do not tell the DSN, which has a password.
func Open(ctx context.Context, dsn string) (*DB, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, errors.New("the DSN is not user:password@tcp(host:port)/database")
	}
	if cfg.DBName == "" {
		return nil, errors.New("the DSN names no database")
	}
	cfg.Timeout, cfg.ReadTimeout, cfg.InterpolateParams = 5*time.Second, timeout, true
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	db := sql.OpenDB(connector)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("database: %w", err)
	}
	return &DB{db}, nil
}

// Close ends the connection.
func (d *DB) Close() error { return d.db.Close() }

// Room calls see for every shown message of a room from an offset on, in the
// order of the offsets.
func (d *DB) Room(ctx context.Context, room string, from uint64, see func(offset uint64, body []byte)) error {
	for {
		n, err := d.page(ctx, room, &from, see)
		if err != nil || n < page {
			return err
		}
	}
}

func (d *DB) page(ctx context.Context, room string, from *uint64, see func(uint64, []byte)) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	rows, err := d.db.QueryContext(ctx,
		"SELECT seq, body FROM messages WHERE room = ? AND seq >= ? AND dup_of = 0 ORDER BY seq LIMIT ?", room, *from, page)
	if err != nil {
		return 0, err
	}
	defer rows.Close() //nolint:errcheck // Err has it
	for rows.Next() {
		var seq uint64
		var body sql.RawBytes
		if err := rows.Scan(&seq, &body); err != nil {
			return n, err
		}
		see(seq, body)
		*from = seq + 1
		n++
	}
	return n, rows.Err()
}
