package main

import "time"

// layout says which connection sits in which room. Rooms are filled in turn
// (connection i is in room i mod rooms), or one after another when block is
// set, which lets a room be complete while there are still few connections.
type layout struct {
	conns  int
	rooms  int
	block  int // members of a room that is filled before the next; 0: in turn
	sample int // every sample-th member of a room decodes what it gets; 1: all
}

func (l layout) room(i int) int {
	if l.block > 0 {
		return i / l.block
	}
	return i % l.rooms
}

// decodes reports whether connection i looks into messages or only counts
// them. The first member of every room decodes.
func (l layout) decodes(i int) bool {
	if l.block > 0 {
		return i%l.block%l.sample == 0
	}
	return i/l.rooms%l.sample == 0
}

// members is the number of members of room r, and member(r, j) the j-th.
func (l layout) members(r int) int {
	if l.block > 0 {
		return max(0, min(l.block, l.conns-r*l.block))
	}
	return (l.conns - r + l.rooms - 1) / l.rooms
}

func (l layout) member(r, j int) int {
	if l.block > 0 {
		return r*l.block + j
	}
	return r + j*l.rooms
}

// plan is a schedule of events from a start: of connections to open, or of
// messages to publish. It is immutable and shared by all workers, each of
// which does what falls to its own connections.
type plan struct {
	pacer
	start   int64 // clock time of event 0
	first   int   // to open: the connection of event 0
	layout        // to publish: who is where
	talkers int   // members of a room that take turns; 0: all
}

// due is the number of events whose time has come, at is when event k's does,
// both in the clock's time.
func (p *plan) due(now int64) int64 { return p.pacer.due(time.Duration(now - p.start)) }
func (p *plan) at(k int64) int64    { return p.start + int64(p.pacer.at(k)) }

// nextDue is when the plan's next event is due, but not more than idle from
// now. A nil plan has none.
func (p *plan) nextDue(now int64, idle time.Duration) int64 {
	if p != nil {
		if k := p.due(now); k < p.count {
			return min(p.at(k), now+int64(idle))
		}
	}
	return now + int64(idle)
}

// speaker is who publishes message k: rooms take turns, and in a room its
// talkers do. Who only counts messages does not talk, for its acks would be
// counted with them. n numbers the messages of a room from 0.
func (p *plan) speaker(k int64) (conn int, n uint32) {
	r, turn := int(k%int64(p.rooms)), k/int64(p.rooms)
	able := (p.members(r) + p.sample - 1) / p.sample
	if p.talkers > 0 {
		able = min(able, p.talkers)
	}
	return p.member(r, int(turn%int64(able))*p.sample), uint32(turn)
}
