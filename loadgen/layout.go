package main

import (
	"math"
	"sort"
)

// layout says which connection sits in which room. Rooms are filled in turn
// (connection i is in room i mod rooms), or one after another where they begin
// at given connections: then they may differ in size.
type layout struct {
	conns  int
	rooms  int
	sample int   // every sample-th member of a room decodes what it gets; 1: all
	starts []int // the first connection of each room, and behind them conns; nil: in turn
}

// inTurn deals connections to rooms like cards.
func inTurn(conns, rooms int) layout { return layout{conns: conns, rooms: rooms, sample: 1} }

// sized makes a room of each size, until the connections are used up.
func sized(conns int, sizes []int) layout {
	l := layout{sample: 1, starts: []int{0}}
	for _, size := range sizes {
		if l.conns += min(size, conns-l.conns); l.conns > l.starts[l.rooms] {
			l.starts = append(l.starts, l.conns)
			l.rooms++
		}
	}
	return l
}

// blocks fills rooms of so many members one after another, which lets a room
// be complete while there are still few connections.
func blocks(conns, members int) layout {
	var sizes []int
	for left := conns; left > 0; left -= members {
		sizes = append(sizes, members)
	}
	return sized(conns, sizes)
}

// zipf makes rooms whose sizes fall as 1/rank^exponent, one member at least.
func zipf(conns, rooms int, exponent float64) layout {
	var sum float64
	for r := range rooms {
		sum += math.Pow(float64(r+1), -exponent)
	}
	sizes := make([]int, rooms)
	left, weight := conns, 0.0
	for r := range rooms {
		// What is cut off is given on, so that the sum is right.
		weight += math.Pow(float64(r+1), -exponent) / sum
		sizes[r] = max(1, min(int(weight*float64(conns)+0.5)-(conns-left), left-(rooms-1-r)))
		left -= sizes[r]
	}
	return sized(conns, sizes)
}

func (l *layout) room(i int) int {
	if l.starts != nil {
		return sort.SearchInts(l.starts, i+1) - 1
	}
	return i % l.rooms
}

// decodes reports whether connection i looks into messages or only counts
// them. The first member of every room decodes.
func (l *layout) decodes(i int) bool {
	if l.sample == 1 {
		return true
	}
	if l.starts != nil {
		return (i-l.starts[l.room(i)])%l.sample == 0
	}
	return i/l.rooms%l.sample == 0
}

// members is the number of members of room r, and member(r, j) the j-th.
func (l *layout) members(r int) int {
	if l.starts != nil {
		return l.starts[r+1] - l.starts[r]
	}
	return (l.conns - r + l.rooms - 1) / l.rooms
}

func (l *layout) member(r, j int) int {
	if l.starts != nil {
		return l.starts[r] + j
	}
	return r + j*l.rooms
}

// listeners is how many connections get each message, on average over the
// plan's messages.
func (p *plan) listeners() float64 {
	if p.byMember {
		var sum, n float64
		for r := range p.rooms {
			t := float64(p.talkersOf(r))
			sum, n = sum+t*float64(p.members(r)), n+t
		}
		return sum / n
	}
	return float64(p.conns) / float64(p.rooms)
}
