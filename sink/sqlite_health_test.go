package sink

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/internal/contact"
)

// openWatched opens a store with a log that can be read.
func openWatched(t *testing.T, dir string) (*Store, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	s, err := OpenSQLite(dir, SyncNormal, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // what the test has left of it
	return s, logs
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// A full disk under the store: appends are refused, which is said once, and
// that there is space again is found out without anybody's message.
func TestFullDisk(t *testing.T) {
	disk := backends.NewDisk(t, 16<<20)
	s, logs := openWatched(t, filepath.Join(disk.Dir, "data"))
	mustAppend(t, s, chain("r", 3)...)
	disk.Fill(64 << 10)
	all := chain("r", 3000)
	var err error
	stored := 3
	for ; err == nil && stored < len(all); stored++ {
		err = s.Append(t.Context(), all[stored:stored+1])
	}
	if !errors.Is(err, ErrRefused) {
		t.Fatalf("after %d messages: %v", stored, err)
	}
	stored--
	for range 40 { // many lines, if each had one
		if err := s.Append(t.Context(), all[stored:]); !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
	}
	if is := s.Contact().Status(); is.State != contact.Refuses || !strings.Contains(is.Err.Error(), "full") {
		t.Errorf("%+v", is)
	}
	if n := logs.Len(); n != 1 {
		t.Errorf("%d lines: %v", n, logs.All())
	}
	disk.Free()
	eventually(t, "the store answers", func() bool { return s.Contact().State() == contact.Answers })
	eventually(t, "it says so", func() bool { s.Contact().Status(); return logs.Len() == 2 })
	mustAppend(t, s, all[stored:]...)
	if last, err := s.Last(t.Context(), "r"); err != nil || last != all[len(all)-1].Offset {
		t.Errorf("the last is %d, %v", last, err)
	}
	checkStore(t, s)
	stats := s.Stats()
	if stats.Bytes == 0 || stats.WALBytes == 0 {
		t.Errorf("%+v", stats)
	}
}

// A data directory that was removed, or a database that was replaced, under a
// store that runs: what it would write is gone with the process, so nothing is
// acknowledged any more, from filesTrust on.
func TestLostFiles(t *testing.T) {
	for name, lose := range map[string]func(dir string) error{
		"directory removed": os.RemoveAll,
		"database removed":  func(dir string) error { return os.Remove(filepath.Join(dir, "hubbub.db")) },
		"log removed":       func(dir string) error { return os.Remove(filepath.Join(dir, "hubbub.db-wal")) },
		"database replaced": func(dir string) error {
			path := filepath.Join(dir, "hubbub.db")
			b, err := os.ReadFile(path)
			return errors.Join(err, os.Remove(path), os.WriteFile(path, b, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			s, logs := openWatched(t, dir)
			mustAppend(t, s, chain("r", 3)...)
			if err := lose(dir); err != nil {
				t.Fatal(err)
			}
			time.Sleep(filesTrust) // a shorter time is not told from a moment before
			if err := s.Append(t.Context(), chain("r", 4)[3:]); !errors.Is(err, ErrRefused) {
				t.Errorf("append: %v", err)
			}
			if s.Contact().State() != contact.Refuses {
				t.Error("the store answers")
			}
			if err := s.Block(t.Context(), "u", 0); !errors.Is(err, ErrRefused) {
				t.Errorf("block: %v", err)
			}
			if logs.Len() != 1 {
				t.Errorf("%v", logs.All())
			}
		})
	}
	t.Run("seen without a message", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "data")
		s, _ := openWatched(t, dir)
		if err := os.Rename(dir, dir+".moved"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the store refuses", func() bool { return s.Contact().State() == contact.Refuses })
		if err := os.Rename(dir+".moved", dir); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the store answers", func() bool { return s.Contact().State() == contact.Answers })
		mustAppend(t, s, chain("r", 3)...)
	})
}

// What is refused is not stored, also when the files go at any moment.
func TestLostWhileWriting(t *testing.T) {
	for range 6 {
		dir := t.TempDir()
		s, _ := openWatched(t, dir)
		go func() {
			time.Sleep(10 * time.Millisecond)
			_ = os.Rename(filepath.Join(dir, "hubbub.db"), filepath.Join(dir, "moved"))
		}()
		all, n := chain("r", 20_000), 0
		var err error
		for ; n < len(all) && err == nil; n++ {
			err = s.Append(t.Context(), all[n:n+1])
		}
		var stored int
		if err := s.reads.QueryRow(`SELECT count(*) FROM messages`).Scan(&stored); err != nil {
			t.Fatal(err)
		}
		switch refused := errors.Is(err, ErrRefused); {
		case err == nil:
			t.Fatal("nobody saw that the files have gone")
		case refused && stored != n-1, !refused && stored != n:
			t.Errorf("of %d messages %d are stored, the last was told %v", n, stored, err)
		}
		if s.Contact().State() != contact.Refuses {
			t.Error("the store answers")
		}
	}
}

// Somebody outside the process holds the write lock.
func TestLockedFromOutside(t *testing.T) {
	dir := t.TempDir()
	s, logs := openWatched(t, dir)
	other, err := sql.Open("sqlite", filepath.Join(dir, "hubbub.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	if _, err := other.Exec(`BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), chain("r", 1)); !errors.Is(err, ErrBusy) {
		t.Errorf("append: %v", err)
	}
	if is := s.Contact().Status(); is.State != contact.Refuses || !strings.Contains(is.Err.Error(), "locked") {
		t.Errorf("%+v", is)
	}
	if _, err := other.Exec(`ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store answers", func() bool { return s.Contact().State() == contact.Answers })
	mustAppend(t, s, chain("r", 1)...)
	eventually(t, "there are two lines", func() bool { s.Contact().Status(); return logs.Len() == 2 })
}

// A file system that has become read-only, as the database says it.
func TestReadOnlyFile(t *testing.T) {
	s, _ := openWatched(t, t.TempDir())
	for _, pragma := range []struct {
		text string
		is   contact.State
	}{{`PRAGMA query_only = 1`, contact.Refuses}, {`PRAGMA query_only = 0`, contact.Answers}} {
		s.mu.Lock()
		_, err := s.writer.conn.ExecContext(t.Context(), pragma.text)
		s.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		err = s.Append(t.Context(), chain("r", 1))
		if is := s.Contact().State(); is != pragma.is || errors.Is(err, ErrRefused) != (is == contact.Refuses) {
			t.Errorf("%s: %v, %v", pragma.text, is, err)
		}
		s.mu.Lock()
		if s.writer == nil { // it was given up with its transaction
			s.writer, err = newWriter(t.Context(), s.writes, s.dialect)
		}
		s.mu.Unlock()
		if err != nil && pragma.is == contact.Answers {
			t.Fatal(err)
		}
	}
}

// A damaged file: reads say so, once in a while, and the process goes on.
func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	s, _ := openWatched(t, dir)
	mustAppend(t, s, chain("r", 2000)...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "hubbub.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(b) / 4; i < len(b); i++ {
		b[i] = 0xa5
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s, logs := openWatched(t, dir)
	for range 10 {
		if _, err := s.After(t.Context(), "r", 0, 0, 5000, 1<<30); !isCorrupt(err) {
			t.Fatalf("after: %v", err)
		}
	}
	if n := logs.FilterMessage("the database cannot be read").Len(); n != 1 {
		t.Errorf("%d lines", n)
	}
}

func isCorrupt(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_CORRUPT
}

// A reader outside the process that keeps an old state holds the write-ahead
// log up: it is said once, and when it is over.
func TestLogHeldUp(t *testing.T) {
	dir := t.TempDir()
	s, logs := openWatched(t, dir)
	mustAppend(t, s, chain("r", 1)...)
	other, err := sql.Open("sqlite", filepath.Join(dir, "hubbub.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM messages`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	big, next := source{rooms: []string{"a"}, data: make([]byte, 1<<20), offset: 1}, 0
	write := func() {
		m := big.next()
		next++
		mustAppend(t, s, m)
	}
	for s.Stats().WALBytes <= walLimit {
		write()
	}
	held := func() int { return logs.FilterMessageSnippet("cannot be folded").Len() }
	eventually(t, "a warning", func() bool { return held() == 1 })
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	write() // is the checkpoint
	write() // begins the log again, and cuts it
	eventually(t, "that it is over", func() bool { return logs.FilterMessageSnippet("has been folded").Len() == 1 })
	if held() != 1 || s.Contact().State() != contact.Answers {
		t.Errorf("%d warnings, %v", held(), s.Contact().State())
	}
}

// However often somebody looks: a line when the log begins to be held up, and one
// when it is over.
func TestLogHeldUpIsSaidOnce(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	s := &Store{files: &sqliteFiles{path: "hubbub.db"}, health: newHealth("sqlite", zap.New(core))}
	for i, look := range []struct {
		bytes int64
		lines int
	}{{10, 0}, {100, 0}, {101, 1}, {500, 1}, {900, 1}, {100, 2}, {10, 2}, {101, 3}, {102, 3}} {
		s.reportWAL(look.bytes, 100)
		if logs.Len() != look.lines {
			t.Errorf("look %d, at %d of 100 bytes: %d lines, want %d", i, look.bytes, logs.Len(), look.lines)
		}
	}
}
