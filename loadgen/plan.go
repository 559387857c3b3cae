package main

import (
	"math"
	"sort"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/pace"
)

// plan is a schedule of events from a start: of connections to open, or of
// messages to publish. It is immutable and shared by all workers, each of
// which does what falls to its own connections.
type plan struct {
	pace.Pacer
	start int64 // clock time of event 0
	first int   // to open: the connection of event 0
	skip  int64 // to publish: messages that an earlier plan had

	*layout          // to publish: who is where
	talkers  share   // members of a room that take turns
	byMember bool    // a room is spoken to as often as it has talkers; else all rooms are alike
	dealt    []dealt // what a worker has of its rooms; nil: all of them is here
	cum      []int   // with weights: those of the rooms before each, and behind them of all
	stride   int     // with weights: from one turn to the next
	cycle    []turn  // with weights that are not the numbers of talkers: whose turn it is, over and over
}

// turn is one of a room's in a cycle.
type turn struct {
	room int32
	rank uint32 // how many it has had before
}

// share is a part of a room's members: a number of them, or a fraction. The
// zero share is all.
type share struct {
	number   int
	fraction float64
}

func (s share) of(members int) int {
	switch {
	case s.number > 0:
		return min(members, s.number)
	case s.fraction > 0:
		return max(1, min(members, int(math.Ceil(s.fraction*float64(members)))))
	}
	return members
}

// talkersOf is how many members of room r publish. Who only counts messages
// does not talk, for its acks would be counted with them.
func (p *plan) talkersOf(r int) int {
	if p.dealt != nil {
		return p.dealt[r].Talkers
	}
	return p.talkers.of((p.members(r) + p.sample - 1) / p.sample)
}

// weigh lets each room be spoken to as often as its weight says.
func (p *plan) weigh(weight func(r int) int) {
	byTalkers := true
	p.cum = make([]int, p.rooms+1)
	for r := range p.rooms {
		p.cum[r+1] = p.cum[r] + weight(r)
		byTalkers = byTalkers && weight(r) == p.talkersOf(r)
	}
	// What comes one after another lies far apart: a stride near the golden
	// section that all are reached by.
	all := p.cum[p.rooms]
	p.stride = max(1, int(float64(all)*0.6180339887))
	for gcd(p.stride, all) != 1 {
		p.stride++
	}
	if byTalkers {
		return
	}
	// A talker has several turns in a cycle, or less than one: only a list of
	// them tells which of a room's comes when.
	p.cycle = make([]turn, all)
	had := make([]uint32, p.rooms)
	for k := range p.cycle {
		r := p.roomAt(k * p.stride % all)
		p.cycle[k] = turn{int32(r), had[r]}
		had[r]++
	}
}

// roomAt is the room that has position i of all weights, one behind another.
func (p *plan) roomAt(i int) int { return sort.SearchInts(p.cum, i+1) - 1 }

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// due is the number of events whose time has come, at is when event k's does,
// both in the clock's time.
func (p *plan) due(now int64) int64 { return p.Due(time.Duration(now - p.start)) }
func (p *plan) at(k int64) int64    { return p.start + int64(p.At(k)) }

// nextDue is when the plan's next event is due, but not more than idle from
// now. A nil plan has none.
func (p *plan) nextDue(now int64, idle time.Duration) int64 {
	if p != nil {
		if k := p.due(now); k < p.Count() {
			return min(p.at(k), now+int64(idle))
		}
	}
	return now + int64(idle)
}

// scroller is who asks for page k. Those that follow one another are far apart, and
// everybody is asked before anybody is again, or nearly.
func (p *plan) scroller(k int64) int {
	return int(uint64(k) * 2654435761 % uint64(p.conns)) // a prime
}

// speaker is who publishes message k, and its number in its room, which no
// other has. Rooms take turns, by their weights where they have some, and in a
// room its talkers do.
func (p *plan) speaker(k int64) (conn int, n uint32) {
	k += p.skip
	if p.cum == nil {
		r, turn := int(k%int64(p.rooms)), k/int64(p.rooms)
		return p.member(r, int(turn%int64(p.talkersOf(r)))*p.sample), uint32(turn)
	}
	all := int64(p.cum[p.rooms])
	var r int
	var rank uint32
	if p.cycle != nil {
		r, rank = int(p.cycle[k%all].room), p.cycle[k%all].rank
	} else {
		i := int(k % all * int64(p.stride) % all)
		r = p.roomAt(i)
		rank = uint32(i - p.cum[r])
	}
	n = uint32(k/all)*uint32(p.cum[r+1]-p.cum[r]) + rank
	return p.member(r, int(n)%p.talkersOf(r)*p.sample), n
}
