package sink

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/hubbub-chat/hubbub/schema"
)

// versionTable is goose's.
const versionTable = "goose_db_version"

// tableColumns are the columns that this program uses, by table: those of the
// newest migration.
var tableColumns = map[string]string{
	"messages":  messageColumns,
	"sends":     "room, sender, send_key, seq",
	"positions": "topic, part, pos, moved",
	"repairs":   "topic, part, room, seq, epoch, since",
	"meta":      "name, value",
	"blocked":   "list, name, ends",
}

func newVersionStore() (versionStore, error) {
	store, err := database.NewStore(database.DialectMySQL, versionTable)
	if err != nil {
		return versionStore{}, fmt.Errorf("read the migrations: %w", err)
	}
	return versionStore{store}, nil
}

func newMySQLProvider(db *sql.DB) (*goose.Provider, error) {
	store, err := newVersionStore()
	if err != nil {
		return nil, err
	}
	p, err := goose.NewProvider("", db, schema.MySQLMigrations(), goose.WithStore(store),
		goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return p, nil
}

// versionStore finds the version table by reading it. goose looks for its name
// in information_schema with a condition that vtgate does not translate
// (DATABASE() is the keyspace, table_schema the shard's database), so on Vitess
// it would create the table again on every run.
type versionStore struct{ database.Store }

// TableExists implements goose's optional database.StoreExtender.
func (s versionStore) TableExists(ctx context.Context, db database.DBTxConn) (bool, error) {
	var version sql.NullInt64
	err := db.QueryRowContext(ctx, `SELECT MAX(version_id) FROM `+s.Tablename()).Scan(&version)
	if isMissingTable(err) {
		return false, nil
	}
	return err == nil, err
}

// isMissingTable reports error 1146. A keyspace of Vitess that is sharded, or
// that has no tables at all, answers with other codes; see isMissingVSchema.
func isMissingTable(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == 1146
}

// isMissingVSchema reports what vtgate answers about a table that a sharded
// keyspace's vschema does not have: 1105 (unknown) with the text of VT05005 or
// VT03026, or 1109 (VT05004).
func isMissingVSchema(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && (e.Number == 1109 || e.Number == 1105 && strings.Contains(e.Message, "table "+versionTable+" not found"))
}

// versions is what goose's table says.
type versions struct {
	table   bool  // there is one
	rows    int   // in it
	version int64 // the newest, 0 for none
}

// readVersion reads goose's table without creating it.
func readVersion(ctx context.Context, db *sql.DB) (v versions, err error) {
	err = db.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(MAX(version_id), 0) FROM `+versionTable+` WHERE is_applied`).Scan(&v.rows, &v.version)
	switch {
	case isMissingTable(err):
		return versions{}, nil
	case isMissingVSchema(err):
		return versions{}, fmt.Errorf("%w: %w", ErrNoVSchema, err)
	case err != nil:
		return versions{}, fmt.Errorf("read the tables' version: %w", err)
	}
	v.table = true
	return v, nil
}

// beginVersions sees to it that goose's table is there and has a row. goose
// itself tries four times to create it, and gives up where it is there and
// empty. So it is in a copy of the tables without their data, which a deploy
// request of PlanetScale makes, and after a crash between CREATE and INSERT.
// Then nobody has written down which migrations have run, and it is looked at:
// where all columns are there all have. (Otherwise they run, which does no harm
// where they have run before.)
func beginVersions(ctx context.Context, db *sql.DB, p *goose.Provider) error {
	have, err := readVersion(ctx, db)
	if err != nil || have.rows > 0 {
		return err
	}
	store, err := newVersionStore()
	if err != nil {
		return err
	}
	if !have.table {
		if err := store.CreateVersionTable(ctx, db); err != nil {
			return fmt.Errorf("create the tables: %w", err)
		}
	}
	applied := []int64{0} // goose's own first row
	complete := false
	if have.table {
		lacking, err := incompleteTable(ctx, db)
		if err != nil {
			return err
		}
		complete = lacking == ""
	}
	if complete {
		for _, source := range p.ListSources() {
			applied = append(applied, source.Version)
		}
	}
	for _, version := range applied {
		if err := store.Insert(ctx, db, database.InsertRequest{Version: version}); err != nil {
			return fmt.Errorf("write the tables' version: %w", err)
		}
	}
	return nil
}

// incompleteTable returns the first table, by name, that is not there as the
// newest migration leaves it; empty: all are.
func incompleteTable(ctx context.Context, db *sql.DB) (string, error) {
	for _, table := range slices.Sorted(maps.Keys(tableColumns)) {
		columns := tableColumns[table]
		rows, err := db.QueryContext(ctx, `SELECT `+columns+` FROM `+table+` LIMIT 0`)
		if err == nil {
			err = errors.Join(rows.Err(), rows.Close())
		}
		var e *mysql.MySQLError
		switch {
		case isMissingTable(err), errors.As(err, &e) && e.Number == 1054: // unknown column
			return table, nil
		case err != nil:
			return "", fmt.Errorf("look at the table %s: %w", table, err)
		}
	}
	return "", nil
}
