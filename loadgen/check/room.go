package check

import (
	"cmp"
	"slices"
	"sync"
)

// Room is what is known of one room: the sequence of its messages as all
// workers together saw them, and the ledger of what was published.
//
// A worker's members compare with the worker's own part of the room, without
// a lock. The part is to the room what a member is to the part: what is new
// to it, it passes on, once per message and not once per delivery.
type Room struct {
	// immutable
	Name   string
	shared bool // other processes have members, too

	// guarded by mu
	mu     sync.Mutex
	seq    sequence
	ledger ledger
	parts  uint32  // with members
	log    []Entry // what was seen, in the order in which it was; only of a shared room

	// Only where the server gives no offsets: those that were given to
	// messages by who saw them first, and the ones before these.
	given, older map[uint64]uint64
	lastGiven    uint64
	whole        map[uint64]uint32 // how many parts have had a message, by offset; only where there are several
}

// complete is called by a part whose members all have had a message. It
// returns true for the last of them.
func (m *Room) complete(offset uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shared {
		return false // of the others nobody knows
	}
	if m.parts <= 1 {
		return true
	}
	if m.whole == nil {
		m.whole = map[uint64]uint32{}
	}
	m.whole[offset]++
	if m.whole[offset] < m.parts {
		if len(m.whole) > maxWhole { // some part never gets them
			clear(m.whole)
		}
		return false
	}
	delete(m.whole, offset)
	return true
}

// maxWhole bounds what a room remembers of messages on their way.
const maxWhole = 1 << 14

// NewRooms makes rooms. keepAcked says that Acked is wanted at the end.
func NewRooms(n int, name func(i int) string, keepAcked bool) []Room {
	rooms := make([]Room, n)
	for i := range rooms {
		rooms[i].Name = name(i)
		rooms[i].ledger.keep = keepAcked
	}
	return rooms
}

// Share is told, before anybody joins, of a room that other processes have
// members of. The publishers of this one are those from first on and before
// behind. What was said by others, or twice, a Union finds at the end.
func (m *Room) Share(first, behind uint32) {
	m.shared = true
	m.ledger.share(first, behind)
}

// Shared reports whether it is.
func (m *Room) Shared() bool { return m.shared }

// Reached is how many messages were seen of a shared room, and the highest of
// their offsets.
func (m *Room) Reached() (n int, top uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.log), m.seq.top()
}

// Account is what is known of a shared room, whose clients have come to rest.
// The caller adds how its members stand.
func (m *Room) Account() *Account {
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.SortFunc(m.log, byOffset)
	return &Account{First: m.ledger.first, Behind: m.ledger.behind, States: m.ledger.states, Seen: m.log}
}

func byOffset(a, b Entry) int { return cmp.Compare(a.Offset, b.Offset) }

// Observe takes one delivery to r, a reader of the room's own sequence: the
// verdict on its place, and, when nobody had seen it, on its having been said.
func (m *Room) Observe(r *Reader, e Entry) (place, said Verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	place, by := m.seq.observe(r, e)
	if by == 1 {
		said = m.ledger.see(e)
		if m.shared {
			m.log = append(m.log, e)
		}
	}
	return place, said
}

// Sent: message n was published.
func (m *Room) Sent(n uint32) {
	m.mu.Lock()
	m.ledger.sent(n)
	m.mu.Unlock()
}

// Refuse: it was answered with an error, or its connection ended before that.
func (m *Room) Refuse(n uint32) {
	m.mu.Lock()
	m.ledger.refuse(n)
	m.mu.Unlock()
}

// Ack: the message of this id was acknowledged.
func (m *Room) Ack(id uint64) {
	m.mu.Lock()
	m.ledger.ack(id)
	m.mu.Unlock()
}

// Acked is what was acknowledged and seen, by offset. The room's clients must
// have come to rest.
func (m *Room) Acked() []Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.SortFunc(m.ledger.acked, byOffset)
	return m.ledger.acked
}

// Top is the last offset that was given, where the server gives none.
func (m *Room) Top() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lastGiven
}

// Join and Missing are the sequence's, for a reader that is no member of a
// part. Any goroutine may ask.
func (m *Room) Join(r *Reader, from uint64) {
	m.mu.Lock()
	m.seq.join(r, from)
	m.mu.Unlock()
}

// Missing is the number of messages that r has not got.
func (m *Room) Missing(r *Reader) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seq.missing(r, r.from)
}

// end is the number of messages seen by anybody, unseen of those that were
// acknowledged and seen by nobody.
func (m *Room) end() (end, unseen uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seq.end(), m.ledger.unseen
}

// OffsetOf is the offset that a message got from who saw it first.
func (m *Room) OffsetOf(id uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if offset, ok := m.given[id]; ok {
		return offset
	}
	if m.given == nil || len(m.given) > maxGiven {
		m.older, m.given = m.given, map[uint64]uint64{}
	}
	if offset, ok := m.older[id]; ok {
		return offset
	}
	m.lastGiven++
	m.given[id] = m.lastGiven
	return m.lastGiven
}

// maxGiven is how many offsets are remembered, twice over: a copy of a message
// that is older counts as lost to whom it came late.
const maxGiven = 1 << 15

// Part is one worker's share of a room. It belongs to the worker's loop.
type Part struct {
	Room *Room
	Live uint32   // members that are connected
	seq  sequence // as the members on this loop saw it
	self Reader   // the part's own position in the room's sequence
}

// Join adds a member whose subscription began behind from. The part itself
// reads from the beginning, for its members may join at different offsets;
// what was before a member's own is left out when it is counted.
func (p *Part) Join(r *Reader, from uint64) {
	if p.seq.join(r, from); len(p.seq.readers) == 1 {
		p.Room.mu.Lock()
		p.Room.seq.join(&p.self, 0)
		p.Room.parts++
		p.Room.mu.Unlock()
	}
}

// Leave removes a member; what it did not get is not waited for.
func (p *Part) Leave(r *Reader) {
	if p.seq.leave(r); len(p.seq.readers) == 0 {
		p.Room.mu.Lock()
		p.Room.seq.leave(&p.self)
		p.Room.parts--
		p.Room.mu.Unlock()
	}
}

// Observe takes one delivery to a member. last says that all connected members
// of the room have had it by now.
func (p *Part) Observe(r *Reader, e Entry) (v Verdict, last bool) {
	v, by := p.seq.observe(r, e)
	if v == InOrder && by == 1 {
		v = p.first(e)
	} else if by == 1 {
		p.Room.Observe(&p.self, e)
	}
	return v, v == InOrder && by == p.Live && p.Room.complete(e.Offset)
}

// Load takes a message that a member has read from the history. It may stand there
// although the member has it, and behind what came live. got says that it had not.
func (p *Part) Load(r *Reader, e Entry) (v Verdict, got bool) {
	v, by := p.seq.observe(r, e)
	got = v == InOrder || v == Reordered
	switch {
	case by == 1:
		v = p.first(e)
	case v == Reordered || v == Duplicated:
		v = InOrder
	}
	return v, got
}

// first passes a message on that is new to the part.
func (p *Part) first(e Entry) Verdict {
	// That it is late for the part was some member's fault, and counted there.
	place, said := p.Room.Observe(&p.self, e)
	if place == Unexpected {
		return Unexpected
	}
	return said
}

// Missing is the number of messages that a member of the part should have got
// and did not: those others on its loop saw, those only other loops saw, and
// those that were acknowledged and seen by nobody.
func (p *Part) Missing(r *Reader) uint64 {
	p.Room.mu.Lock()
	defer p.Room.mu.Unlock()
	return p.seq.missing(r, r.from) + p.Room.seq.missing(&p.self, r.from) + p.Room.ledger.unseen
}
