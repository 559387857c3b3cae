package redis

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/internal/backoff"
	"github.com/hubbub-chat/hubbub/schema"
)

const (
	syncEntries = 256 // of one look into the stream

	// What the store is asked for to fill a gap; a larger one is a reset.
	fillMessages = 1000
	fillBytes    = 4 << 20
	fillTime     = 2 * time.Second
)

// A sync that Redis alone can serve runs on one of few workers. One that has
// to ask the store goes on among others, of which there are more: a store that
// hangs holds up the rooms that need it, and no room that does not.
const (
	syncers     = 8
	slowSyncers = 16
)

// syncAll is a sync worker.
func (r *Relay) syncAll(queue *queue[*link], slow bool) {
	for {
		list := queue.take(1)
		if len(list) == 0 {
			return
		}
		list[0].synchronise(slow)
	}
}

// synchronise brings the room to where Redis says that it stands. What cannot
// be done without the store is left to a slow worker.
func (l *link) synchronise(slow bool) {
	if !slow {
		l.mu.Lock()
		l.queued, l.syncing, l.again, l.overflow = false, true, false, false
		l.mu.Unlock()
		l.relay.stats.syncs.Add(1)
	}
	err := l.catchUp(slow)
	if errors.Is(err, errAskStore) && l.relay.slowSyncs.put(l) {
		return
	}
	l.synchronised(err)
}

var (
	errAskStore = errors.New("the store has to be asked")
	errNoReset  = errors.New("the epoch of a room cannot be renewed")
)

// catchUp takes steps until the room is where Redis says. It returns
// errAskStore when it may not ask the store and would have to.
func (l *link) catchUp(slow bool) error {
	const attempts = 3 // at a reset; the first does, unless others renew the epoch too
	for resets := 0; resets < attempts; {
		g, more, err := l.step(slow)
		switch {
		case err != nil:
			return err
		case g != nil && !slow:
			return errAskStore
		case g != nil:
			filled, err := l.fill(g)
			if err != nil {
				return err
			}
			if !filled {
				resets++
			}
		case !more:
			return nil
		}
		if err := l.relay.ctx.Err(); err != nil {
			return err
		}
	}
	return errNoReset
}

// synchronised ends a sync: payloads that came meanwhile are delivered, or show
// the next gap. A sync that failed, or left a gap, is tried again at a pace.
func (l *link) synchronised(err error) {
	if err != nil {
		l.unsynchronised(err)
		return
	}
	l.mu.Lock()
	done := l.done
	l.done, l.gap = nil, false
	waiting, covered := l.waiting, l.covered
	l.waiting, l.covered, l.bytes = nil, 0, 0
	for i, payload := range waiting {
		switch {
		case l.gap:
			l.wait(payload)
		case i < covered:
			l.applyCovered(payload)
		default:
			l.apply(payload)
		}
	}
	l.syncing = false // from here on a sync that is wanted is queued
	switch {
	case l.gap:
		l.retry()
	case l.again || l.overflow:
		l.retries = 0
		l.wantSync()
	default:
		l.retries = 0
	}
	l.mu.Unlock()
	if done != nil {
		done(nil)
	}
}

// unsynchronised ends a sync that has failed.
func (l *link) unsynchronised(err error) {
	hears := l.relay.feeds.hears(l)
	l.mu.Lock()
	l.syncing = false
	opening := l.done != nil
	// Without its feed it is tried again when that is back.
	retry := !opening && l.relay.ctx.Err() == nil && (hears || l.again)
	if retry {
		l.retry()
	}
	l.mu.Unlock()
	switch {
	case opening:
		l.failed(err)
	case retry && !l.relay.refusedBy(err):
		l.relay.rooms.warn(l.room.Name(), "a room cannot be brought up to date", zap.Error(err))
	}
}

// retry queues a sync for later. Whatever asks for one until then has it.
// Called with mu held.
func (l *link) retry() {
	l.retries++
	l.queued = true
	time.AfterFunc(backoff.Wait(l.retries), func() { l.relay.syncs.put(l) })
}

// applyCovered delivers what of a payload is new that came before the last look
// at Redis. After that the room stands where it stood in Redis: a payload of
// another epoch belongs to a history that is gone, and one of this epoch that
// does not link to something that Redis has lost since. (Rejected: to take such
// a payload for a gap like any other. The next look says the same, and so on
// for ever.) Called with mu held.
func (l *link) applyCovered(payload string) {
	if payload == "" {
		return
	}
	switch payload[0] {
	case eventKind:
		l.event(payload)
	case batchKind:
		epoch, last := l.room.End()
		b, err := parseBatch(l.room.Name(), payload)
		if err != nil || b.epoch != epoch {
			return
		}
		fresh := after(b.messages, last)
		switch {
		case len(fresh) == 0:
		case fresh[0].Prev == last:
			l.hand(b, fresh)
		default: // the next look tells Redis, which renews the epoch
			l.heard = fresh[len(fresh)-1].Offset
			l.missed("")
		}
	}
}

// gap is a part of a room's history that the stream does not have.
type gap struct {
	epoch    string
	from, to uint64 // the last offset before it, and the last in it
}

// step asks where the room stands and takes the room there, or on the way. It
// returns a gap that the stream does not fill, or whether there is more to do.
// While it may not ask the store it returns errAskStore for a room that Redis
// does not know.
func (l *link) step(mayAsk bool) (g *gap, more bool, err error) {
	r, room := l.relay, l.room.Name()
	epoch, known := l.room.End()
	l.mu.Lock()
	l.covered = len(l.waiting)
	given := max(r.outbox.highest(room), l.heard)
	l.mu.Unlock()
	s, err := r.lookAt(room, epoch, known, given, unasked)
	if isCold(err) {
		if !mayAsk {
			return nil, false, errAskStore
		}
		s, err = r.lookAt(room, epoch, known, given, decimal(r.floor(room)))
	}
	if err != nil {
		return nil, false, err
	}
	r.rescueAll(room, s.marks)
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.epoch != epoch {
		l.reset(epoch, s)
		return nil, false, nil
	}
	list := r.readEntries(room, s.entries)
	linked := l.deliver(list)
	_, last := l.room.End()
	switch {
	case !linked:
		return &gap{epoch, last, after(list, last)[0].Prev}, true, nil
	case len(s.entries) == syncEntries && last > known:
		return nil, true, nil
	case s.last > last: // the newest entries are gone
		return &gap{epoch, last, s.last}, true, nil
	}
	return nil, false, nil
}

// reset takes the room to another history, or to its first one here. Called
// with mu held.
func (l *link) reset(epoch string, s standing) {
	r := l.relay
	l.heard = 0
	_, known := l.room.End()
	snapshot := l.snapshot(s)
	if epoch == "" {
		l.room.Fill(snapshot)
		return
	}
	r.stats.resets.Add(1)
	r.presence.look()                               // perhaps Redis has lost more than this
	if s.epoch[:epochLen/2] != epoch[:epochLen/2] { // else it is a heal: all is stored
		if known > 0 { // else the room began while Redis took no writes
			r.rooms.info(l.room.Name(), "Redis has lost something of a room, or has what cannot be read: members load it anew")
		}
		r.keep(l.room)
		r.cfg.Log.Heal(l.room.Name(), s.epoch)
	}
	l.room.Reset(snapshot)
}

// deliver delivers what links with the room's last message, and returns false
// when something does not. Called with mu held.
func (l *link) deliver(list []*schema.Message) bool {
	_, last := l.room.End()
	list = after(list, last)
	n := 0
	for n < len(list) && list[n].Prev == last {
		last = list[n].Offset
		n++
	}
	if n > 0 {
		l.room.Deliver(list[:n])
	}
	return n == len(list)
}

// fill fills a gap from the store, without holding up what else the room's
// dispatcher has to do. If the store has not got everything either, or does not
// answer, the room gets another epoch: members are to load its history, and
// again when the store is complete.
func (l *link) fill(g *gap) (filled bool, err error) {
	r, room := l.relay, l.room.Name()
	ctx, cancel := context.WithTimeout(r.ctx, fillTime)
	stored, err := r.cfg.Store.After(ctx, room, g.from, g.to, fillMessages, fillBytes)
	cancel()
	if err == nil && linked(stored, g.from, g.to) && l.deliverIn(g.epoch, stored) {
		return true, nil
	}
	if r.ctx.Err() != nil {
		return false, r.ctx.Err()
	}
	r.stats.unfilled.Add(1)
	r.rooms.warn(room, "a gap that neither the stream nor the store fills: members load the room anew",
		zap.Uint64("after", g.from), zap.Uint64("up_to", g.to), zap.Error(err))
	return false, r.renew(room, g.epoch)
}

// deliverIn delivers what was read without the lock, if the room still is where
// it links.
func (l *link) deliverIn(epoch string, list []*schema.Message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, _ := l.room.End()
	return now == epoch && l.deliver(list)
}

// linked reports whether a list leads from one offset to another.
func linked(list []*schema.Message, from, to uint64) bool {
	for _, m := range list {
		if m.Prev != from {
			return false
		}
		from = m.Offset
	}
	return from == to
}

// snapshot is where the room stands, by entries that are the newest, newest
// first.
func (l *link) snapshot(s standing) fanout.Snapshot {
	snapshot := fanout.Snapshot{Epoch: s.epoch, Last: s.last}
	slices.Reverse(s.entries)
	list := l.relay.readEntries(l.room.Name(), s.entries)
	if len(list) == 0 || list[len(list)-1].Offset != s.last {
		return snapshot // the store has it
	}
	first := len(list) - 1
	for first > 0 && list[first].Prev == list[first-1].Offset {
		first--
	}
	snapshot.Newest = list[first:]
	return snapshot
}
