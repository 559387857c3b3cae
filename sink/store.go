package sink

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/schema"
)

var (
	// ErrClosed is returned by whatever has been closed.
	ErrClosed = errors.New("closed")

	// ErrBusy is returned by Append when somebody else, a backup or a
	// person's sqlite3, held the database's write lock for longer than
	// busyTimeout. Nothing was written; the same batch may be tried again.
	ErrBusy = errors.New("database is busy")

	// ErrData is returned by Append when the database refuses what it is
	// given: a value too long or out of range. Nothing was written, and
	// nothing of this batch ever will be while that message is in it.
	ErrData = errors.New("the database refuses the data")

	// ErrUnavailable is returned by Append when the database, elsewhere,
	// cannot be reached or does not serve. Whether the batch was stored is
	// not known; appending it again until there is an answer is harmless.
	ErrUnavailable = errors.New("the database is not available")
)

// Store is the database of messages. One connection writes, a few read.
//
// All methods may be called concurrently; Appends run one after the other.
type Store struct {
	// Immutable.
	dialect *dialect
	lock    *dirLock // of the directory; nil for a database elsewhere
	epoch   string
	writes  *sql.DB // of SQLite one connection: migrations, then the writer's
	reads   *sql.DB
	probes  *sql.DB   // of a server: one connection, to see whether it takes writes
	shards  *shardMap // of a keyspace of Vitess, otherwise nil

	// Immutable, on reads.
	last, after, before, count query

	health  *health       // immutable
	files   *sqliteFiles  // of SQLite
	queries atomic.Uint64 // run
	tried   atomic.Int64  // when something was written last, or should have been; nanoseconds since 1970

	// Guarded by mu.
	mu     sync.Mutex
	writer *writer // nil until needed, and after it has failed
	closed bool
}

// OpenSQLite opens the store in dir/hubbub.db. It creates both where they are
// missing (the directory for its owner alone), takes the directory's lock and
// brings the tables up to date. The error is ErrLocked when another Store has
// the directory, in this process or another. log hears of changes of the
// database's state and may be nil.
func OpenSQLite(dir string, sync Sync, log *zap.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the data directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dialect: &sqliteDialect, lock: lock, health: newHealth("sqlite", log)}
	if err := s.open(context.Background(), dir, sync); err != nil {
		s.closed = true
		return nil, errors.Join(fmt.Errorf("open the store in %s: %w", dir, err), s.release())
	}
	return s, nil
}

// open does what may fail. Whatever it has opened by then, release closes.
func (s *Store) open(ctx context.Context, dir string, sync Sync) (err error) {
	if s.writes, err = openSQLiteWriter(dir, sync); err != nil {
		return err
	}
	if err = migrateSQLite(ctx, s.writes); err != nil {
		return err
	}
	if s.epoch, err = s.mintEpoch(ctx); err != nil {
		return err
	}
	if s.writer, err = newWriter(ctx, s.writes, s.dialect); err != nil {
		return err
	}
	if s.reads, err = openSQLiteReaders(dir); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	path, err := sqlitePath(dir)
	if err != nil {
		return err
	}
	s.files = &sqliteFiles{path: path}
	if err := s.files.check(); err != nil {
		return err
	}
	s.health.watch(s.lookAfterSQLite)
	return nil
}

// prepare readies the queries.
func (s *Store) prepare(ctx context.Context) (err error) {
	for _, p := range []struct {
		query *query
		text  string
	}{{&s.last, s.dialect.last}, {&s.after, s.dialect.after}, {&s.before, s.dialect.before}, {&s.count, s.dialect.count}} {
		*p.query = query{db: s.reads, text: p.text, run: &s.queries}
		if !s.dialect.prepared {
			continue
		}
		if p.query.stmt, err = s.reads.PrepareContext(ctx, p.text); err != nil {
			return fmt.Errorf("prepare %q: %w", p.text, err)
		}
	}
	return nil
}

// query is a statement that reads, prepared where the dialect says so.
type query struct {
	db   *sql.DB
	text string
	stmt *sql.Stmt
	run  *atomic.Uint64
}

func (q *query) rows(ctx context.Context, args ...any) (*sql.Rows, error) {
	q.run.Add(1)
	if q.stmt != nil {
		return q.stmt.QueryContext(ctx, args...)
	}
	return q.db.QueryContext(ctx, q.text, args...)
}

func (q *query) row(ctx context.Context, args ...any) *sql.Row {
	q.run.Add(1)
	if q.stmt != nil {
		return q.stmt.QueryRowContext(ctx, args...)
	}
	return q.db.QueryRowContext(ctx, q.text, args...)
}

// StoreStats is what a Store has done, and of its connections what
// database/sql says: Reads of those that read, Writes of those that write.
type StoreStats struct {
	Queries         uint64 // reads of messages asked for: Last, After, Before, Count
	Reads, Writes   sql.DBStats
	Bytes, WALBytes int64 // of SQLite: the database's file, and its write-ahead log
}

// Stats returns the figures of now.
func (s *Store) Stats() StoreStats {
	stats := StoreStats{Queries: s.queries.Load(), Reads: s.reads.Stats(), Writes: s.writes.Stats()}
	if s.files != nil {
		stats.Bytes, stats.WALBytes = s.files.sizes()
	}
	return stats
}

// mintEpoch returns the database's epoch. The first to open the database
// gives it one; there can be no message before that.
func (s *Store) mintEpoch(ctx context.Context) (epoch string, err error) {
	b := make([]byte, 8)
	rand.Read(b) // never fails
	if _, err := s.writes.ExecContext(ctx, s.dialect.setEpoch, fmt.Sprintf("%x", b)); err != nil {
		return "", fmt.Errorf("store the epoch: %w", err)
	}
	if err := s.writes.QueryRowContext(ctx, s.dialect.getEpoch).Scan(&epoch); err != nil {
		return "", fmt.Errorf("read the epoch: %w", err)
	}
	if epoch == "" {
		return "", errors.New("the database's epoch is empty")
	}
	return epoch, nil
}

// Epoch names the history that the offsets belong to: 16 hexadecimal digits,
// the same for as long as the database lives.
func (s *Store) Epoch() string { return s.epoch }

// Last returns the room's highest offset, hidden duplicates included, or 0
// when the room has no message.
func (s *Store) Last(ctx context.Context, room string) (uint64, error) {
	var seq int64
	err := s.last.row(ctx, room).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	if err = s.read(err); err != nil {
		return 0, fmt.Errorf("read the last offset of room %q: %w", room, err)
	}
	return uint64(seq), nil
}

// Append stores a batch in one transaction: all of it or, with an error, none.
// In a sharded database it is one transaction for each of Split's parts, and an
// error leaves those before it stored.
//
// The order of the batch does not matter, and neither does it whether some of
// the messages were stored before: what is stored is not changed.
//
// Of the messages with one (room, sender, key) the first one stored wins, and
// within the batch the one with the lowest offset. The others are stored as
// its duplicates, which After and Before do not show.
//
// A ctx that ends stops the batch between two statements, not within one. The
// error is ErrBusy, ErrData, ErrRefused, ErrUnavailable or ErrClosed where
// their comments say so; otherwise it is what the database says.
func (s *Store) Append(ctx context.Context, batch []*schema.Message) error {
	if len(batch) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("append to the store: %w", ErrClosed)
	}
	err := s.dialect.classify(s.append(ctx, batch))
	s.health.wrote(err)
	return err
}

// append stores a batch. The caller holds mu.
func (s *Store) append(ctx context.Context, batch []*schema.Message) error {
	s.tried.Store(time.Now().UnixNano())
	if s.writer == nil {
		w, err := newWriter(ctx, s.writes, s.dialect)
		if err != nil {
			return fmt.Errorf("open the writer again: %w", err)
		}
		s.writer = w
	}
	err := s.checkFiles()
	if err == nil {
		err = s.appendParts(ctx, batch)
	}
	if err == nil {
		err = s.checkStored()
	}
	if err == nil {
		return nil
	}
	if s.writer.broken {
		err = errors.Join(err, s.writer.close())
		s.writer = nil
	}
	return fmt.Errorf("append %d messages: %w", len(batch), err)
}

// Count counts the room's messages with after < offset <= upTo, but no more
// than max: it costs what it counts.
func (s *Store) Count(ctx context.Context, room string, after, upTo uint64, max int) (n int, err error) {
	err = s.count.row(ctx, room, signed(after), signed(upTo), max).Scan(&n)
	if err = s.read(err); err != nil {
		return 0, fmt.Errorf("count room %q after %d: %w", room, after, err)
	}
	return n, nil
}

// signed returns an offset as SQL knows it.
func signed(offset uint64) int64 { return int64(min(offset, math.MaxInt64)) }

// Close waits for the Append that runs, folds SQLite's write-ahead log into the
// database file and releases the directory. Appends after it are refused with
// ErrClosed, reads with an error. A second Close does nothing.
func (s *Store) Close() error {
	s.health.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if err := s.release(); err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return nil
}

// release closes what has been opened, readers first: the checkpoint cannot
// pass a reader, and the last connection to close removes the log.
func (s *Store) release() error {
	var errs []error
	if s.reads != nil {
		errs = append(errs, s.closePool(s.reads)) // and the statements with it
	}
	if s.probes != nil {
		errs = append(errs, s.closePool(s.probes))
	}
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	if s.writes != nil {
		if s.lock != nil {
			errs = append(errs, checkpointSQLite(s.writes))
		}
		errs = append(errs, s.closePool(s.writes))
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
}

// closePool closes a pool. Of a server's, that nothing is under way on, it does
// not matter whether a connection had been closed before by the other side.
func (s *Store) closePool(db *sql.DB) error {
	if err := db.Close(); s.lock != nil {
		return err
	}
	return nil
}
