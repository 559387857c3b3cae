package sink

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

func TestBlocked(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) *Store{
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
	} {
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
