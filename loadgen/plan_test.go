package main

import (
	"testing"

	"github.com/hubbub-chat/hubbub/loadgen/pace"
)

// TestPlan: every connection of a room gets its turns, and no number of a
// room is said twice, or left out for ever.
func TestPlan(t *testing.T) {
	sampled := inTurn(10, 1)
	sampled.sample = 4
	for _, c := range []struct {
		name     string
		layout   layout
		talkers  share
		byMember bool
		speak    int // connections that ever speak
	}{
		{"all", inTurn(10, 3), share{}, false, 10},
		{"two of each", inTurn(10, 3), share{number: 2}, false, 6},
		{"more than there are", inTurn(10, 3), share{number: 20}, false, 10},
		{"half", inTurn(10, 3), share{fraction: 0.5}, false, 6},
		{"those who decode", sampled, share{}, false, 3},
		{"blocks", blocks(10, 4), share{}, false, 10},
		{"zipf", zipf(40, 5, 1), share{}, false, 40},
		{"by member", zipf(40, 5, 1), share{}, true, 40},
		{"half by member", zipf(40, 5, 1), share{fraction: 0.5}, true, 20},
		{"one by member", inTurn(1, 1), share{}, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := plan{Pacer: pace.Even(1, 4000), layout: &c.layout, talkers: c.talkers}
			if c.byMember {
				p.weigh(p.talkersOf)
			}
			said, most, spoke := map[int]map[uint32]bool{}, map[int]uint32{}, map[int]bool{}
			for k := range p.Count() {
				i, n := p.speaker(k)
				r := c.layout.room(i)
				if said[r] == nil {
					said[r] = map[uint32]bool{}
				}
				if i >= c.layout.conns || !c.layout.decodes(i) || said[r][n] {
					t.Fatalf("message %d: connection %d says number %d of room %d", k, i, n, r)
				}
				said[r][n] = true
				most[r] = max(most[r], n)
				spoke[i] = true
			}
			if len(spoke) != c.speak || len(said) != c.layout.rooms {
				t.Fatalf("%d speak in %d rooms", len(spoke), len(said))
			}
			for r := range said {
				if left := int(most[r]) + 1 - len(said[r]); left > c.layout.members(r) {
					t.Errorf("room %d: %d numbers are left out", r, left)
				}
			}
		})
	}
}

func TestLayout(t *testing.T) {
	for name, l := range map[string]layout{
		"in turn": inTurn(10, 3), "blocks": blocks(10, 4), "zipf": zipf(1000, 30, 1.2), "sizes": sized(20, []int{10, 3, 3, 9}),
	} {
		seen := 0
		for r := range l.rooms {
			for j := range l.members(r) {
				if l.room(l.member(r, j)) != r {
					t.Fatalf("%s: member %d of room %d sits in room %d", name, j, r, l.room(l.member(r, j)))
				}
				seen++
			}
		}
		if seen != l.conns {
			t.Fatalf("%s: %d members in all of %d", name, seen, l.conns)
		}
	}
	z := zipf(1000, 30, 1)
	if z.rooms != 30 || z.conns != 1000 || z.members(0) < 200 || z.members(0) < z.members(1)*3/2 || z.members(29) < 1 {
		t.Errorf("zipf: %d rooms of %d, the first %d and %d, the last %d", z.rooms, z.conns, z.members(0), z.members(1), z.members(29))
	}
}
