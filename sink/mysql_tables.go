package sink

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"
)

// ErrOldTables is returned for a database that has to be migrated first.
var ErrOldTables = errors.New("the tables are those of an older Hubbub, or of nobody knows which: run `hubbub migrate`")

// ErrNoVSchema is returned for a sharded keyspace of Vitess that does not know
// how the tables are sharded.
var ErrNoVSchema = errors.New("the keyspace is sharded and its vschema has no Hubbub tables: apply what `hubbub migrate --vschema` prints, then migrate")

// ErrPartOfTables is returned where the version is this program's and a table or
// a column is not there: a part was restored, or dropped, or the version is that
// of another program which uses goose in the same database.
var ErrPartOfTables = errors.New("the tables are not as the migrations leave them")

const (
	migrateWait  = time.Minute // for another process that migrates
	migrateConns = 3           // one has the lock
)

// checkTables does checkMySQLTables on connections of its own: those that write
// may not be silent for as long as a migration takes.
func (s mysqlServer) checkTables(ctx context.Context, dsn *mysql.Config) error {
	db, err := openPool(dsn, migrateConns, &mysqlConnector{session: s.session(false)})
	if err != nil {
		return err
	}
	defer db.Close() // nothing is under way on it
	return checkMySQLTables(ctx, db)
}

// checkMySQLTables looks whether the tables are what this program knows. It
// creates them in an empty database: nothing can be harmed there, and a first
// start needs no further step. Any number of processes may do this at once.
func checkMySQLTables(ctx context.Context, db *sql.DB) error {
	have, err := readVersion(ctx, db)
	if err != nil {
		return err
	}
	p, err := newMySQLProvider(db)
	if err != nil {
		return err
	}
	sources := p.ListSources() // by version
	known := sources[len(sources)-1].Version
	if have.version == known {
		return checkComplete(ctx, db, known)
	}
	if have.version > known {
		return newerTables(have.version, known)
	}
	return lockMySQL(ctx, db, func(ctx context.Context) error {
		var tables int
		err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()`).Scan(&tables)
		if err != nil {
			return fmt.Errorf("count the tables: %w", err)
		}
		if tables == 0 {
			_, _, err := migrateMySQL(ctx, db)
			return err
		}
		have, err := readVersion(ctx, db) // somebody else may have been here first
		switch {
		case err != nil:
			return err
		case !have.table || have.rows == 0:
			return fmt.Errorf("%w: %s has no row, as in a copy without data", ErrOldTables, versionTable)
		case have.version != known:
			return fmt.Errorf("%w: version %d, this program needs %d", ErrOldTables, have.version, known)
		}
		return checkComplete(ctx, db, known)
	})
}

// checkComplete returns ErrPartOfTables unless every table is there as a
// version's migrations leave it. That goose has written it down is no proof.
func checkComplete(ctx context.Context, db *sql.DB, version int64) error {
	lacking, err := incompleteTable(ctx, db)
	if err != nil || lacking == "" {
		return err
	}
	return fmt.Errorf("%w: %s is missing or lacks a column, and %s has version %d: restore it or, where there is nothing to keep, "+
		"DELETE FROM %[3]s and run `hubbub migrate`", ErrPartOfTables, lacking, versionTable, version)
}

func newerTables(have, known int64) error {
	return fmt.Errorf("the tables have version %d, this program knows %d: a newer one has migrated them", have, known)
}

// MigrateMySQL brings the tables up to date, and returns the versions before
// and after. One process at a time does so; others wait for a minute. The
// DSN's readTimeout bounds each statement only if the DSN says one: to alter a
// large table takes hours.
func MigrateMySQL(ctx context.Context, cfg MySQLConfig) (from, to int64, err error) {
	dsn, err := parseDSN(cfg)
	if err != nil {
		return 0, 0, err
	}
	if dsn.ReadTimeout == readTimeout {
		dsn.ReadTimeout = 0
	}
	wrap := func(err error) error { return fmt.Errorf("database %s at %s: %w", dsn.DBName, dsn.Addr, advise(err)) }
	server, err := askMySQL(ctx, dsn)
	if err != nil {
		return 0, 0, wrap(err)
	}
	db, err := openPool(dsn, migrateConns, &mysqlConnector{session: server.session(false)})
	if err != nil {
		return 0, 0, wrap(err)
	}
	err = lockMySQL(ctx, db, func(ctx context.Context) (err error) {
		from, to, err = migrateMySQL(ctx, db)
		return err
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return from, to, wrap(err)
	}
	return from, to, nil
}

// migrateMySQL runs what goose has not run yet.
func migrateMySQL(ctx context.Context, db *sql.DB) (from, to int64, err error) {
	p, err := newMySQLProvider(db)
	if err != nil {
		return 0, 0, err
	}
	if err := beginVersions(ctx, db, p); err != nil {
		return 0, 0, err
	}
	from, to, err = p.GetVersions(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("read the tables' version: %w", err)
	}
	if from > to {
		return from, to, newerTables(from, to)
	}
	if _, err := p.Up(ctx); err != nil {
		return from, to, fmt.Errorf("migrate: %w", err)
	}
	return from, to, checkComplete(ctx, db, to)
}

// lockMySQL runs f while no other process is in it for the same database.
func lockMySQL(ctx context.Context, db *sql.DB, f func(context.Context) error) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// The name is the server's, not the database's, and has 64 characters at
	// most: 63 here. MySQL 9 has no MD5() and no SHA1().
	const name = `CONCAT('hubbub ', SHA2(DATABASE(), 224))`
	deadline := time.Now().Add(migrateWait)
	for {
		// Asked for a second at a time: an answer must come within readTimeout.
		var got sql.NullInt64
		if err := conn.QueryRowContext(ctx, `SELECT GET_LOCK(`+name+`, 1)`).Scan(&got); err != nil {
			return fmt.Errorf("lock the tables' version: %w", err)
		}
		if got.Int64 == 1 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("another process has been migrating the tables for %v", migrateWait)
		}
	}
	defer func() {
		// Not DO, which Vitess sends to any connection.
		var released sql.NullInt64
		e := conn.QueryRowContext(context.WithoutCancel(ctx), `SELECT RELEASE_LOCK(`+name+`)`).Scan(&released)
		err = errors.Join(err, e)
	}()
	return f(ctx)
}
