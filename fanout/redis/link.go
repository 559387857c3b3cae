package redis

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
)

// link keeps a room that is in memory here linked with what all nodes publish
// there. It delivers what fits: the room's epoch, and prev the last offset
// delivered. What does not fit is a gap; from then on payloads wait in a small
// buffer until a sync has filled it from the stream or the store, or has reset
// the room. Members only ever see linked messages.
//
// A sync also runs at each confirmation of the subscription (what came before
// it was not heard), and every now and then for rooms in use: a lost payload
// is noticed by the next one, but the last one has no next.
type link struct {
	// immutable
	relay   *Relay
	room    *fanout.Room
	channel string
	slot    uint16

	feed *feed // guarded by feeds.mu

	// guarded by mu, which is also held to deliver
	mu       sync.Mutex
	done     func(error) // of Open, until it is answered
	gap      bool        // payloads wait for a sync
	queued   bool        // for a sync
	syncing  bool
	again    bool // a sync is wanted after the one that runs
	waiting  []string
	bytes    int
	overflow bool  // more came than waits
	used     int64 // when something was published, Unix seconds
}

const (
	maxWaiting      = 256
	maxWaitingBytes = 256 << 10
	syncEntries     = 256 // of one look into the stream
)

// sync asks for a look at where the room stands.
func (l *link) sync() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wantSync()
}

// wantSync is sync with mu held.
func (l *link) wantSync() {
	switch {
	case l.syncing:
		l.again = true
	case !l.queued:
		l.queued = true
		l.relay.syncs.put(l)
	}
}

// failed answers Open when the room cannot be listened to. A room that was
// opened before stays as it is, until its feed is back.
func (l *link) failed(err error) {
	l.mu.Lock()
	done := l.done
	l.done = nil
	l.mu.Unlock()
	if done != nil {
		l.relay.feeds.forget(l)
		done(err)
	}
}

// receive takes a payload. Only the feed's dispatcher calls it.
func (l *link) receive(payload string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = time.Now().Unix()
	if l.done == nil && !l.gap {
		l.apply(payload)
	} else {
		l.wait(payload)
	}
}

// wait keeps a payload for after the sync. The stream has what there is no
// room for, but for events, which nobody keeps. Called with mu held.
func (l *link) wait(payload string) {
	if len(l.waiting) >= maxWaiting || l.bytes+len(payload) > maxWaitingBytes {
		l.overflow = true
		return
	}
	l.waiting = append(l.waiting, payload)
	l.bytes += len(payload)
}

// apply delivers a payload, or what of it is new, or finds a gap. Called with
// mu held.
func (l *link) apply(payload string) {
	if payload == "" {
		return
	}
	epoch, last := l.room.End()
	switch payload[0] {
	case eventKind, newsKind:
		l.event(payload)
		return
	case epochKind:
		if payload[1:min(len(payload), 1+epochLen)] != epoch {
			l.missed(payload)
		}
		return
	case batchKind:
	default:
		return // of a newer version
	}
	b, err := parseBatch(l.room.Name(), payload)
	if err != nil {
		l.relay.log.Error("a payload cannot be read", zap.Error(err))
		l.missed("")
		return
	}
	if b.epoch != epoch {
		l.missed(payload)
		return
	}
	fresh := after(b.messages, last)
	if len(fresh) == 0 {
		return // a sync was faster
	}
	if fresh[0].Prev != last {
		l.missed(payload)
		return
	}
	l.room.Deliver(fresh)
	for i, by := range b.by {
		l.relay.seen(by, b.messages[i])
	}
}

// missed notes a gap; the payload that showed it waits. Called with mu held.
func (l *link) missed(payload string) {
	l.gap = true
	l.relay.stats.gaps.Add(1)
	if payload != "" {
		l.wait(payload)
	}
	l.wantSync()
}

func (l *link) event(payload string) {
	if _, err := event(payload, schema.JSON); err != nil {
		return
	}
	deliver := l.relay.hub.Event
	if payload[0] == newsKind {
		deliver = l.relay.hub.Announce
	}
	deliver(l.room.Name(), func(b []byte, c schema.Codec) []byte {
		push, _ := event(payload, c) // checked above
		return append(b, push...)
	})
}

// after is the part of a list behind an offset.
func after(list []*schema.Message, offset uint64) []*schema.Message {
	i, _ := slices.BinarySearchFunc(list, offset+1, func(m *schema.Message, o uint64) int {
		switch {
		case m.Offset < o:
			return -1
		case m.Offset > o:
			return 1
		}
		return 0
	})
	return list[i:]
}

// syncAll is a sync worker.
func (r *Relay) syncAll() {
	for {
		list := r.syncs.take(1)
		if len(list) == 0 {
			return
		}
		list[0].synchronise()
	}
}

// synchronise brings the room to where Redis says that it stands.
func (l *link) synchronise() {
	l.mu.Lock()
	l.queued, l.syncing, l.again, l.overflow = false, true, false, false
	l.mu.Unlock()
	r := l.relay
	r.stats.syncs.Add(1)
	more, err := true, error(nil)
	for more && err == nil && r.ctx.Err() == nil {
		more, err = l.step()
	}
	l.mu.Lock()
	l.syncing = false
	if err != nil {
		opening := l.done != nil
		l.mu.Unlock()
		if opening {
			l.failed(err)
		} else if r.feeds.hears(l) { // else it comes back with the feed
			if !r.refusedBy(err) {
				r.log.Warn("a room cannot be brought up to date", zap.Error(err))
			}
			time.AfterFunc(time.Second/2+rand.N(time.Second), l.sync)
		}
		return
	}
	done := l.done
	l.done, l.gap = nil, false
	waiting := l.waiting
	l.waiting, l.bytes = nil, 0
	for _, payload := range waiting {
		if l.gap {
			l.wait(payload)
		} else {
			l.apply(payload)
		}
	}
	if l.again || l.overflow {
		l.wantSync()
	}
	l.mu.Unlock()
	if done != nil {
		done(nil)
	}
}

// mark says what of a boot may not be durable yet.
type mark struct {
	oldest uint64 // unconfirmed offset
	newest uint64 // that the boot got in the room
}

// standing is what sync.lua says.
type standing struct {
	epoch   string
	last    uint64
	entries []rueidis.XRangeEntry
	marks   map[string]mark // by boot
}

// step asks where the room stands and takes the room there, or on the way. It
// returns whether there is more to do.
func (l *link) step() (more bool, err error) {
	epoch, known := l.room.End()
	s, err := l.relay.standing(l.room.Name(), epoch, known)
	if err != nil {
		return false, err
	}
	l.relay.rescueAll(l.room.Name(), s.marks)
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.epoch != epoch {
		snapshot := l.snapshot(s)
		if epoch == "" {
			l.room.Fill(snapshot)
		} else {
			l.relay.stats.resets.Add(1)
			l.relay.presence.look()                         // perhaps Redis has lost more than this
			if s.epoch[:epochLen/2] != epoch[:epochLen/2] { // else it is a heal: all is stored
				l.relay.keep(l.room)
				l.relay.cfg.Log.Heal(l.room.Name(), s.epoch)
			}
			l.room.Reset(snapshot)
		}
		return false, nil
	}
	list, err := parseEntries(l.room.Name(), s.entries)
	if err != nil {
		return false, err
	}
	if len(after(list, known)) == 0 && s.last > known || !l.deliver(list) {
		return true, l.bridge(epoch, list)
	}
	return len(s.entries) == syncEntries, nil
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

// bridge fills a gap that the stream cannot, from the store. If that has not
// got everything either, the room gets another epoch: members are to load its
// history, and again when the store is complete. Called with mu held.
func (l *link) bridge(epoch string, list []*schema.Message) error {
	_, last := l.room.End()
	if rest := after(list, last); len(rest) > 0 {
		ctx, cancel := context.WithTimeout(l.relay.ctx, 2*time.Second)
		defer cancel()
		stored, err := l.relay.cfg.Store.After(ctx, l.room.Name(), last, rest[0].Prev, 1000, 4<<20)
		if err == nil && linked(stored, last, rest[0].Prev) && l.deliver(stored) && l.deliver(list) {
			return nil
		}
	}
	return l.relay.renew(l.room.Name(), epoch)
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
	list, err := parseEntries(l.room.Name(), s.entries)
	if err != nil || len(list) == 0 || list[len(list)-1].Offset != s.last {
		return snapshot // the store has it
	}
	first := len(list) - 1
	for first > 0 && list[first].Prev == list[first-1].Offset {
		first--
	}
	snapshot.Newest = list[first:]
	return snapshot
}
