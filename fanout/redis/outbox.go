package redis

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// outbox is what this node has to mint, by room, and what it has minted and
// the Log has not confirmed.
//
// A room has one batch under way at most: what a connection sends keeps its
// order however many workers there are, and under load many messages share a
// call. Rooms that have something wait in ready, in turn.
type outbox struct {
	interval time.Duration // between two messages of a room at its rate, 0 for no limit; immutable

	mu       sync.Mutex
	more     *sync.Cond // something is ready, or it is over
	rooms    map[string]*sender
	ready    []*sender
	queued   int                  // messages in queues or under way
	open     int                  // messages minted and not confirmed
	confirms map[*sender]struct{} // whose confirmations Redis has yet to hear of
	resting  map[*sender]struct{} // empty, but too busy to be forgotten
	closed   bool                 // nothing more is accepted
	given    bool                 // nor waited for
}

// sender is one room's part of the outbox, guarded by its mu.
type sender struct {
	room      string
	queue     []entry
	underWay  bool
	floor     int64    // the last offset that the store has, -1 when nobody has looked
	open      []uint64 // minted and not confirmed, ascending
	confirmed uint64   // the highest that is
	untold    uint64   // the lowest that is and Redis has not heard of, 0 for none
	highest   uint64   // of all that were minted
	before    uint64   // highest when the batch under way was taken

	// When the messages accepted so far would all have been sent at the room's
	// rate (GCRA's theoretical arrival time).
	spent time.Time
}

// entry is a message on its way.
type entry struct {
	message *schema.Message
	done    func(error)
	counter uint64
	at      time.Time // when it was accepted
}

// parcel is what one call mints.
type parcel struct {
	sender  *sender
	entries []entry
	floor   int64
	oldest  uint64 // unconfirmed of this boot in the room, 0 for none
	highest uint64 // that this boot has got in the room
}

const (
	parcelEntries = 128
	parcelBytes   = 256 << 10
	pipelineCalls = 64

	// A pipeline of 4,096 messages made Redis answer after more than a second,
	// where one of half that took some milliseconds.
	pipelineEntries = 1024
	pipelineBytes   = 1 << 20
	roomQueue       = 1024 // messages of a room that may wait
	retryAfter      = 50 * time.Millisecond
	burst           = time.Second // of a room's rate that may come at once
)

func newOutbox(rate int) *outbox {
	o := &outbox{rooms: make(map[string]*sender), confirms: make(map[*sender]struct{}), resting: make(map[*sender]struct{})}
	if rate > 0 {
		o.interval = time.Second / time.Duration(rate)
	}
	o.more = sync.NewCond(&o.mu)
	return o
}

// room returns a room's sender. Called with mu held.
func (o *outbox) room(name string) *sender {
	s := o.rooms[name]
	if s == nil {
		s = &sender{room: name, floor: -1}
		o.rooms[name] = s
	}
	return s
}

// add accepts an entry, or returns false when too many wait or the room is too
// busy.
func (o *outbox) add(e entry) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.room(e.message.Room)
	if o.closed || len(s.queue) >= roomQueue {
		return false
	}
	if o.interval > 0 {
		if s.spent.Before(e.at) {
			s.spent = e.at
		}
		if s.spent.Sub(e.at) > burst {
			return false
		}
		s.spent = s.spent.Add(o.interval)
	}
	s.queue = append(s.queue, e)
	o.queued++
	if !s.underWay && len(s.queue) == 1 {
		o.ready = append(o.ready, s)
		o.more.Signal()
	}
	return true
}

// take waits for rooms that are ready. It returns none when it is over.
func (o *outbox) take() (parcels []parcel) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.ready) == 0 {
		if o.closed && (o.queued == 0 || o.given) {
			return nil
		}
		o.more.Wait()
	}
	n, messages, total := 0, 0, 0
	for n < len(o.ready) && n < pipelineCalls && messages < pipelineEntries && total < pipelineBytes {
		p, bytes := o.parcel(o.ready[n])
		parcels = append(parcels, p)
		messages, total = messages+len(p.entries), total+bytes
		n++
	}
	clear(o.ready[:n])
	if o.ready = o.ready[n:]; len(o.ready) == 0 {
		o.ready = nil
	}
	return parcels
}

// parcel takes a room's next batch, and says how large it is. Called with mu
// held.
func (o *outbox) parcel(s *sender) (p parcel, bytes int) {
	s.underWay, s.before = true, s.highest
	i := 0
	for i < len(s.queue) && i < parcelEntries && (i == 0 || bytes < parcelBytes) {
		bytes += s.queue[i].message.Size()
		i++
	}
	p = parcel{sender: s, entries: slices.Clone(s.queue[:i]), floor: s.floor, highest: s.highest}
	if s.queue = s.queue[i:]; len(s.queue) == 0 {
		s.queue = nil
	}
	if len(s.open) > 0 {
		p.oldest = s.open[0]
	}
	return p, bytes
}

// finish lets the room's next batch go. The entries of this one have been
// dealt with, but for those that are to be tried again.
func (o *outbox) finish(p parcel, again []entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := p.sender
	s.underWay = false
	o.queued -= len(p.entries) - len(again)
	if len(again) > 0 {
		s.queue = append(again, s.queue...)
	}
	if len(s.queue) > 0 {
		o.ready = append(o.ready, s)
	}
	o.drop(s)
	o.more.Broadcast() // to those who wait for the end, too
}

// drop forgets a room that has nothing in it. Called with mu held.
func (o *outbox) drop(s *sender) {
	if _, confirms := o.confirms[s]; s.underWay || len(s.queue) > 0 || len(s.open) > 0 || confirms {
		return
	}
	if time.Until(s.spent) > 0 {
		o.resting[s] = struct{}{} // or its burst would be given to it anew
		return
	}
	delete(o.rooms, s.room)
}

// dropRested forgets rooms whose burst is paid for.
func (o *outbox) dropRested() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for s := range o.resting {
		if time.Until(s.spent) <= 0 {
			delete(o.resting, s)
			o.drop(s)
		}
	}
}

// mint notes offsets that a room got from this node.
func (o *outbox) minted(s *sender, offsets ...uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.open = append(s.open, offsets...)
	slices.Sort(s.open) // they are, but for one whose outcome was unknown for a time
	if len(s.open) > 0 {
		s.highest = max(s.highest, s.open[len(s.open)-1])
	}
	o.open += len(offsets)
}

// adopt notes an offset of a message whose outcome was unknown.
func (o *outbox) adopt(room string, offset uint64) *sender {
	o.mu.Lock()
	s := o.room(room)
	o.mu.Unlock()
	o.minted(s, offset)
	return s
}

// confirm notes that a message is durable.
func (o *outbox) confirm(s *sender, offset uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i, ok := slices.BinarySearch(s.open, offset); ok {
		s.open = slices.Delete(s.open, i, i+1)
		o.open--
	}
	s.confirmed = max(s.confirmed, offset)
	o.owe(s, offset)
}

// owe notes that Redis has yet to hear that an offset is durable. Called with
// mu held.
func (o *outbox) owe(s *sender, offset uint64) {
	if s.untold == 0 || offset < s.untold {
		s.untold = offset
	}
	o.confirms[s] = struct{}{}
}

// highest is the highest offset that this boot got in a room, 0 when it is
// forgotten: then Redis was told that it is confirmed.
func (o *outbox) highest(room string) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.rooms[room]; s != nil {
		return s.highest
	}
	return 0
}

// some returns rooms that are published to at the moment, at most so many.
func (o *outbox) some(most int) (rooms []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for room := range o.rooms {
		if len(rooms) == most {
			break
		}
		rooms = append(rooms, room)
	}
	return rooms
}

// known is the highest offset up to which all that the room got from this boot
// are noted here: what a batch under way gets lies above. Called with the
// outbox's mu held.
func (s *sender) known() uint64 {
	if s.underWay {
		return s.before
	}
	return s.highest
}

func (o *outbox) count() (queued, open int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queued, o.open
}

// close accepts nothing more and waits until everything is minted or ctx ends.
func (o *outbox) close(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.given = true
		o.more.Broadcast()
	})
	defer stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.more.Broadcast()
	for o.queued > 0 && !o.given {
		o.more.Wait()
	}
}

// Publish accepts a message, or refuses it for now. done is called when the
// message is durable, with its Offset set, or with what kept it from that; a
// message that is there already, by its key, ends with a fanout.Duplicate.
func (r *Relay) Publish(m *schema.Message, done func(error)) error {
	if err := r.hub.Admit(m.Room); err != nil {
		return err
	}
	if err := r.admit(m.Room); err != nil {
		r.stats.refused.Add(1)
		return err
	}
	if err := r.cfg.Log.Reserve(m); err != nil {
		return err // the log counts it, by its reason
	}
	if !r.outbox.add(entry{m, done, r.counter.Add(1), time.Now()}) {
		r.cfg.Log.Release(m)
		r.stats.refused.Add(1)
		return ErrUnavailable
	}
	return nil
}
