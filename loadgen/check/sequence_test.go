package check

import (
	"testing"

	"pgregory.net/rapid"
)

// group is a sequence with readers, and the verdicts they got.
type group struct {
	seq     sequence
	readers []*Reader
	faults  map[Verdict]int
}

func newGroup(n int) *group {
	g := &group{faults: map[Verdict]int{}}
	for range n {
		g.join(0)
	}
	return g
}

func (g *group) join(from uint64) *Reader {
	r := new(Reader)
	g.seq.join(r, from)
	g.readers = append(g.readers, r)
	return r
}

// deliver gives reader i messages by their offsets; their ids are the same.
func (g *group) deliver(i int, offsets ...uint64) {
	for _, o := range offsets {
		v, _ := g.seq.observe(g.readers[i], Entry{o, o})
		g.faults[v]++
	}
}

func (g *group) missing() (n uint64) {
	for _, r := range g.readers {
		n += g.seq.missing(r, r.from)
	}
	return n
}

func TestSequence(t *testing.T) {
	for _, c := range []struct {
		name                                    string
		run                                     func(*group)
		lost, duplicated, reordered, unexpected int
	}{
		{"right", func(g *group) { g.deliver(0, 1, 2, 3); g.deliver(1, 1, 2, 3) }, 0, 0, 0, 0},
		{"in turns", func(g *group) { g.deliver(0, 1); g.deliver(1, 1, 2); g.deliver(0, 2, 3); g.deliver(1, 3) }, 0, 0, 0, 0},
		{"lost by the second", func(g *group) { g.deliver(0, 1, 2, 3); g.deliver(1, 1, 3) }, 1, 0, 0, 0},
		{"lost by the first", func(g *group) { g.deliver(0, 1, 3); g.deliver(1, 1, 2, 3) }, 1, 0, 0, 0},
		{"lost at the end", func(g *group) { g.deliver(0, 1, 2, 3); g.deliver(1, 1) }, 2, 0, 0, 0},
		{"both lost something else", func(g *group) { g.deliver(0, 1, 3, 4); g.deliver(1, 1, 2, 4) }, 2, 0, 0, 0},
		{"duplicate at once", func(g *group) { g.deliver(0, 1, 1, 2); g.deliver(1, 1, 2) }, 0, 1, 0, 0},
		{"duplicate later", func(g *group) { g.deliver(0, 1, 2, 3); g.deliver(1, 1, 2, 3, 1) }, 0, 1, 0, 0},
		{"swapped for the second", func(g *group) { g.deliver(0, 1, 2, 3); g.deliver(1, 2, 1, 3) }, 0, 0, 1, 0},
		{"swapped for the first", func(g *group) { g.deliver(0, 2, 1, 3); g.deliver(1, 1, 2, 3) }, 0, 0, 1, 0},
		{"swapped for both", func(g *group) { g.deliver(0, 2, 1, 3); g.deliver(1, 2, 1, 3) }, 0, 0, 2, 0},
		{"swapped and then twice", func(g *group) { g.deliver(0, 1, 2, 3); g.deliver(1, 2, 1, 1, 3) }, 0, 1, 1, 0},
		{"another message", func(g *group) { g.deliver(0, 1, 2); g.deliver(1, 1); g.seqOther(1, 2) }, 0, 0, 0, 1},
		{"another message under a used offset", func(g *group) { g.deliver(0, 1, 2); g.seqOther(0, 2); g.deliver(1, 1, 2) }, 0, 0, 0, 1},
		{"before the subscription", func(g *group) { g.join(5); g.deliver(2, 5) }, 0, 1, 0, 0},
		{"joined late", func(g *group) {
			g.deliver(0, 1, 2, 3)
			g.deliver(1, 1, 2)
			g.join(2)
			g.deliver(2, 3, 4)
			g.deliver(0, 4)
			g.deliver(1, 3, 4)
		}, 0, 0, 0, 0},
		{"joined ahead of the others", func(g *group) {
			g.deliver(0, 1)
			g.join(3)
			g.deliver(2, 4)
			g.deliver(0, 2, 3, 4)
			g.deliver(1, 1, 2, 3, 4)
		}, 0, 0, 0, 0},
		{"joined late and lost the first", func(g *group) { g.deliver(0, 1, 2, 3); g.deliver(1, 1, 2, 3); g.join(1); g.deliver(2, 3) }, 1, 0, 0, 0},
		{"left", func(g *group) {
			g.deliver(0, 1, 2)
			g.seq.leave(g.readers[1])
			g.readers = g.readers[:1]
			g.deliver(0, 3)
		}, 0, 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGroup(2)
			c.run(g)
			if lost := g.missing(); lost != uint64(c.lost) || g.faults[Duplicated] != c.duplicated ||
				g.faults[Reordered] != c.reordered || g.faults[Unexpected] != c.unexpected {
				t.Fatalf("lost %d, faults %v", lost, g.faults)
			}
		})
	}
}

// seqOther delivers a message with an id nobody else saw at that offset.
func (g *group) seqOther(i int, offset uint64) {
	v, _ := g.seq.observe(g.readers[i], Entry{offset, offset + 1000})
	g.faults[v]++
}

// TestSequenceFaultsAreCounted applies random faults to deliveries in a
// random interleaving, over several trims, and compares the sums. (No message
// is lost by all: of that a sequence knows nothing, and the ledger does.)
func TestSequenceFaultsAreCounted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const messages, n = 3 * trimEntries, 3
		g := newGroup(n)
		lost, twice := 0, 0
		queues := make([][]uint64, n)
		for i := range queues {
			faults := rapid.MapOfN(rapid.Uint64Range(2, messages-1), rapid.Bool(), 0, 20).Draw(t, "faults")
			for o := uint64(1); o <= messages; o++ {
				switch again, fault := faults[o]; {
				case !fault || int(o)%n != i:
					queues[i] = append(queues[i], o)
				case again:
					queues[i] = append(queues[i], o, o)
					twice++
				default:
					lost++
				}
			}
		}
		for len(queues[0])+len(queues[1])+len(queues[2]) > 0 {
			i := rapid.IntRange(0, n-1).Draw(t, "reader")
			k := min(len(queues[i]), rapid.IntRange(1, trimEntries).Draw(t, "take"))
			g.deliver(i, queues[i][:k]...)
			queues[i] = queues[i][k:]
		}
		if g.missing() != uint64(lost) || g.faults[Duplicated] != twice || g.faults[Reordered]+g.faults[Unexpected] != 0 {
			t.Fatalf("lost %d of %d, faults %v, want %d duplicates", g.missing(), lost, g.faults, twice)
		}
	})
}

// TestSequenceIsBounded: what all have passed is dropped.
func TestSequenceIsBounded(t *testing.T) {
	g := newGroup(3)
	for o := uint64(1); o <= 1_000_000; o++ {
		for i := range g.readers {
			g.deliver(i, o)
		}
	}
	if len(g.seq.entries) > 2*trimEntries || g.missing() != 0 || g.faults[InOrder] != 3_000_000 {
		t.Fatalf("%d entries are kept, faults %v", len(g.seq.entries), g.faults)
	}
	g.deliver(1, 1) // dropped long ago
	if g.faults[Duplicated] != 1 {
		t.Fatalf("faults %v", g.faults)
	}
}

func TestSequenceDoesNotAllocate(t *testing.T) {
	g := newGroup(2)
	o := uint64(0)
	step := func() {
		o++
		g.seq.observe(g.readers[0], Entry{o, o})
		g.seq.observe(g.readers[1], Entry{o, o})
	}
	for range 4 * trimEntries {
		step()
	}
	if n := testing.AllocsPerRun(10_000, step); n != 0 {
		t.Fatalf("%v allocations a message", n)
	}
}

func TestLedger(t *testing.T) {
	for _, c := range []struct {
		name   string
		run    func(*ledger) Verdict
		want   Verdict
		unseen uint64
	}{
		{"sent, seen, acked", func(l *ledger) Verdict { l.sent(0); v := l.see(Entry{ID: 0}); l.ack(0); return v }, InOrder, 0},
		{"sent, acked, seen", func(l *ledger) Verdict { l.sent(0); l.ack(0); return l.see(Entry{ID: 0}) }, InOrder, 0},
		{"acked, not seen", func(l *ledger) Verdict { l.sent(0); l.ack(0); return InOrder }, InOrder, 1},
		{"seen twice", func(l *ledger) Verdict { l.sent(0); l.see(Entry{ID: 0}); return l.see(Entry{ID: 0}) }, Duplicated, 0},
		{"never sent", func(l *ledger) Verdict { l.sent(0); return l.see(Entry{ID: 1}) }, Unexpected, 0},
		{"refused, and seen: it said maybe", func(l *ledger) Verdict { l.sent(0); l.refuse(0); return l.see(Entry{ID: 0}) }, InOrder, 0},
		{"not sent in order", func(l *ledger) Verdict { l.sent(3); l.sent(1); l.see(Entry{ID: 3}); return l.see(Entry{ID: 1}) }, InOrder, 0},
		{"seen again long after", func(l *ledger) Verdict {
			for n := range uint32(1_000_000) {
				l.sent(n)
				l.see(Entry{ID: uint64(n)})
				l.ack(uint64(n))
			}
			if len(l.states) > 2*trimEntries {
				panic("not trimmed")
			}
			return l.see(Entry{ID: 5})
		}, Duplicated, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := new(ledger)
			if v := c.run(l); v != c.want || l.unseen != c.unseen {
				t.Fatalf("verdict %d, %d unseen", v, l.unseen)
			}
		})
	}
}

func BenchmarkObserve(b *testing.B) {
	g := newGroup(100)
	o := uint64(0)
	for b.Loop() {
		o++
		for _, r := range g.readers {
			g.seq.observe(r, Entry{o, o})
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/delivery")
}
