package redis

import (
	"slices"
	"sync"
	"time"

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
	queued   bool        // for a sync, or for the time when it may be tried again
	syncing  bool
	again    bool // a sync is wanted after the one that runs
	waiting  []string
	covered  int // of those, that came before the sync's last look at Redis
	bytes    int
	overflow bool   // more came than waits
	heard    uint64 // a message that was published, and that Redis did not have at a look
	retries  int    // syncs in a row that left a gap or failed
	used     int64  // when something was published, Unix seconds
}

const (
	maxWaiting      = 256
	maxWaitingBytes = 256 << 10
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
		l.relay.rooms.warn(l.room.Name(), "a payload cannot be read", zap.Error(err))
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
	l.hand(b, fresh)
}

// hand delivers what is new of a batch. Called with mu held.
func (l *link) hand(b batch, fresh []*schema.Message) {
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
