package redis

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// maybes are messages of which nobody knows whether they were minted: the
// connection broke before the answer. Their senders have been told so. Should
// one turn up, in a room's feed or its stream, it has been seen, and is
// produced like any other.
type maybes struct {
	some atomic.Bool // there are any; almost always there are none

	mu       sync.Mutex
	messages map[sent]maybe
}

type maybe struct {
	message *schema.Message
	until   time.Time
}

const (
	maxMaybes = 1 << 16
	maybeAge  = 2 * time.Minute
	lookBack  = 2000 // entries of a stream, newest first
)

// rooms are those of the messages; nil, almost always.
func (m *maybes) rooms() map[string]struct{} {
	if !m.some.Load() {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	rooms := make(map[string]struct{})
	for _, one := range m.messages {
		rooms[one.message.Room] = struct{}{}
	}
	return rooms
}

// lookUp finds out from the stream what became of a batch. When the call is
// known to have ended, what is not there never will be.
func (r *Relay) lookUp(p parcel, ended bool) {
	deadline := time.Now().Add(r.cfg.Patience)
	for {
		found, since, err := r.ownEntries(p.sender.room)
		if err == nil {
			// The clocks differ by a second at most, or mint.lua would have refused.
			whole := since.Before(p.entries[0].at.Add(-2 * time.Second))
			r.resolve(p, found, ended && whole)
			return
		}
		if time.Now().After(deadline) {
			r.resolve(p, nil, false)
			return
		}
		time.Sleep(retryAfter)
	}
}

// resolve goes on with those of a batch that were minted. The others were
// certainly not, or nobody knows.
func (r *Relay) resolve(p parcel, found map[uint64]*schema.Message, certain bool) {
	for _, e := range p.entries {
		at := found[e.counter]
		if at == nil && certain {
			r.refuse([]entry{e})
			continue
		}
		if at == nil {
			r.maybe(e)
			continue
		}
		m, done := e.message, e.done
		m.Offset, m.Prev = at.Offset, at.Prev
		r.outbox.minted(p.sender, m.Offset)
		r.cfg.Log.Produce(m, func(err error) {
			if err == nil {
				r.outbox.confirm(p.sender, m.Offset)
			}
			done(err)
		})
	}
	r.outbox.finish(p, nil)
}

// ownEntries returns the newest entries of a stream that this boot has sent,
// by counter, and from when on they are all: the zero time when the stream has
// no others.
func (r *Relay) ownEntries(room string) (found map[uint64]*schema.Message, since time.Time, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state := r.keys.state(room)
	entries, err := r.client.Do(ctx, r.client.B().Xrevrange().Key(stream(state)).End("+").Start("-").Count(lookBack).Build()).AsXRange()
	if err != nil {
		return nil, since, err
	}
	found = make(map[uint64]*schema.Message)
	for i, e := range entries {
		m, by, err := parseEntry(room, e)
		if err == nil && by.boot == r.boot {
			found[by.counter] = m
		}
		if err == nil && i == lookBack-1 {
			since = schema.OffsetTime(m.Offset)
		}
	}
	return found, since, nil
}

// maybe tells a sender that nobody knows, and remembers the message.
func (r *Relay) maybe(e entry) {
	r.stats.maybe.Add(1)
	r.cfg.Log.Release(e.message)
	r.maybes.mu.Lock()
	if len(r.maybes.messages) < maxMaybes {
		m := *e.message // the sender's is no longer ours
		r.maybes.messages[sent{r.boot, e.counter}] = maybe{&m, time.Now().Add(maybeAge)}
		r.maybes.some.Store(true)
	}
	r.maybes.mu.Unlock()
	e.done(schema.ErrInternal.Because("nobody knows whether it was sent"))
}

// seen is told of every message that this node hears of.
func (r *Relay) seen(by sent, m *schema.Message) {
	if by.boot == r.boot && r.maybes.some.Load() {
		r.turnedUp(by, m)
	}
}

// turnedUp produces a message that was thought lost.
func (r *Relay) turnedUp(by sent, m *schema.Message) {
	r.maybes.mu.Lock()
	_, ok := r.maybes.messages[by]
	if !ok {
		r.maybes.mu.Unlock()
		return
	}
	s := r.outbox.adopt(m.Room, m.Offset) // before the room counts as sure again
	delete(r.maybes.messages, by)
	r.maybes.mu.Unlock()
	r.cfg.Log.Produce(m, func(err error) {
		if err == nil {
			r.outbox.confirm(s, m.Offset)
		}
	})
}

// sweepMaybes looks for those that may have turned up where nobody listens.
func (r *Relay) sweepMaybes() {
	rooms := r.maybes.rooms()
	now := time.Now()
	r.maybes.mu.Lock()
	for by, m := range r.maybes.messages {
		if now.After(m.until) {
			delete(r.maybes.messages, by) // after this last look
		}
	}
	r.maybes.some.Store(len(r.maybes.messages) > 0)
	r.maybes.mu.Unlock()
	for room := range rooms {
		found, _, err := r.ownEntries(room)
		if err != nil {
			return
		}
		for counter, m := range found {
			r.turnedUp(sent{r.boot, counter}, m)
		}
	}
}
