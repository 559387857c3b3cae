package sink

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubbub-chat/hubbub/schema"
)

func TestDuplicateKeys(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		testDuplicateKeys(t, func(t *testing.T) *Store { return openStore(t, SyncNormal) })
	})
	t.Run("mysql", func(t *testing.T) {
		testDuplicateKeys(t, func(t *testing.T) *Store { return openMySQL(t).Store })
	})
}

func testDuplicateKeys(t *testing.T, open func(*testing.T) *Store) {
	type sent struct {
		room, user, key string
		offset          uint64
	}
	for _, c := range []struct {
		name    string
		batches [][]sent
		want    map[uint64]int64 // dup_of by offset; offsets are unique in a case
	}{
		{"later batch", [][]sent{{{"r", "u", "k", 1}}, {{"r", "u", "k", 2}}}, map[uint64]int64{1: 0, 2: 1}},
		{"same batch", [][]sent{{{"r", "u", "k", 1}, {"r", "u", "k", 2}}}, map[uint64]int64{1: 0, 2: 1}},
		{"same batch, lowest offset wins", [][]sent{{{"r", "u", "k", 2}, {"r", "u", "k", 1}}}, map[uint64]int64{1: 0, 2: 1}},
		{"across batches the first stored wins", [][]sent{{{"r", "u", "k", 2}}, {{"r", "u", "k", 1}}}, map[uint64]int64{1: 2, 2: 0}},
		{"three", [][]sent{{{"r", "u", "k", 1}}, {{"r", "u", "k", 2}, {"r", "u", "k", 3}}}, map[uint64]int64{1: 0, 2: 1, 3: 1}},
		{"stored again", [][]sent{{{"r", "u", "k", 1}, {"r", "u", "k", 2}}, {{"r", "u", "k", 1}, {"r", "u", "k", 2}}}, map[uint64]int64{1: 0, 2: 1}},
		{"other key", [][]sent{{{"r", "u", "k", 1}}, {{"r", "u", "l", 2}}}, map[uint64]int64{1: 0, 2: 0}},
		{"other user", [][]sent{{{"r", "u", "k", 1}}, {{"r", "v", "k", 2}}}, map[uint64]int64{1: 0, 2: 0}},
		{"other room", [][]sent{{{"r", "u", "k", 1}}, {{"s", "u", "k", 2}}}, map[uint64]int64{1: 0, 2: 0}},
		{"keys that differ in a blank", [][]sent{{{"r", "u", "k", 1}}, {{"r", "u", "k ", 2}}, {{"r", "u ", "k", 3}}}, map[uint64]int64{1: 0, 2: 0, 3: 0}},
		{"keys that differ in case", [][]sent{{{"r", "u", "k", 1}}, {{"r", "u", "K", 2}}, {{"R", "u", "k", 3}}}, map[uint64]int64{1: 0, 2: 0, 3: 0}},
		{"no key", [][]sent{{{"r", "u", "", 1}}, {{"r", "u", "", 2}}}, map[uint64]int64{1: 0, 2: 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			for _, b := range c.batches {
				var batch []*schema.Message
				for _, m := range b {
					batch = append(batch, &schema.Message{Room: m.room, Offset: m.offset, User: m.user, Key: m.key, Data: []byte(`1`)})
				}
				mustAppend(t, s, batch...)
			}
			if diff := cmp.Diff(c.want, dupsOf(t, s)); diff != "" {
				t.Error(diff)
			}
			checkHidden(t, s, c.want)
		})
	}
}

func dupsOf(t *testing.T, s *Store) map[uint64]int64 {
	t.Helper()
	rows, err := s.reads.Query(`SELECT seq, dup_of FROM messages`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got := make(map[uint64]int64)
	for rows.Next() {
		var seq uint64
		var dup int64
		if err := rows.Scan(&seq, &dup); err != nil {
			t.Fatal(err)
		}
		got[seq] = dup
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}

// checkHidden checks that pages show originals only, and Last counts all.
func checkHidden(t *testing.T, s *Store, dups map[uint64]int64) {
	t.Helper()
	shown := make(map[uint64]bool)
	var last uint64
	for _, room := range []string{"r", "s", "R"} {
		up, err := s.After(t.Context(), room, 0, 0, 100, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		down, err := s.Before(t.Context(), room, 0, 100, 1<<20)
		if err != nil || len(down) != len(up) {
			t.Errorf("room %s: %d messages up, %d down, %v", room, len(up), len(down), err)
		}
		for _, m := range up {
			shown[m.Offset] = true
		}
		l, err := s.Last(t.Context(), room)
		if err != nil {
			t.Fatal(err)
		}
		last = max(last, l)
	}
	var highest uint64
	for offset, dup := range dups {
		if shown[offset] != (dup == 0) {
			t.Errorf("offset %d, a duplicate of %d, shown: %v", offset, dup, shown[offset])
		}
		highest = max(highest, offset)
	}
	if last != highest {
		t.Errorf("Last = %d, want %d", last, highest)
	}
}
