package sink

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
)

// lockMessages locks all messages on a connection, until its transaction ends.
func lockMessages(t *testing.T, db *sql.DB) *sql.Conn {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{`START TRANSACTION`, `SELECT * FROM messages FOR UPDATE`} {
		if _, err := conn.ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}

// A lock that somebody holds costs one more try.
func TestMySQLBusy(t *testing.T) {
	m := openMySQL(t)
	mustAppend(t, m.Store, chain("r", 3)...)
	conn := lockMessages(t, m.reads)
	defer conn.Close()
	start := time.Now()
	err := m.Append(t.Context(), chain("r", 4))
	if !errors.Is(err, ErrBusy) {
		t.Errorf("append: %v after %v, want ErrBusy", err, time.Since(start))
	}
	if strings.Contains(err.Error(), "xxx") { // Vitess would
		t.Errorf("the error says what is in the messages: %v", err)
	}
	if _, err := conn.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, m.Store, chain("r", 4)...)
}

// Of a writer that falls silent within a transaction the locks go: after
// writeSilence, and on Vitess when that ends the transaction, in 20 s or more.
func TestMySQLSilentWriter(t *testing.T) {
	m := openMySQL(t)
	mustAppend(t, m.Store, chain("r", 3)...)
	conn := lockMessages(t, m.writes)
	defer conn.Close()
	for start := time.Now(); ; {
		err := m.Append(t.Context(), chain("r", 4))
		if err == nil {
			return
		}
		if !errors.Is(err, ErrBusy) || time.Since(start) > time.Minute {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
	}
}

// Several nodes write to the same rooms at once, what others write too among
// it: no row is lost or there twice, and of a key's messages one is shown.
func TestMySQLWritersTogether(t *testing.T) {
	dsn := backends.MySQL(t).DSN
	const nodes, rounds, rooms = 4, 10, 3
	all := make([][]*schema.Message, rooms)
	for r := range all {
		all[r] = chain(string(rune('a'+r)), 400)
		for i, m := range all[r] {
			if i%2 == 0 {
				m.Key = string(rune('a' + i/10)) // each key five times
			}
		}
	}
	var wg sync.WaitGroup
	var busy, longest atomic.Int64
	for node := range nodes {
		m := openMySQLAt(t, dsn)
		store := func(batch []*schema.Message) error {
			start := time.Now()
			err := m.Append(context.Background(), batch)
			for took := int64(time.Since(start)); ; {
				if was := longest.Load(); took <= was || longest.CompareAndSwap(was, took) {
					return err
				}
			}
		}
		wg.Go(func() {
			for round := range rounds {
				var batch []*schema.Message
				for r := range all {
					from := (round*13 + node*7) % 360
					batch = append(batch, all[r][from:from+40]...)
				}
				for store(batch) != nil {
					if busy.Add(1) > 1000 {
						t.Error("it never ends")
						return
					}
				}
			}
			for r := range all {
				for page := range slices.Chunk(all[r], 50) {
					for store(page) != nil {
						busy.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d batches were tried again; the slowest took %v", busy.Load(), time.Duration(longest.Load()))
	m := openMySQLAt(t, dsn) // its end checks that keys and messages agree
	for r := range all {
		room := all[r][0].Room
		shown := make(map[string]int)
		page, err := m.After(t.Context(), room, 0, 0, 1000, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, msg := range page {
			if msg.Key != "" {
				shown[msg.Key]++
			}
		}
		for key, n := range shown {
			if n != 1 {
				t.Errorf("room %s: %d messages of key %q are shown", room, n, key)
			}
		}
		var rows int
		if err := m.reads.QueryRow(`SELECT count(*) FROM messages WHERE room = ?`, room).Scan(&rows); err != nil || rows != 400 || len(shown) != 40 {
			t.Errorf("room %s: %d rows, %d keys, %v", room, rows, len(shown), err)
		}
	}
}
