package fanout

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hubbub-chat/hubbub/schema"
)

// Room is one room on this node: where its history ends, its newest messages,
// and its parts. It is shared by all shards and the relay.
type Room struct {
	// immutable
	name string
	hub  *Hub

	// guarded by mu
	mu      sync.Mutex
	epoch   string  // of the history that offsets belong to; a room that is not loaded has none
	last    uint64  // offset of the newest message delivered, 0 in an empty room
	recent  recent  // the newest messages
	parts   []*part // by shard and form; the part's inside is its shard's
	loaded  bool    // last and recent are known
	loading bool    // somebody reads them
	waiting []func(error)
	gone    bool  // the hub has forgotten this room: look it up again
	used    int64 // when it was last needed, Unix seconds

	// atomic
	congested atomic.Int32 // parts whose log grows faster than it is written
	members   atomic.Int32 // of all parts
}

func newRoom(h *Hub, name string) *Room {
	return &Room{name: name, hub: h, parts: make([]*part, len(h.shards)*numForms)}
}

// Name is the channel name.
func (r *Room) Name() string { return r.name }

// Top is the offset of the room's newest message, 0 in an empty room.
func (r *Room) Top() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// End is the room's epoch, and the offset of its newest message there.
func (r *Room) End() (epoch string, top uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch, r.last
}

// After returns the messages with after < offset <= upTo, oldest first, if
// the node has them all in memory.
func (r *Room) After(after, upTo uint64) ([]*schema.Message, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, ok := r.recent.after(after, min(upTo, r.last))
	return slices.Clone(list), ok
}

// Before returns up to limit messages with offset < before, oldest first, if
// the node has them all in memory.
func (r *Room) Before(before uint64, limit int) ([]*schema.Message, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, ok := r.recent.before(before, limit)
	return slices.Clone(list), ok
}

// Fill makes the room known. A room that became known meanwhile knows better.
func (r *Room) Fill(s Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.loaded {
		r.set(s)
	}
}

// Reset gives the room another history: what its members have seen and what
// there is now do not link. All of them are taken out, and told to come back;
// what has yet to reach them of the old history may still do so first. Not
// while another goroutine delivers to the room.
func (r *Room) Reset(s Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recent = recent{}
	r.set(s)
	for i, p := range r.parts {
		if p != nil {
			r.parts[i] = nil // who joins from now on joins a new part
			p.shard.loop.Post(p.reset)
		}
	}
}

// set is called with mu held.
func (r *Room) set(s Snapshot) {
	r.loaded, r.epoch, r.last = true, s.Epoch, s.Last
	for _, m := range s.Newest {
		r.recent.push(m, r.hub.cfg.RecentMessages, r.hub.cfg.RecentBytes)
	}
}

// deliver makes m the room's newest message and puts it before every part.
func (r *Room) deliver(m *schema.Message, form func(Form) *payload) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.loaded {
		return // forgotten meanwhile, so nobody is there
	}
	r.last = m.Offset
	r.recent.push(m, r.hub.cfg.RecentMessages, r.hub.cfg.RecentBytes)
	r.post(m.Offset, form)
}

// post puts a message before every part. Called with mu held.
func (r *Room) post(offset uint64, form func(Form) *payload) {
	for _, p := range r.parts {
		if p != nil {
			p.shard.post(p, offset, form(p.form))
		}
	}
}

// empty reports whether no part is left. Called with mu held.
func (r *Room) empty() bool {
	for _, p := range r.parts {
		if p != nil {
			return false
		}
	}
	return true
}
