package fanout

import (
	"sync"
	"sync/atomic"
)

// Loop is the event loop a shard runs in.
type Loop interface {
	Wake()       // take a turn soon
	Post(func()) // run this on the loop soon
}

// Shard is the share of the hub on one event loop. Everything it owns is
// touched in its loop's turns only, so delivering needs no lock but the
// inbox's, which is held to append and to swap.
//
// Turn is the whole algorithm: drain the inbox into the logs, then write each
// dirty part once. Under load many messages leave in one write; when it is
// quiet a message leaves at once. Nothing waits for a timer.
type Shard struct {
	// immutable
	hub   *Hub
	index int
	loop  Loop

	// owned by the loop
	dirty    []*part // waiting for a pass, in turn
	again    []*part // those that this turn could not finish
	unsealed []*part // appended to in this drain
	buffers  [][]byte
	work     inbox // the inbox that is being drained

	// guarded by mu
	mu    sync.Mutex
	inbox inbox

	// atomic
	backlog    atomic.Int64 // bytes in the inbox
	members    atomic.Int64
	passes     atomic.Uint64
	slow       atomic.Uint64 // members closed because they did not read
	deliveries atomic.Uint64 // messages times the members they were appended for
}

// inbox is what relays have brought: messages for parts, in one buffer.
type inbox struct {
	items []item
	buf   []byte
}

type item struct {
	part       *part
	offset     uint64
	end        int // of the message in buf; it begins where the one before ends
	compressed bool
}

const (
	maxKeptBuffer = 64 << 10
	maxBuffers    = 64
)

func (s *Shard) slot(f Form) int { return s.index*numForms + int(f) }

// post puts a message before a part. Any goroutine may call it; the caller
// wakes the loop when it has posted all it has.
func (s *Shard) post(p *part, offset uint64, m *payload) {
	s.mu.Lock()
	s.inbox.buf = append(s.inbox.buf, m.bytes...)
	s.inbox.items = append(s.inbox.items, item{p, offset, len(s.inbox.buf), m.compressed})
	s.mu.Unlock()
	s.backlog.Add(int64(len(m.bytes)))
}

// Turn does what there is to do, and returns whether there is more. It is the
// loop's turn hook.
func (s *Shard) Turn() bool {
	s.Drain()
	budget, n := s.hub.cfg.WritesPerTurn, 0
	for ; n < len(s.dirty) && budget > 0; n++ {
		p := s.dirty[n]
		var clean bool
		if budget, clean = p.flush(budget); clean {
			p.dirty = false
		} else {
			s.again = append(s.again, p) // behind the others
		}
	}
	rest := copy(s.dirty, s.dirty[n:])
	s.dirty = append(s.dirty[:rest], s.again...)
	clear(s.again)
	s.again = s.again[:0]
	return len(s.dirty) > 0
}

// Drain appends what is in the inbox to the logs. On the loop only.
func (s *Shard) Drain() {
	if s.backlog.Load() == 0 {
		return
	}
	s.mu.Lock()
	s.inbox, s.work = s.work, s.inbox
	s.mu.Unlock()
	w := &s.work
	s.backlog.Add(-int64(len(w.buf)))
	from := 0
	for _, it := range w.items {
		s.deliveries.Add(uint64(len(it.part.members)))
		it.part.append(it.offset, w.buf[from:it.end], it.compressed)
		from = it.end
	}
	clear(w.items) // they point to parts
	w.items, w.buf = w.items[:0], w.buf[:0]
	if cap(w.buf) > 16*maxKeptBuffer {
		w.buf, w.items = nil, nil
	}
	for i, p := range s.unsealed {
		p.open = false
		p.seal()
		p.bound()
		s.unsealed[i] = nil
	}
	s.unsealed = s.unsealed[:0]
}

// Join makes m a member of a room. Its live messages begin after the returned
// position. It returns false when the room has been forgotten since it was
// opened: open it again. On the loop only.
//
// The inbox is drained first, until the part has all that was delivered. A
// client that comes back from another loop may have seen there what still
// waits in the inbox here, or what deliver is just about to post; the position
// must lie at or behind everything that anybody has seen.
func (s *Shard) Join(r *Room, f Form, m *Member, peer Peer) (position uint64, ok bool) {
	s.Drain()
	r.mu.Lock()
	if r.gone {
		r.mu.Unlock()
		return 0, false
	}
	p := r.parts[s.slot(f)]
	for p != nil && p.last < r.last {
		r.mu.Unlock()
		s.Drain() // deliver posts with mu held: it is all there
		r.mu.Lock()
		p = r.parts[s.slot(f)] // its last member may have been too slow
	}
	if p == nil {
		// From here on deliver posts to the part; what came before is
		// history, up to last.
		p = &part{room: r, shard: s, form: f, epoch: r.epoch, last: r.last}
		p.log.seal()
		r.parts[s.slot(f)] = p
	}
	r.mu.Unlock()
	s.members.Add(1)
	r.members.Add(1)
	p.add(m, peer)
	return p.last, true
}

func (s *Shard) takeBuffer() []byte {
	if n := len(s.buffers); n > 0 {
		b := s.buffers[n-1]
		s.buffers = s.buffers[:n-1]
		return b
	}
	return make([]byte, 0, 1024)
}

func (s *Shard) giveBuffer(b []byte) {
	if b != nil && cap(b) <= maxKeptBuffer && len(s.buffers) < maxBuffers {
		s.buffers = append(s.buffers, b[:0])
	}
}
