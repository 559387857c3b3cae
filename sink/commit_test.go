package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/hubbub-chat/hubbub/schema"
)

var partition = Partition{"topic#id", 3}

func position(t testing.TB, m *MySQL) int64 {
	t.Helper()
	pos, _, err := m.Position(t.Context(), partition)
	if err != nil {
		t.Fatal(err)
	}
	return pos
}

// Position and rows get there together or not at all. In a sharded database rows
// get there first, and stay there without the position: all those of a commit
// that only the position does not fit, none of those that are not to be had.
func TestCommit(t *testing.T) { testCommit(t, openMySQL(t)) }

func testCommit(t *testing.T, m *MySQL) {
	if pos := position(t, m); pos != 0 {
		t.Fatalf("a new partition is at %d", pos)
	}
	move := func(from, to int64) []Move { return []Move{{partition, from, to}} }
	bad := &schema.Message{Room: "r", Offset: 5, Prev: 7}
	for _, c := range []struct {
		name   string
		commit Commit
		want   error
		pos    int64
		rows   int
		shards int // rows, where rows and positions are in several
	}{
		{"forward", Commit{Moves: move(0, 3), Messages: chain("r", 3)}, nil, 3, 3, 3},
		{"again, from where it was", Commit{Moves: move(0, 3), Messages: chain("r", 9)}, ErrFenced, 3, 3, 9},
		{"from where it never was", Commit{Moves: move(7, 9), Messages: chain("r", 10)}, ErrFenced, 3, 3, 10},
		{"bad data", Commit{Moves: move(3, 9), Messages: append(chain("r", 20), bad)}, ErrData, 3, 3, 10},
		{"one of two partitions fenced", Commit{Moves: append(move(3, 9), Move{Partition{"other", 1}, 1, 2}), Messages: chain("r", 11)}, ErrFenced, 3, 3, 11},
		{"without a move", Commit{Messages: chain("r", 4)}, nil, 3, 4, 11},
		{"nothing to move", Commit{Moves: move(3, 3), Messages: chain("r", 5)}, nil, 3, 5, 11},
		{"only a move", Commit{Moves: move(3, 9)}, nil, 9, 5, 11},
		{"back", Commit{Moves: move(9, 2)}, nil, 2, 5, 11},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := m.Commit(t.Context(), &c.commit); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if m.Sharded() {
				c.rows = c.shards
			}
			n, err := m.Count(t.Context(), "r", 0, 1<<62, 1000)
			if pos := position(t, m); pos != c.pos || n != c.rows || err != nil {
				t.Errorf("position %d with %d rows, want %d with %d; %v", pos, n, c.pos, c.rows, err)
			}
		})
	}
}

// Links that lead nowhere become holes, are owed, and give way to the message.
func TestHoles(t *testing.T) {
	m := openMySQL(t)
	all := chain("r", 6)
	link := func(seq uint64) Link { return Link{partition, "r", seq} }
	mustAppend(t, m.Store, all[0], all[2], all[5])
	holes, err := m.Commit(t.Context(), &Commit{Messages: all[3:4], Links: []Link{link(30), link(20), link(10), link(50)}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Repair{{Link: link(20)}, {Link: link(50)}}
	ignore := cmpopts.IgnoreFields(Repair{}, "Since")
	if diff := cmp.Diff(want, holes, ignore); diff != "" {
		t.Error(diff)
	}
	heal := Repair{Link: link(0), Epoch: "a.b", Since: time.Now()}
	if _, err := m.Commit(t.Context(), &Commit{Owed: []Repair{heal}}); err != nil {
		t.Fatal(err)
	}
	owed := func(want ...Repair) {
		t.Helper()
		got, err := m.Repairs(t.Context(), partition, 100)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, ignore, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}
	owed(heal, want[0], want[1])
	if got := offsets(mustAfter(t, m, "r")); got != "10 30 40 60" {
		t.Errorf("shown are %s", got)
	}
	if n, err := m.Below(t.Context(), "r", 30); err != nil || n != 20 {
		t.Errorf("below 30 is %d, %v: links must resolve", n, err)
	}
	// A link to a hole is not a second one; what was stored stays as it was.
	again := *all[0]
	again.Data = []byte(`"other"`)
	holes, err = m.Commit(t.Context(), &Commit{Messages: []*schema.Message{&again}, Links: []Link{link(20)}, Tombstones: []Tombstone{{"r", 10, 0}}})
	if err != nil || len(holes) != 0 {
		t.Errorf("holes %v, %v", holes, err)
	}
	done := []Repair{want[0], {Link: link(0), Epoch: "another"}}
	if _, err := m.Commit(t.Context(), &Commit{Messages: all[1:2], Done: done}); err != nil {
		t.Fatal(err)
	}
	owed(heal, want[1])
	mustAppend(t, m.Store, all[4])
	if diff := cmp.Diff(all, mustAfter(t, m, "r")); diff != "" {
		t.Error(diff)
	}
}

func mustAfter(t testing.TB, m *MySQL, room string) []*schema.Message {
	t.Helper()
	page, err := m.After(t.Context(), room, 0, 0, 1000, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// TestPositionsAgainstModel lets writers that know more or less of where
// things stand store a log of several rooms, with failures in between: the
// position never passes a record that is not stored, and moves for those who
// know it alone. In a sharded database rows may be there before it is.
func TestPositionsAgainstModel(t *testing.T) {
	m := openMySQL(t)
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		ctx := context.Background()
		p := Partition{"topic", int32(run)}
		log := interleaved(fmt.Sprint("run ", run), 3, 20)
		var actual int64                 // the position
		stored := make(map[string]int64) // by room, what may be stored of the log
		try := func(c *Commit, but string) error {
			_, err := m.Commit(ctx, c)
			for _, msg := range c.Messages {
				if m.Sharded() && msg.Room != but {
					stored[msg.Room] = max(stored[msg.Room], c.Moves[0].To)
				}
			}
			return err
		}
		if _, _, err := m.Position(ctx, p); err != nil {
			t.Fatal(err)
		}
		believed := make([]int64, 3)
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			w := rapid.IntRange(0, 2).Draw(t, "writer")
			from := believed[w]
			switch rapid.IntRange(0, 4).Draw(t, "op") {
			case 0: // reads the position
				pos, _, err := m.Position(ctx, p)
				if err != nil {
					t.Fatal(err)
				}
				believed[w] = pos
			case 1: // fails in the middle: the last message is refused
				to, room := min(from+5, 60), log[0].Room
				bad := append(log[from:to:to], &schema.Message{Room: room, Offset: 1, User: strings.Repeat("x", 256)})
				if err := try(&Commit{Moves: []Move{{p, from, to}}, Messages: bad}, room); err == nil {
					t.Fatal("bad data was stored")
				}
			default: // stores some records
				to := min(from+int64(rapid.IntRange(1, 9).Draw(t, "records")), 60)
				if to == from {
					continue
				}
				err := try(&Commit{Moves: []Move{{p, from, to}}, Messages: log[from:to:to]}, "")
				if fenced := errors.Is(err, ErrFenced); fenced != (from != actual) || err != nil && !fenced {
					t.Fatalf("from %d, the position is %d: %v", from, actual, err)
				}
				if err == nil {
					believed[w], actual = to, to
				}
			}
			pos, _, err := m.Position(ctx, p)
			if err != nil || pos != actual {
				t.Fatalf("the position is %d, want %d, %v", pos, actual, err)
			}
			for i := range 3 {
				checkStored(t, m, log, i, actual, stored[log[i].Room])
			}
		}
	})
}

// interleaved is a log of rooms with n messages each, which take turns.
func interleaved(name string, rooms, n int) (log []*schema.Message) {
	all := make([][]*schema.Message, rooms)
	for i := range all {
		all[i] = chain(fmt.Sprint(name, " room ", i), n)
	}
	for k := range n {
		for _, room := range all {
			log = append(log, room[k])
		}
	}
	return log
}

// checkStored compares a room, that of log[i], with the log up to a position: all
// before it is there, and nothing from limit on.
func checkStored(t *rapid.T, m *MySQL, log []*schema.Message, i int, position, limit int64) {
	t.Helper()
	page, err := m.After(context.Background(), log[i].Room, 0, 0, 1000, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	var want []*schema.Message
	for at, msg := range log {
		if msg.Room == log[i].Room && (int64(at) < position || len(want) < len(page) && int64(at) < limit) {
			want = append(want, msg)
		}
	}
	if diff := cmp.Diff(want, page, cmpopts.EquateEmpty()); diff != "" {
		t.Fatal(diff)
	}
}
