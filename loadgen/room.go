package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hubbub-chat/hubbub/schema"
)

// room is what is known of one room: the sequence of its messages as all
// workers together saw them, and the ledger of what was published.
//
// A worker's members compare with the worker's own part of the room, without
// a lock. The part is to the room what a member is to the part: what is new
// to it, it passes on, once per message and not once per delivery.
type room struct {
	// immutable
	name   string
	quoted []byte // as a JSON string

	// guarded by mu
	mu     sync.Mutex
	seq    sequence
	ledger ledger
	parts  uint32 // with members

	// Only where the server gives no offsets: those that were given to
	// messages by who saw them first, and the ones before these.
	given, older map[uint64]uint64
	lastGiven    uint64
	whole        map[uint64]uint32 // how many parts have had a message, by offset; only where there are several
}

// complete is called by a part whose members all have had a message. It
// returns true for the last of them.
func (m *room) complete(offset uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
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

func newRooms(prefix string, n int, keepAcked bool) []room {
	rooms := make([]room, n)
	for i := range rooms {
		rooms[i].name = prefix + strconv.Itoa(i)
		rooms[i].quoted = quote(rooms[i].name)
		rooms[i].ledger.keep = keepAcked
	}
	return rooms
}

// quote is a valid channel name as a JSON string; see checkPrefix for why
// nothing in it needs escaping.
func quote(name string) []byte { return []byte(`"` + name + `"`) }

// checkPrefix tells whether names made of it are channels, and plain enough to
// be compared with the bytes of a message.
func checkPrefix(prefix string) error {
	if !plain([]byte(prefix)) {
		return schema.ErrBadRequest.Because("room prefix is not plain ASCII")
	}
	for _, c := range []byte(prefix) {
		if c == '"' || c == '<' || c == '>' || c == '&' {
			return schema.ErrBadRequest.Because("room prefix has a character that JSON may escape")
		}
	}
	return schema.CheckChannel(prefix + "1000000")
}

// observe takes one delivery to r, a reader of the room's own sequence: the
// verdict on its place, and, when nobody had seen it, on its having been said.
func (m *room) observe(r *reader, e entry) (place, said verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	place, by := m.seq.observe(r, e)
	if by == 1 {
		said = m.ledger.see(e)
	}
	return place, said
}

// sent, refuse and ack write into the ledger.
func (m *room) sent(n uint32) {
	m.mu.Lock()
	m.ledger.sent(n)
	m.mu.Unlock()
}

func (m *room) refuse(n uint32) {
	m.mu.Lock()
	m.ledger.refuse(n)
	m.mu.Unlock()
}

func (m *room) ack(id uint64) {
	m.mu.Lock()
	m.ledger.ack(id)
	m.mu.Unlock()
}

// acked is what was acknowledged and seen, by offset. The room's clients must
// have come to rest.
func (m *room) acked() []entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.SortFunc(m.ledger.acked, func(a, b entry) int { return cmp.Compare(a.offset, b.offset) })
	return m.ledger.acked
}

// top is the last offset that was given, where the server gives none.
func (m *room) top() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lastGiven
}

// end is the number of messages seen by anybody, unseen of those that were
// acknowledged and seen by nobody.
func (m *room) end() (end, unseen uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seq.end(), m.ledger.unseen
}

// part is one worker's share of a room. It belongs to the worker's loop.
type part struct {
	room  *room
	epoch string   // the last that a member was told
	live  uint32   // members that are connected
	seq   sequence // as the members on this loop saw it
	self  reader   // the part's own position in the room's sequence
}

// join adds a member whose subscription began behind from. The part itself
// reads from the beginning, for its members may join at different offsets;
// what was before a member's own is left out when it is counted.
func (p *part) join(r *reader, from uint64) {
	if p.seq.join(r, from); len(p.seq.readers) == 1 {
		p.room.mu.Lock()
		p.room.seq.join(&p.self, 0)
		p.room.parts++
		p.room.mu.Unlock()
	}
}

// sameEpoch is the epoch as members share it: there are few, and many members.
func (p *part) sameEpoch(epoch string) string {
	if p.epoch != epoch && plain([]byte(epoch)) { // or it could not be said back as it is
		p.epoch = strings.Clone(epoch)
	}
	return p.epoch
}

func (p *part) leave(r *reader) {
	if p.seq.leave(r); len(p.seq.readers) == 0 {
		p.room.mu.Lock()
		p.room.seq.leave(&p.self)
		p.room.parts--
		p.room.mu.Unlock()
	}
}

// observe takes one delivery to a member. last says that all connected members
// of the room have had it by now.
func (p *part) observe(r *reader, e entry) (v verdict, last bool) {
	v, by := p.seq.observe(r, e)
	if v == inOrder && by == 1 {
		v = p.first(e)
	} else if by == 1 {
		p.room.observe(&p.self, e)
	}
	return v, v == inOrder && by == p.live && p.room.complete(e.offset)
}

// first passes a message on that is new to the part.
func (p *part) first(e entry) verdict {
	// That it is late for the part was some member's fault, and counted there.
	place, said := p.room.observe(&p.self, e)
	if place == unexpected {
		return unexpected
	}
	return said
}

// missing is the number of messages that a member of the part should have got
// and did not: those others on its loop saw, those only other loops saw, and
// those that were acknowledged and seen by nobody.
func (p *part) missing(r *reader) uint64 {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	return p.seq.missing(r, r.from) + p.room.seq.missing(&p.self, r.from) + p.room.ledger.unseen
}
