package main

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPacer(t *testing.T) {
	for _, c := range []struct {
		name    string
		pacer   pacer
		elapsed time.Duration
		due     int64
	}{
		{"before the start", pacer{1000, 10}, -1, 0},
		{"the first at once", pacer{1000, 10}, 0, 1},
		{"just before the second", pacer{1000, 10}, time.Millisecond - 1, 1},
		{"the second", pacer{1000, 10}, time.Millisecond, 2},
		{"late: all that are overdue", pacer{1000, 10}, 5 * time.Millisecond, 6},
		{"never more than count", pacer{1000, 10}, time.Hour, 10},
		{"less than one a second", pacer{0.1, 10}, 19 * time.Second, 2},
		{"no rate", pacer{0, 10}, time.Hour, 0},
		{"no events", pacer{1000, 0}, time.Hour, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.pacer.due(c.elapsed); got != c.due {
				t.Fatalf("due(%v) = %d, want %d", c.elapsed, got, c.due)
			}
		})
	}
}

// TestPacerAgrees: event k is due exactly when at(k) has come.
func TestPacerAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := pacer{rapid.Float64Range(0.01, 1e7).Draw(t, "rate"), rapid.Int64Range(1, 1e9).Draw(t, "count")}
		const year = 365 * 24 * 3600 // no schedule is longer; a time.Duration ends after 292
		k := rapid.Int64Range(0, min(p.count-1, int64(p.rate*year))).Draw(t, "k")
		at := p.at(k)
		if got := p.due(at); got <= k {
			t.Fatalf("due(at(%d)) = %d", k, got)
		}
		if got := p.due(at - 1); got > k {
			t.Fatalf("due(at(%d)-1) = %d", k, got)
		}
	})
}

// TestPlan: every connection of a room gets its turns, and a room's messages
// are numbered without gaps.
func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name    string
		layout  layout
		talkers int
		speak   int // connections that ever speak
	}{
		{"all", layout{conns: 10, rooms: 3, sample: 1}, 0, 10},
		{"two of each", layout{conns: 10, rooms: 3, sample: 1}, 2, 6},
		{"more than there are", layout{conns: 10, rooms: 3, sample: 1}, 20, 10},
		{"those who decode", layout{conns: 10, rooms: 1, sample: 4}, 0, 3},
		{"blocks", layout{conns: 10, rooms: 3, block: 4, sample: 1}, 0, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := plan{pacer: pacer{1, 1000}, layout: c.layout, talkers: c.talkers}
			next, spoke := map[int]uint32{}, map[int]bool{}
			for k := range p.count {
				i, n := p.speaker(k)
				r := c.layout.room(i)
				if i >= c.layout.conns || !c.layout.decodes(i) || n != next[r] {
					t.Fatalf("message %d: connection %d says number %d of room %d, want %d", k, i, n, r, next[r])
				}
				next[r]++
				spoke[i] = true
			}
			if len(spoke) != c.speak || len(next) != c.layout.rooms {
				t.Fatalf("%d speak in %d rooms", len(spoke), len(next))
			}
		})
	}
}

func TestLayout(t *testing.T) {
	for _, l := range []layout{{conns: 10, rooms: 3, sample: 1}, {conns: 10, rooms: 3, block: 4, sample: 1}} {
		seen := 0
		for r := range l.rooms {
			for j := range l.members(r) {
				if l.room(l.member(r, j)) != r {
					t.Fatalf("%+v: member %d of room %d sits in room %d", l, j, r, l.room(l.member(r, j)))
				}
				seen++
			}
		}
		if seen != l.conns {
			t.Fatalf("%+v: %d members in all", l, seen)
		}
	}
}
