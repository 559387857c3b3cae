package check

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// office is one process's share of a room: what its members are shown, it
// checks, and accounts for.
type office struct {
	room   *Room
	part   Part
	first  uint32
	ours   []*Reader
	faults map[Verdict]int
}

// offices are processes of so many members each, whose publishers are 100 each.
func offices(members ...int) (all []*office) {
	for i, n := range members {
		first := uint32(i) * 100
		rooms := NewRooms(1, func(int) string { return "r" }, false)
		o := &office{room: &rooms[0], first: first, faults: map[Verdict]int{}}
		o.room.Share(first, first+100)
		o.part.Room = o.room
		for range n {
			o.join(0)
		}
		all = append(all, o)
	}
	return all
}

func (o *office) join(from uint64) {
	r := new(Reader)
	o.part.Join(r, from)
	o.part.Live++
	o.ours = append(o.ours, r)
}

// said publishes message n, and answers it.
func (o *office) said(n uint32, acked bool) (id uint64) {
	id = Payload{Publisher: o.first + n%7, N: n}.ID()
	if o.room.Sent(n); acked {
		o.room.Ack(id)
	}
	return id
}

// shown delivers to all members, or to some of them.
func (o *office) shown(offset, id uint64, to ...int) {
	for i, r := range o.ours {
		if len(to) > 0 && !slices.Contains(to, i) {
			continue
		}
		v, _ := o.part.Observe(r, Entry{offset, id})
		o.faults[v]++
	}
}

// closeOffices is what all found, together and each by itself.
func closeOffices(all []*office) (lost, duplicated, reordered, unexpected uint64, acked []Entry) {
	var u Union
	for _, o := range all {
		a := o.room.Account()
		for _, r := range o.ours {
			lost += o.part.Missing(r)
			a.Standings = append(a.Standings, Standing{r.From(), 1})
		}
		duplicated += uint64(o.faults[Duplicated])
		reordered += uint64(o.faults[Reordered])
		unexpected += uint64(o.faults[Unexpected])
		u.Add(a)
	}
	acked = u.Close()
	return lost + u.Lost, duplicated + u.Duplicated, reordered, unexpected + u.Unexpected, acked
}

func TestUnion(t *testing.T) {
	for _, c := range []struct {
		name                                    string
		run                                     func(a, b *office) // of two members, and of three
		lost, duplicated, reordered, unexpected uint64
		acked                                   int
	}{
		{"right", func(a, b *office) {
			x, y := a.said(0, true), b.said(0, true)
			for _, o := range []*office{a, b} {
				o.shown(10, x)
				o.shown(20, y)
			}
		}, 0, 0, 0, 0, 2},
		{"lost by one member", func(a, b *office) { x := a.said(0, true); a.shown(10, x); b.shown(10, x, 0, 2) }, 1, 0, 0, 0, 1},
		{"lost by all of the other", func(a, _ *office) { x := a.said(0, true); a.shown(10, x) }, 3, 0, 0, 0, 1},
		{"lost by all of its own", func(a, b *office) { x := a.said(0, true); b.shown(10, x) }, 2, 0, 0, 0, 1},
		{"lost by its own, not answered", func(a, b *office) { x := a.said(0, false); b.shown(10, x) }, 2, 0, 0, 0, 0},
		{"acknowledged and shown to nobody", func(a, _ *office) { a.said(0, true) }, 5, 0, 0, 0, 0},
		{"neither answered nor shown", func(a, _ *office) { a.said(0, false) }, 0, 0, 0, 0, 0},
		{"each loses another", func(a, b *office) {
			x, y := a.said(0, true), b.said(0, true)
			a.shown(10, x)
			b.shown(20, y)
		}, 5, 0, 0, 0, 2},
		{"other messages under the same offsets", func(a, b *office) {
			x, y := a.said(0, true), b.said(0, true)
			a.shown(10, x)
			a.shown(20, y)
			b.shown(10, y)
			b.shown(20, x)
		}, 0, 0, 0, 4, 2}, // twice by the two who are fewer
		{"another order, by the offsets", func(a, b *office) {
			x, y := a.said(0, true), b.said(0, true)
			a.shown(10, x)
			a.shown(20, y)
			b.shown(20, y)
			b.shown(10, x)
		}, 0, 0, 3, 0, 2},
		{"other offsets", func(a, b *office) { x := a.said(0, true); a.shown(10, x); b.shown(20, x) }, 5, 1, 0, 0, 2},
		{"stored twice", func(a, b *office) {
			x := a.said(0, true)
			for _, o := range []*office{a, b} {
				o.shown(10, x)
				o.shown(11, x)
			}
		}, 0, 1, 0, 0, 2},
		{"twice to one", func(a, b *office) { x := a.said(0, true); a.shown(10, x); b.shown(10, x); b.shown(10, x, 1) }, 0, 1, 0, 0, 1},
		{"said by nobody", func(a, b *office) {
			x := Payload{Publisher: 105, N: 9}.ID()
			a.shown(10, x)
			b.shown(10, x)
		}, 0, 0, 0, 1, 0},
		{"said by another member, too", func(a, b *office) {
			x := a.said(0, true)
			for _, o := range []*office{a, b} {
				o.shown(10, x)
				o.shown(20, x+1<<32)
			}
		}, 0, 1, 0, 0, 2},
		{"said by nobody there is", func(a, b *office) {
			x := Payload{Publisher: 205, N: 9}.ID()
			a.shown(10, x)
			b.shown(10, x)
		}, 0, 0, 0, 1, 0},
		{"joined late", func(a, b *office) {
			x := a.said(0, true)
			a.shown(10, x)
			b.shown(10, x)
			y := a.said(1, true)
			a.shown(20, y) // those of b lose it
			b.join(20)
		}, 3, 0, 0, 0, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := offices(2, 3)
			c.run(all[0], all[1])
			lost, duplicated, reordered, unexpected, acked := closeOffices(all)
			if lost != c.lost || duplicated != c.duplicated || reordered != c.reordered || unexpected != c.unexpected || len(acked) != c.acked {
				t.Fatalf("lost %d, duplicated %d, reordered %d, unexpected %d, acknowledged %v", lost, duplicated, reordered, unexpected, acked)
			}
		})
	}
}

// TestUnionCounts: whatever gets lost, for whomever, a room over several
// processes counts as many losses as it would in one.
func TestUnionCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := offices(rapid.SliceOfN(rapid.IntRange(1, 3), 1, 4).Draw(t, "members")...)
		var want uint64
		acked := 0
		for n := range uint32(rapid.IntRange(1, 30).Draw(t, "messages")) {
			owner := all[rapid.IntRange(0, len(all)-1).Draw(t, "owner")]
			ack := rapid.Bool().Draw(t, "acknowledged")
			id := owner.said(n, ack)
			shown := false
			var lost uint64
			for _, o := range all {
				for i := range o.ours {
					if rapid.IntRange(0, 3).Draw(t, "lost") == 0 {
						lost++
						continue
					}
					o.shown(uint64(n+1)*10, id, i)
					shown = true
				}
			}
			if shown || ack {
				want += lost
			}
			if shown && ack {
				acked++
			}
		}
		lost, duplicated, reordered, unexpected, got := closeOffices(all)
		if lost != want || duplicated+reordered+unexpected != 0 || len(got) != acked {
			t.Fatalf("lost %d of %d, duplicated %d, reordered %d, unexpected %d, acknowledged %d of %d", lost, want, duplicated, reordered, unexpected, len(got), acked)
		}
	})
}

// TestEntries: what is written is read again, and what was cut off is refused.
func TestEntries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []Entry
		offset := uint64(0)
		for range rapid.IntRange(0, 50).Draw(t, "entries") {
			offset += rapid.Uint64Range(0, 1<<40).Draw(t, "step")
			all = append(all, Entry{offset, rapid.Uint64().Draw(t, "id")})
		}
		b := AppendEntries(nil, all)
		got, err := ParseEntries(nil, b)
		if err != nil || !slices.Equal(got, all) {
			t.Fatalf("%v, %v, want %v", got, err, all)
		}
		if len(b) > 0 {
			if _, err := ParseEntries(nil, b[:len(b)-1]); err == nil {
				t.Fatalf("a list that was cut off is taken")
			}
		}
	})
}

// FuzzEntries: what comes from the wire is read or refused, and reads the same
// when it is written again.
func FuzzEntries(f *testing.F) {
	f.Add(AppendEntries(nil, []Entry{{1 << 50, 7<<32 | 3}, {1<<50 + 1024, 8<<32 | 4}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := ParseEntries(nil, b)
		if err != nil {
			return
		}
		again, err := ParseEntries(nil, AppendEntries(nil, all))
		if err != nil || !slices.Equal(again, all) {
			t.Fatalf("%v, again %v, %v", all, again, err)
		}
	})
}
