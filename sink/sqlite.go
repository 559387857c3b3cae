package sink

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/hubbub-chat/hubbub/schema"
)

// How SQLite is run. Figures are from BenchmarkAppend and BenchmarkHistory on
// two cores, with bodies of 200 bytes.
const (
	// busyTimeout is how long one statement waits for a lock that somebody
	// outside the process holds. Within it, nobody does.
	busyTimeout = time.Second

	// readConns is how many reads run at once.
	readConns = 4

	// A page is the unit of what a commit writes, so a batch for many rooms
	// writes a page for each: 2 KiB and 8 KiB were both slower.
	pageBytes = 4096

	// The end of every active room should be in the writer's cache, or each
	// insert reads first; readers mostly find theirs in the kernel's.
	writerCacheBytes = 16 << 20
	readerCacheBytes = 4 << 20

	// The log is folded into the database when it has this many bytes, in the
	// commit that fills it. Pages that many batches touched are then written
	// once: 16 MiB brings 1,000 rooms a fifth more rows/s than SQLite's 4 MiB.
	// 64 MiB brought as much again, and would pause a disk of 3,000 writes/s
	// for 5 s, longer than a client waits.
	checkpointBytes = 16 << 20
)

// openSQLiteWriter opens the connection that writes, and the file with it.
func openSQLiteWriter(dir string, sync Sync) (*sql.DB, error) {
	return openSQLite(dir, "rwc", 1, []string{
		// Before everything else: it is fixed with the first page written.
		"page_size(" + strconv.Itoa(pageBytes) + ")",
		"journal_mode(wal)",
		"synchronous(" + sync.String() + ")",
		// On macOS fsync(2) leaves what is written in the disk's own cache, and
		// F_FULLFSYNC does not. Elsewhere this changes nothing.
		"fullfsync(1)",
		"cache_size(-" + strconv.Itoa(writerCacheBytes>>10) + ")",
		"wal_autocheckpoint(" + strconv.Itoa(checkpointBytes/pageBytes) + ")",
		// After a burst, or a reader that held the log up, give the disk back.
		"journal_size_limit(" + strconv.Itoa(4*checkpointBytes) + ")",
		// A multi-row insert keeps an undo journal. In a file, the default, it
		// took a quarter of the time of a batch for many rooms.
		"temp_store(memory)",
	})
}

// openSQLiteReaders opens the connections that read. The file must be there.
func openSQLiteReaders(dir string) (*sql.DB, error) {
	return openSQLite(dir, "ro", readConns, []string{
		"cache_size(-" + strconv.Itoa(readerCacheBytes>>10) + ")",
	})
}

// sqlitePath is the database's file.
func sqlitePath(dir string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, "hubbub.db"))
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	return path, nil
}

func openSQLite(dir, mode string, conns int, pragmas []string) (*sql.DB, error) {
	path, err := sqlitePath(dir)
	if err != nil {
		return nil, err
	}
	// A URI, so that no character of the path can be taken for an option.
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"mode":          {mode},
		"_busy_timeout": {strconv.FormatInt(busyTimeout.Milliseconds(), 10)},
		"_pragma":       pragmas,
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// migrateSQLite brings the tables up to date. A database that a newer Hubbub
// has migrated is refused: this one does not know what its tables mean.
func migrateSQLite(ctx context.Context, db *sql.DB) error {
	p, err := goose.NewProvider(goose.DialectSQLite3, db, schema.SQLiteMigrations(),
		goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	current, known, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the database's version: %w", err)
	}
	if current > known {
		return fmt.Errorf("the database has version %d, this program knows %d: it was written by a newer one", current, known)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// checkpointSQLite folds the write-ahead log into the database file. That a
// reader outside the process prevents it is no error: the log stays.
func checkpointSQLite(db *sql.DB) error {
	var busy, pages, folded int
	err := db.QueryRow(`PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &folded)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// classifySQLite tells apart what is the file's or the disk's fault, and what
// is the data's. Being busy is the former too, and may be over at once.
func classifySQLite(err error) error {
	var e *sqlite.Error
	switch {
	case !errors.As(err, &e), errors.Is(err, ErrRefused):
		return err
	case e.Code()&0xff == sqlite3.SQLITE_BUSY:
		return fmt.Errorf("%w: %w: %w", ErrBusy, ErrRefused, err)
	case sqliteStates[e.Code()&0xff]:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}
