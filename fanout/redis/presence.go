package redis

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/hubbub-chat/hubbub/fanout"
)

// presence is this node's part of who is in which room, where people may ask.
//
// Redis has, for each room, a hash of clients for every boot that has any, a
// hash of users with the number of their clients, and a hash of boots with the
// number of theirs. So a count costs O(nodes), a list is read in pages, and
// what a dead node leaves is one hash, which whoever meets it takes out.
//
// Sessions say who comes and goes. That is noted here, the last word on each
// client, and written by workers: a loop waits for nobody, many changes share a
// call, and who comes and goes at once costs one. Nothing is kept of clients
// that just stay: who they are can be asked of the hub. That is done when there
// is reason to think that Redis lacks something: too much was to be written, or
// the number of the last write is not there (FLUSHALL, a fail-over, somebody
// who took this node for dead).
//
// Rejected: a key for each client with an expiry, which is renewed: 100,000
// idle clients would be written to again and again. Rejected: asking all nodes
// when somebody asks: one that does not answer would hold up the rest.
type presence struct {
	relay *Relay
	asked chan struct{} // of size 1: a look at all rooms is due

	mu      sync.Mutex
	more    *sync.Cond // a room is ready, or it is over
	rooms   map[string]*attendance
	ready   []*attendance // with something to write
	pending int           // changes in all rooms
	closed  bool          // nobody comes or goes any more
	given   bool          // nor is the rest waited for
}

// attendance is one room's part of it: a room where somebody of this node is,
// or was until just now. Guarded by presence.mu.
type attendance struct {
	room     string
	changes  map[string]string // client to entry, empty: it has gone
	number   uint64            // of the last write
	members  int               // that Redis has of this node
	anew     bool              // changes are lost: everything is to be written
	queued   bool              // in ready, or soon again
	underWay bool              // with a worker
	settled  chan struct{}     // closed when all is written; nil when nobody waits
}

const (
	maxChanges      = 1 << 16 // of all rooms; above it a room is written anew
	attendClients   = 128     // of one call: Redis does nothing else for about a millisecond
	attendRooms     = 64      // of one pipeline
	presencePages   = 1000    // clients of one page, about
	presenceWriters = 4
)

func newPresence(r *Relay) *presence {
	p := &presence{relay: r, asked: make(chan struct{}, 1), rooms: make(map[string]*attendance)}
	p.more = sync.NewCond(&p.mu)
	return p
}

// Join says that a client of this node is in a room; it may have been before.
// It never blocks.
func (r *Relay) Join(room string, c fanout.Client) { r.presence.note(room, c.ID, appendEntry(c)) }

// Leave says that it is no more.
func (r *Relay) Leave(room, client string) { r.presence.note(room, client, "") }

// appendEntry is what Redis keeps of a client.
func appendEntry(c fanout.Client) string {
	b := make([]byte, 0, 2+len(c.User)+len(c.Info))
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.User)))
	b = append(b, c.User...)
	return string(append(b, c.Info...))
}

// parseClient is its inverse.
func parseClient(id, entry string) (c fanout.Client, ok bool) {
	d := decoder{rest: entry}
	c = fanout.Client{ID: id, User: d.take(d.fixed(2))}
	if d.rest != "" {
		c.Info = []byte(d.rest)
	}
	return c, !d.failed
}

func (p *presence) note(room, client, entry string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.rooms[room]
	if p.closed || a == nil && entry == "" {
		return
	}
	if a == nil {
		a = &attendance{room: room}
		p.rooms[room] = a
	}
	if a.anew {
		return // all who are there will be asked
	}
	if a.changes == nil {
		a.changes = make(map[string]string)
	}
	before := len(a.changes)
	a.changes[client] = entry
	p.pending += len(a.changes) - before
	if p.pending > maxChanges {
		p.forget(a)
	}
	p.queue(a)
}

// forget gives a room's changes up: it is written anew. Called with mu held.
func (p *presence) forget(a *attendance) {
	p.pending -= len(a.changes)
	a.changes, a.anew = nil, true
}

// queue has a room written. Called with mu held.
func (p *presence) queue(a *attendance) {
	if !a.queued && !a.underWay {
		a.queued = true
		p.ready = append(p.ready, a)
		p.more.Signal()
	}
}

// take waits for rooms to write: several that have changes, or one that is to
// be written anew; none when it is over.
func (p *presence) take() (list []*attendance, anew bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.ready) == 0 {
		if p.closed && (p.given || p.idle()) {
			return nil, false
		}
		p.more.Wait()
	}
	anew = p.ready[0].anew
	for len(list) < attendRooms && len(p.ready) > 0 && p.ready[0].anew == anew {
		a := p.ready[0]
		a.queued, a.underWay = false, true
		list = append(list, a)
		p.ready[0] = nil
		p.ready = p.ready[1:]
		if anew {
			a.anew = false // what changes from here on is noted
			break
		}
	}
	if len(p.ready) == 0 {
		p.ready = nil
	}
	return list, anew
}

// idle reports whether there is nothing to be written. Called with mu held.
func (p *presence) idle() bool {
	for _, a := range p.rooms {
		if a.queued || a.underWay {
			return false
		}
	}
	return true
}

// finish ends a worker's turn with a room. Called with mu held.
func (p *presence) finish(a *attendance) {
	a.underWay = false
	if len(a.changes) > 0 || a.anew {
		p.queue(a)
		return
	}
	a.changes = nil
	if a.settled != nil {
		close(a.settled)
		a.settled = nil
	}
	if a.members == 0 {
		delete(p.rooms, a.room)
	}
	if p.closed {
		p.more.Broadcast() // to those who wait for the end
	}
}

// settled waits until what has been noted of a room is written, so that who has
// just come finds itself there. Where it never rests, what is a moment old
// will do.
func (p *presence) settled(ctx context.Context, room string) {
	p.mu.Lock()
	a := p.rooms[room]
	if a == nil || !a.queued && !a.underWay {
		p.mu.Unlock()
		return
	}
	if a.settled == nil {
		a.settled = make(chan struct{})
	}
	settled := a.settled
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	select {
	case <-settled:
	case <-ctx.Done():
	}
}

func (p *presence) count() (rooms, pending int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.rooms), p.pending
}

// close notes nothing more and waits until all is written, or ctx ends.
func (p *presence) close(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.given = true
		p.more.Broadcast()
	})
	defer stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.more.Broadcast()
	for !p.given && !p.idle() {
		p.more.Wait()
	}
}
