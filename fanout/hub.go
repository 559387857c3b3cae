package fanout

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// Source is where rooms come from that are not in memory.
type Source interface {
	// Open finds out where a room stands, calls its Fill, and then done, on
	// any goroutine. From then on, until Close, it sees to it that everything
	// new in the room is delivered. It never blocks.
	Open(r *Room, done func(error))
	// Close says that the hub has forgotten a room. It must neither block nor
	// call the hub.
	Close(r *Room)
}

// Snapshot is where a room stands.
type Snapshot struct {
	Epoch  string            // names the history that its offsets belong to
	Last   uint64            // offset of the newest message, 0 in an empty room
	Newest []*schema.Message // the last of them, oldest first, each linked to the one before by Prev
}

// Config bounds what rooms may hold. Zero values mean the defaults named.
type Config struct {
	LogBytes       int           // unwritten bytes of a room on one loop; default 1 MiB
	InboxBytes     int           // bytes before one loop; above it publishes are refused; default 64 MiB
	WritesPerTurn  int           // of a loop's turn, before it reads again; default 256
	RecentMessages int           // newest messages of a room kept in memory; default 100
	RecentBytes    int           // and their bytes; default 256 KiB
	Forget         time.Duration // how long a room without members stays in memory; default 60 s

	// Ahead is told of a room in memory whose newest offset is minutes ahead of
	// the clock: once an hour at most, of 100 rooms. It is called by Run; nil
	// tells nobody.
	Ahead func(room string, by time.Duration)
}

func (c *Config) setDefaults() {
	def := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	def(&c.LogBytes, 1<<20)
	def(&c.InboxBytes, 64<<20)
	def(&c.WritesPerTurn, 256)
	def(&c.RecentMessages, 100)
	def(&c.RecentBytes, 256<<10)
	if c.Forget <= 0 {
		c.Forget = time.Minute
	}
}

// ErrBusy says that those who find out where rooms stand have too much to do.
var ErrBusy = errors.New("too many rooms are waiting")

// ErrOverloaded says that messages come faster than they can be delivered.
var ErrOverloaded = errors.New("delivery is behind")

// Refusal is what a sender is told of a message that a relay did not take: the relay's
// words where they are meant for it, otherwise an error that says to try again.
func Refusal(err error) *schema.Error {
	if coded := (*schema.Error)(nil); errors.As(err, &coded) {
		return coded
	}
	if errors.Is(err, ErrOverloaded) {
		return schema.ErrTooManyRequests.Because("the server has too much to do")
	}
	return schema.ErrTooManyRequests.Because("the server cannot take messages right now")
}

// Hub is all rooms of this node.
type Hub struct {
	cfg      Config
	source   Source
	shards   []*Shard
	couriers sync.Pool // *courier

	refused atomic.Uint64
	ahead   ahead

	mu    sync.RWMutex
	rooms map[string]*Room
}

// NewHub makes a hub with a shard for each loop.
func NewHub(cfg Config, source Source, loops []Loop) *Hub {
	cfg.setDefaults()
	h := &Hub{cfg: cfg, source: source, rooms: make(map[string]*Room)}
	for i, l := range loops {
		h.shards = append(h.shards, &Shard{hub: h, index: i, loop: l})
	}
	h.couriers.New = func() any { return new(courier) }
	return h
}

// Shard returns the shard of a loop.
func (h *Hub) Shard(i int) *Shard { return h.shards[i] }

func (h *Hub) now() int64 { return time.Now().Unix() }

// room returns the room of this name, known or not.
func (h *Hub) room(name string) *Room {
	r := h.find(name)
	if r != nil {
		return r
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if r = h.rooms[name]; r == nil {
		r = newRoom(h, name)
		r.used = h.now()
		h.rooms[name] = r
	}
	return r
}

// Loaded returns the room if its newest messages are in memory, else nil.
func (h *Hub) Loaded(name string) *Room {
	r := h.find(name)
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.loaded || r.gone {
		return nil
	}
	r.used = h.now()
	return r
}

// Open brings the room's newest messages into memory and then calls ready,
// on any goroutine. The source is asked once for all who wait for a room.
func (h *Hub) Open(name string, ready func(*Room, error)) {
	r := h.room(name)
	r.mu.Lock()
	r.used = h.now()
	if r.loaded {
		r.mu.Unlock()
		ready(r, nil)
		return
	}
	r.waiting = append(r.waiting, func(err error) { ready(r, err) })
	start := !r.loading
	r.loading = true
	r.mu.Unlock()
	if start {
		h.source.Open(r, r.loadDone)
	}
}

func (r *Room) loadDone(err error) {
	r.mu.Lock()
	waiting := r.waiting
	r.waiting, r.loading = nil, false
	r.mu.Unlock()
	for _, ready := range waiting {
		ready(err)
	}
}

// Deliver brings messages to their rooms' members. The messages of a room
// come in order, each linked to the one before it by Prev. For one room there
// is one goroutine that delivers.
func (h *Hub) Deliver(batch []*schema.Message) {
	c := h.couriers.Get().(*courier)
	defer h.couriers.Put(c)
	for _, m := range batch {
		c.deliver(h.room(m.Room), m)
	}
	h.wake()
}

// Deliver is Hub.Deliver for messages of this room alone, also when the hub
// has forgotten it and has another of its name.
func (r *Room) Deliver(batch []*schema.Message) {
	c := r.hub.couriers.Get().(*courier)
	defer r.hub.couriers.Put(c)
	for _, m := range batch {
		c.deliver(r, m)
	}
	r.hub.wake()
}

func (c *courier) deliver(r *Room, m *schema.Message) {
	c.begin()
	r.deliver(m, func(f Form) *payload {
		return c.form(f, func(b []byte, codec schema.Codec) []byte { return c.enc.AppendPush(b, codec, m) })
	})
}

// wake makes the loops look at what was posted.
func (h *Hub) wake() {
	for _, s := range h.shards {
		if s.backlog.Load() > 0 {
			s.loop.Wake()
		}
	}
}

// Event brings something that is not kept, a join or somebody typing, to a
// room's members. It has no offset; it comes between the messages that were
// delivered before and after it. encode appends it in a codec. Any goroutine
// may call it.
func (h *Hub) Event(name string, encode func([]byte, schema.Codec) []byte) {
	if r := h.find(name); r != nil {
		h.event(r, encode, func(*part) bool { return true })
	}
}

// maxAnnounced is the largest room, in members on this node, in which
// announcements are made. When n members come to a room, n*n/2 announcements
// leave it: 20,000 here, 50 million in a room of 10,000, where nobody could
// read them. Clients of larger rooms ask for the presence instead.
const maxAnnounced = 200

// Announce brings an event to those members only that joined with a form
// WithAnnouncements, unless the room is larger than maxAnnounced. It costs
// little where there is none.
func (h *Hub) Announce(name string, encode func([]byte, schema.Codec) []byte) {
	if r := h.find(name); r.announces() {
		h.event(r, encode, func(p *part) bool { return p.form.Announces() })
	}
}

// Announces reports whether a room is small enough for announcements.
func (h *Hub) Announces(name string) bool { return h.find(name).announces() }

func (r *Room) announces() bool { return r != nil && r.members.Load() <= maxAnnounced }

// find returns a room that is known here, or nil.
func (h *Hub) find(name string) *Room {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.rooms[name]
}

// event encodes nothing and wakes nobody when no part is to have it.
func (h *Hub) event(r *Room, encode func([]byte, schema.Codec) []byte, to func(*part) bool) {
	var c *courier
	r.mu.Lock()
	for _, p := range r.parts {
		if p == nil || !to(p) {
			continue
		}
		if c == nil {
			c = h.couriers.Get().(*courier)
			c.begin()
		}
		p.shard.post(p, 0, c.form(p.form, encode))
	}
	r.mu.Unlock()
	if c != nil {
		h.couriers.Put(c)
		h.wake()
	}
}

// Admit reports whether a room can take another message: nil, or
// ErrOverloaded. For relays.
func (h *Hub) Admit(room string) error {
	for _, s := range h.shards {
		if s.backlog.Load() > int64(h.cfg.InboxBytes) {
			h.refused.Add(1)
			return ErrOverloaded
		}
	}
	if r := h.find(room); r != nil && r.congested.Load() > 0 {
		h.refused.Add(1)
		return ErrOverloaded
	}
	return nil
}

// Visit calls visit for every member of a room, on the members' loops, one
// loop after another, and then done, on any of them.
func (h *Hub) Visit(r *Room, visit func(*Member), done func()) {
	r.mu.Lock()
	var parts []*part
	for _, p := range r.parts {
		if p != nil {
			parts = append(parts, p)
		}
	}
	r.mu.Unlock()
	var next func()
	next = func() {
		if len(parts) == 0 {
			done()
			return
		}
		p := parts[0]
		parts = parts[1:]
		p.shard.loop.Post(func() {
			for _, m := range p.members {
				visit(m)
			}
			next()
		})
	}
	next()
}

// Run forgets rooms without members until ctx ends.
func (h *Hub) Run(ctx context.Context) {
	tick := time.NewTicker(h.cfg.Forget / 6)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			h.forget(time.Now())
		}
	}
}

// forget drops the rooms that nobody has needed for Config.Forget, and looks
// for those that are ahead of the clock.
func (h *Hub) forget(now time.Time) {
	since := now.Add(-h.cfg.Forget).Unix()
	limit := h.ahead.limit(now)
	var ahead []aheadRoom
	h.mu.Lock()
	for name, r := range h.rooms {
		r.mu.Lock()
		if r.used <= since && !r.loading && r.empty() {
			r.gone = true
			delete(h.rooms, name)
			h.source.Close(r)
		} else if r.last > limit {
			ahead = append(ahead, aheadRoom{name, schema.OffsetTime(r.last).Sub(now)})
		}
		r.mu.Unlock()
	}
	h.mu.Unlock()
	h.ahead.note(now, ahead, h.cfg.Ahead)
}

// Stats are the hub's gauges and counters.
type Stats struct {
	Rooms      int    // in memory
	Members    int64  // subscriptions
	Backlog    int64  // bytes before the loops
	Passes     uint64 // passes over parts
	Slow       uint64 // members closed because they did not read
	Refused    uint64 // messages refused because delivery is behind
	Ahead      int64  // rooms whose newest offset is minutes ahead of the clock, at the last look
	Deliveries uint64 // messages times members
}

// Stats sums what the shards have counted.
func (h *Hub) Stats() Stats {
	h.mu.RLock()
	s := Stats{Rooms: len(h.rooms), Refused: h.refused.Load(), Ahead: h.ahead.rooms.Load()}
	h.mu.RUnlock()
	for _, sh := range h.shards {
		s.Members += sh.members.Load()
		s.Backlog += sh.backlog.Load()
		s.Passes += sh.passes.Load()
		s.Slow += sh.slow.Load()
		s.Deliveries += sh.deliveries.Load()
	}
	return s
}
