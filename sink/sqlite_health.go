package sink

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"
	sqlite3 "modernc.org/sqlite/lib"
)

// walLimit is the size from which a write-ahead log counts as held up. It is
// folded into the database from checkpointBytes on, and cut to this afterwards:
// it only grows beyond while somebody reads an old state of the database.
const walLimit = 4 * checkpointBytes

// filesTrust is for how long a look at the files stands. To look at both before and
// after each commit made commits on a machine of one core a quarter slower: four
// system calls, each of which may have to wait for the core.
const filesTrust = 100 * time.Millisecond

// sqliteFiles are a database's files on disk. What is written after one of them was
// removed or replaced is written to a file that has no name, and gone with the
// process.
type sqliteFiles struct {
	path string // of the database

	// Guarded by Store.mu.
	db, wal os.FileInfo // as they were first seen
	seen    time.Time   // when both were last there

	held bool // the write-ahead log has been reported; owned by who watches
}

// check is look, when the last look is too long ago.
func (f *sqliteFiles) check() error {
	if time.Since(f.seen) < filesTrust {
		return nil
	}
	return f.look()
}

// look returns an error when the files are not those that were opened.
func (f *sqliteFiles) look() error {
	f.seen = time.Time{}
	for _, x := range []struct {
		path string
		was  *os.FileInfo
	}{{f.path, &f.db}, {f.path + "-wal", &f.wal}} {
		is, err := os.Stat(x.path)
		switch {
		case err != nil && *x.was == nil:
			continue // not made yet
		case err != nil:
			return fmt.Errorf("%w: what is written now is lost: %w", ErrRefused, err)
		case *x.was == nil:
			*x.was = is
		case !os.SameFile(is, *x.was):
			return fmt.Errorf("%w: what is written now is lost: %s is another file than the one that was opened; restart to use it", ErrRefused, x.path)
		}
	}
	f.seen = time.Now()
	return nil
}

// sizes returns the bytes of the database and of its write-ahead log.
func (f *sqliteFiles) sizes() (db, wal int64) {
	if i, err := os.Stat(f.path); err == nil {
		db = i.Size()
	}
	if i, err := os.Stat(f.path + "-wal"); err == nil {
		wal = i.Size()
	}
	return db, wal
}

// lookAfterSQLite is what a Store does every second: it tries a write while
// writes are refused, and sees whether the files are there.
func (s *Store) lookAfterSQLite(ctx context.Context) {
	s.mu.Lock()
	lost := s.files.look()
	s.mu.Unlock()
	if lost != nil {
		s.health.wrote(lost)
	} else if s.quiet() >= probeEvery && s.health.contact.Status().Err != nil {
		_, _ = s.change(ctx, s.dialect.probe) // reported there
	}
	_, wal := s.files.sizes()
	s.reportWAL(wal, walLimit)
}

// reportWAL says once that the write-ahead log grows, and once that it does not.
func (s *Store) reportWAL(bytes, limit int64) {
	if held := bytes > limit; held != s.files.held {
		s.files.held = held
		if held {
			s.health.log.Warn("the write-ahead log cannot be folded into the database and grows: another process reads an old state of it",
				zap.String("file", s.files.path+"-wal"), zap.Int64("bytes", bytes))
		} else {
			s.health.log.Info("the write-ahead log has been folded into the database", zap.Int64("bytes", bytes))
		}
	}
}

// sqliteStates are the codes that are about the file, the disk or the machine,
// and not about what was written.
var sqliteStates = map[int]bool{
	sqlite3.SQLITE_PERM:     true,
	sqlite3.SQLITE_BUSY:     true, // somebody outside the process has the lock
	sqlite3.SQLITE_LOCKED:   true,
	sqlite3.SQLITE_NOMEM:    true,
	sqlite3.SQLITE_READONLY: true, // a file system that has become so, for one
	sqlite3.SQLITE_IOERR:    true,
	sqlite3.SQLITE_CORRUPT:  true,
	sqlite3.SQLITE_FULL:     true,
	sqlite3.SQLITE_CANTOPEN: true,
	sqlite3.SQLITE_PROTOCOL: true,
	sqlite3.SQLITE_NOLFS:    true,
	sqlite3.SQLITE_NOTADB:   true,
}
