package sink

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"github.com/hubbub-chat/hubbub/schema"
)

// unreachable is a database that no connection leads to.
type unreachable struct{}

func (unreachable) Connect(context.Context) (driver.Conn, error) {
	return nil, errors.New("unreachable")
}
func (unreachable) Driver() driver.Driver { return nil }

// Parts of a batch are in one shard each and keep its order, and a room whose
// shard nobody can tell is a part of its own.
func TestSplitByShard(t *testing.T) {
	db := sql.OpenDB(unreachable{})
	defer db.Close()
	s := newShardMap(db, &mysql.Config{DBName: "chat@primary"})
	if s.keyspace != "chat" {
		t.Errorf("keyspace %q", s.keyspace)
	}
	batch := make([]*schema.Message, 8)
	for i := range batch {
		batch[i] = &schema.Message{Room: fmt.Sprint("r", i%4), Offset: uint64(i + 1)}
	}
	parts := func() (list [][]uint64) {
		for _, part := range s.split(t.Context(), batch) {
			offsets := []uint64{}
			for _, m := range part {
				offsets = append(offsets, m.Offset)
			}
			list = append(list, offsets)
		}
		return list
	}
	check := func(name string, want [][]uint64) {
		t.Helper()
		if diff := cmp.Diff(want, parts()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	check("one shard", [][]uint64{{1, 2, 3, 4, 5, 6, 7, 8}})
	if err := s.count(t.Context()); err == nil || !s.many.Load() {
		t.Error("what nobody can count is not many")
	}
	s.of = map[string]string{"r0": "-80", "r1": "80-", "r2": "-80", "r3": "80-"}
	check("two shards", [][]uint64{{1, 3, 5, 7}, {2, 4, 6, 8}})
	delete(s.of, "r3")
	check("a room that cannot be asked for", [][]uint64{{1, 3, 5, 7}, {2, 6}, {4, 8}})

	spanned := &mysql.MySQLError{Number: 1317, Message: "VT: multi-db transaction attempted: [...]"}
	s.of = map[string]string{"r0": "-80", "r1": "-80", "r2": "-80", "r3": "-80"} // wrong since a resharding
	for range 2 {
		s.outcome(t.Context(), fmt.Errorf("insert: %w", spanned))
	}
	if len(s.of) != 0 {
		t.Error("a refused transaction does not make it forget")
	}
	s.of = map[string]string{"r0": "-80", "r1": "-80", "r2": "-80", "r3": "-80"}
	check("wrong twice", [][]uint64{{1, 5}, {2, 6}, {3, 7}, {4, 8}})
	s.outcome(t.Context(), nil)
	check("right again", [][]uint64{{1, 2, 3, 4, 5, 6, 7, 8}})
}
