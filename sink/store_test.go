package sink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubbub-chat/hubbub/schema"
)

// openStore opens a store in a new directory and closes it with the test.
func openStore(t testing.TB, sync Sync) *Store {
	t.Helper()
	return openStoreIn(t, t.TempDir(), sync)
}

func openStoreIn(t testing.TB, dir string, sync Sync) *Store {
	t.Helper()
	s, err := OpenSQLite(dir, sync, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		checkStore(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// checkStore is the consistency check at the end of every test.
func checkStore(t testing.TB, s *Store) {
	t.Helper()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return
	}
	if s.lock != nil {
		var verdict string
		if err := s.reads.QueryRow(`PRAGMA integrity_check`).Scan(&verdict); err != nil || verdict != "ok" {
			t.Errorf("integrity check: %q, %v", verdict, err)
		}
	}
	var orphans int
	if err := s.reads.QueryRow(`SELECT count(*) FROM messages AS m WHERE send_key <> '' AND NOT EXISTS (
		SELECT 1 FROM sends AS s WHERE s.room = m.room AND s.sender = m.sender AND s.send_key = m.send_key
		AND s.seq = CASE m.dup_of WHEN 0 THEN m.seq ELSE m.dup_of END)`).Scan(&orphans); err != nil || orphans != 0 {
		t.Errorf("%d messages disagree with their sends, %v", orphans, err)
	}
}

// onEach runs a test on every database, each time on an empty one.
func onEach(t *testing.T, test func(t *testing.T, s *Store)) {
	t.Run("sqlite", func(t *testing.T) { test(t, openStore(t, SyncNormal)) })
	t.Run("mysql", func(t *testing.T) { test(t, openMySQL(t).Store) })
}

func mustAppend(t testing.TB, s *Store, batch ...*schema.Message) {
	t.Helper()
	if err := s.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

func TestEveryFieldComesBack(t *testing.T) { onEach(t, testEveryField) }

func testEveryField(t *testing.T, s *Store) {
	for _, m := range []*schema.Message{
		{Room: "full", Offset: 1 << 52, Prev: 1<<52 - 1, User: "alice", Client: "c1", Info: []byte(`{"n":1}`), Key: "k", Data: []byte(`{"a":"ü"}`)},
		{Room: "by a server", Offset: 1, Data: []byte(`null`)},
		{Room: "any bytes", Offset: 2, Prev: 1, User: "a\x00b", Key: "\xff", Data: []byte("\x00\xff\n")},
		{Room: strings.Repeat("ü", 127), Offset: 1<<63 - 1, Data: []byte(`1`)},
		{Room: "large", Offset: 1, Data: []byte(strings.Repeat("x", 1<<16))},
	} {
		t.Run(m.Room[:min(len(m.Room), 12)], func(t *testing.T) {
			mustAppend(t, s, m)
			page, err := s.After(t.Context(), m.Room, 0, 0, 10, 1)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]*schema.Message{m}, page); diff != "" {
				t.Error(diff)
			}
			if last, err := s.Last(t.Context(), m.Room); err != nil || last != m.Offset {
				t.Errorf("Last = %d, %v", last, err)
			}
		})
	}
	if last, err := s.Last(t.Context(), "empty room"); err != nil || last != 0 {
		t.Errorf("Last of an empty room = %d, %v", last, err)
	}
}

func TestAppendIsIdempotent(t *testing.T) { onEach(t, testIdempotent) }

func testIdempotent(t *testing.T, s *Store) {
	batch := chain("r", 100) // more than one chunk, and a rest
	for i, m := range batch {
		if i%3 == 0 {
			m.Key = fmt.Sprint("k", i)
		}
	}
	mustAppend(t, s, batch...)
	mustAppend(t, s, batch[50:]...)
	other := *batch[7]
	other.Data = []byte(`"something else"`)
	mustAppend(t, s, &other, batch[99], batch[99])
	page, err := s.After(t.Context(), "r", 0, 0, 1000, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(batch, page); diff != "" {
		t.Error(diff)
	}
}

// Whatever makes a batch fail, nothing of it is stored, and the store goes on.
func TestAppendFailsWhole(t *testing.T) {
	s := openStore(t, SyncNormal)
	mustAppend(t, s, chain("r", 1)...)
	good := func() []*schema.Message {
		batch := chain("r", 200)[1:]
		for _, m := range batch {
			m.Key = fmt.Sprint(m.Offset)
		}
		return batch
	}
	bad := func(m schema.Message) func() {
		return func() {
			t.Helper()
			if err := s.Append(t.Context(), append(good(), &m)); err == nil {
				t.Error("no error")
			}
		}
	}
	for _, c := range []struct {
		name string
		fail func()
	}{
		{"offset 0", bad(schema.Message{Room: "r"})},
		{"offset beyond int64", bad(schema.Message{Room: "r", Offset: 1 << 63})},
		{"prev not before offset", bad(schema.Message{Room: "r", Offset: 5, Prev: 5})},
		{"room empty", bad(schema.Message{Offset: 1})},
		{"room too long", bad(schema.Message{Room: strings.Repeat("ü", 128), Offset: 1})},
		{"context ended", func() {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := s.Append(ctx, good()); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		}},
		{"disk full", func() { failFull(t, s, good()) }},
		{"a transaction was left open", func() {
			if _, err := s.writer.conn.ExecContext(t.Context(), `BEGIN; DELETE FROM messages`); err != nil {
				t.Fatal(err)
			}
			if err := s.Append(t.Context(), good()); err == nil {
				t.Error("no error")
			}
			if s.writer != nil {
				t.Error("the connection is still trusted")
			}
			mustAppend(t, s, chain("r", 1)...) // on a new connection, and changes nothing
		}},
		{"somebody writes", func() {
			if err := whileLocked(t, s, func() error { return s.Append(t.Context(), good()) }); !errors.Is(err, ErrBusy) {
				t.Errorf("error %v, want ErrBusy", err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.fail()
			var rows, sends int
			if err := s.reads.QueryRow(`SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM sends)`).Scan(&rows, &sends); err != nil {
				t.Fatal(err)
			}
			if rows != 1 || sends != 0 {
				t.Errorf("%d messages and %d sends are stored, want 1 and 0", rows, sends)
			}
		})
	}
	mustAppend(t, s, good()...)
	if last, err := s.Last(t.Context(), "r"); err != nil || last != 2000 {
		t.Errorf("Last = %d, %v", last, err)
	}
}

// failFull lets the database grow by one page and appends what needs more.
func failFull(t *testing.T, s *Store, batch []*schema.Message) {
	t.Helper()
	limit := func(pages int) {
		if _, err := s.writer.conn.ExecContext(t.Context(), fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)); err != nil {
			t.Fatal(err)
		}
	}
	var pages int
	if err := s.writer.conn.QueryRowContext(t.Context(), `PRAGMA page_count`).Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit(pages + 1)
	err := s.Append(t.Context(), batch)
	if err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("error %v", err)
	}
	if s.writer != nil { // otherwise the next connection has no such limit
		limit(1 << 30)
	}
}

// whileLocked runs f while another connection holds the write lock.
func whileLocked(t *testing.T, s *Store, f func() error) error {
	t.Helper()
	var file string
	if err := s.reads.QueryRow(`SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&file); err != nil {
		t.Fatal(err)
	}
	db, err := openSQLiteWriter(filepath.Dir(file), SyncNormal)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	defer db.Exec(`ROLLBACK`)
	return f()
}

func TestEpoch(t *testing.T) {
	dir := t.TempDir()
	var first string
	for range 3 {
		s, err := OpenSQLite(dir, SyncNormal, nil)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = s.Epoch()
		}
		if s.Epoch() != first || len(first) != 16 {
			t.Errorf("epoch %q, at first %q", s.Epoch(), first)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if s := openStore(t, SyncNormal); s.Epoch() == first {
		t.Error("two files have the same epoch")
	}
}

func TestOpen(t *testing.T) {
	t.Run("creates a private directory, whatever its name", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a b", "50%?x=1#ü")
		s := openStoreIn(t, dir, SyncFull)
		mustAppend(t, s, chain("r", 1)...)
		if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("mode %v, %v", fi.Mode(), err)
		}
		if _, err := os.Stat(filepath.Join(dir, "hubbub.db")); err != nil {
			t.Error(err)
		}
	})
	t.Run("asks for the disk's own cache to be written, where there is such a call", func(t *testing.T) {
		var asks bool
		s := openStore(t, SyncFull)
		if err := s.writer.conn.QueryRowContext(t.Context(), `PRAGMA fullfsync`).Scan(&asks); err != nil || !asks {
			t.Errorf("fullfsync %v, %v", asks, err)
		}
	})
	t.Run("twice", func(t *testing.T) {
		dir := t.TempDir()
		s := openStoreIn(t, dir, SyncNormal)
		_, err := OpenSQLite(dir, SyncNormal, nil)
		want := fmt.Sprintf("data directory is in use: %s is held by process %d", dir, os.Getpid())
		if !errors.Is(err, ErrLocked) || err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		openStoreIn(t, dir, SyncNormal)
	})
	t.Run("written by a newer program", func(t *testing.T) {
		dir := t.TempDir()
		s := openStoreIn(t, dir, SyncNormal)
		if _, err := s.writer.conn.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second shows that the first released the lock
			if _, err := OpenSQLite(dir, SyncNormal, nil); err == nil || !strings.Contains(err.Error(), "newer") {
				t.Errorf("error %v", err)
			}
		}
	})
	t.Run("not a database", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "hubbub.db"), []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenSQLite(dir, SyncNormal, nil); err == nil {
			t.Error("no error")
		}
	})
}

func TestClose(t *testing.T) {
	dir := t.TempDir()
	s := openStoreIn(t, dir, SyncNormal)
	mustAppend(t, s, chain("r", 100)...)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Append(t.Context(), chain("r", 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("Append: %v, want ErrClosed", err)
	}
	if _, err := s.After(t.Context(), "r", 0, 0, 1, 1); err == nil {
		t.Error("After: no error")
	}
	if _, err := s.Last(t.Context(), "r"); err == nil {
		t.Error("Last: no error")
	}
	if _, err := os.Stat(filepath.Join(dir, "hubbub.db-wal")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the write-ahead log is still there: %v", err)
	}
}

// Readers go on while the writer commits, and see whole batches.
func TestReadsBesideAppends(t *testing.T) { onEach(t, testReadsBesideAppends) }

func testReadsBesideAppends(t *testing.T, s *Store) {
	const batches, size = 30, 50
	all := chain("r", batches*size)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range readConns + 1 {
		readers.Go(func() { // ends when done is closed
			for seen := 0; ; {
				page, err := s.Before(t.Context(), "r", 0, len(all), 1<<30)
				if err != nil || len(page) < seen || len(page)%size != 0 {
					t.Errorf("%d messages after %d, %v", len(page), seen, err)
					return
				}
				seen = len(page)
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range batches {
		mustAppend(t, s, all[i*size:(i+1)*size]...)
	}
	close(done)
	readers.Wait()
}
