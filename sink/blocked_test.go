package sink

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// blockedStores are the stores that keep blocked users.
func blockedStores() map[string]func(t *testing.T) *Store {
	return map[string]func(t *testing.T) *Store{
		"SQLite": func(t *testing.T) *Store { return openStore(t, SyncNormal) },
		"MySQL": func(t *testing.T) *Store {
			m, err := OpenMySQL(context.Background(), MySQLConfig{DSN: backends.MySQL(t).DSN})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			})
			return m.Store
		},
	}
}

func TestBlocked(t *testing.T) {
	for name, open := range blockedStores() {
		t.Run(name, func(t *testing.T) {
			s, ctx := open(t), context.Background()
			later := time.Now().Add(time.Hour).Unix()
			for user, until := range map[string]int64{"alice": 0, "bob ": later, "bob": later + 1, "past": time.Now().Unix() - 1} {
				if err := s.Block(ctx, user, until); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Block(ctx, "alice", later); err != nil { // the later word counts
				t.Fatal(err)
			}
			if err := s.Block(ctx, "carol", 0); err != nil {
				t.Fatal(err)
			}
			if err := s.Unblock(ctx, "bob"); err != nil {
				t.Fatal(err)
			}
			got, err := s.Blocked(ctx)
			if diff := cmp.Diff(map[string]int64{"alice": later, "bob ": later, "carol": 0}, got); err != nil || diff != "" {
				t.Error(diff, err)
			}
		})
	}
}

// More blocked users, and more whose time is over, than a database may return
// or delete in one statement: Vitess refuses more than 10,000 rows.
func TestManyBlocked(t *testing.T) {
	const users = 2*blockedPage + 17
	insert := multiRow{insert: `INSERT INTO blocked (list, name, ends) VALUES `, row: `('users',?,?)`}
	for name, open := range blockedStores() {
		t.Run(name, func(t *testing.T) {
			s, ctx := open(t), context.Background()
			var args []any
			flush := func() {
				if _, err := s.change(ctx, insert.text(len(args)/2), args...); err != nil {
					t.Fatal(err)
				}
				args = args[:0]
			}
			for i := range users {
				args = append(args, fmt.Sprintf("user%d", i), 0, fmt.Sprintf("past%d", i), 1)
				if i%500 == 0 {
					flush()
				}
			}
			flush()
			got, err := s.Blocked(ctx)
			if err != nil || len(got) != users {
				t.Errorf("%d blocked, want %d: %v", len(got), users, err)
			}
			var left int
			if err := s.reads.QueryRowContext(ctx, `SELECT COUNT(*) FROM blocked WHERE list = 'users'`).Scan(&left); err != nil || left != users {
				t.Errorf("%d rows are left, want %d: %v", left, users, err)
			}
		})
	}
}
