package redis

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
)

// heals is when rooms were healed.
type heals struct {
	mu sync.Mutex
	at map[string]time.Time
}

// rescues are the rooms where something is being done for a dead boot.
type rescues struct {
	mu    sync.Mutex
	under map[string]struct{}
}

// sweepAll looks at rooms that were published to lately: the last payload of
// a burst, when it is lost, has no next one that shows it. It also finds what
// dead nodes have left, so it looks for longer than their leases last.
func (r *Relay) sweepAll() {
	tick := time.NewTicker(r.cfg.Sweep)
	defer tick.Stop()
	for trusted := true; ; {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
		since := time.Now().Add(-r.cfg.Lease - 2*r.cfg.Sweep).Unix()
		if now := r.trusts(); now != trusted {
			if trusted = now; trusted {
				since = 0 // nobody has looked for what dead nodes have left
				r.presence.look()
			}
		}
		for _, l := range r.feeds.all() {
			l.mu.Lock()
			if l.used >= since {
				l.wantSync()
			}
			l.mu.Unlock()
		}
		r.sweepMaybes()
		r.sweepUnheard()
		r.heals.forget(time.Now())
	}
}

// sweepRooms is how many rooms that nobody here listens to are looked at in one
// sweep.
const sweepRooms = 64

// sweepUnheard looks for what dead nodes have left in rooms that this node
// publishes to and does not listen to: until it is produced the mark keeps the
// room's stream, all of it from there on.
func (r *Relay) sweepUnheard() {
	for _, room := range r.outbox.some(sweepRooms) {
		state := r.keys.state(room)
		if r.feeds.byChannel(state) != nil {
			continue // its syncs look
		}
		ctx, cancel := context.WithTimeout(r.ctx, silence)
		fields, err := r.client.Do(ctx, r.client.B().Hgetall().Key(state).Build()).AsStrMap()
		cancel()
		if err != nil {
			return
		}
		marks := make(map[string]mark)
		for field, value := range fields {
			if boot, ok := strings.CutPrefix(field, "o:"); ok {
				marks[boot] = parseMark(value)
			}
		}
		r.rescueAll(room, marks)
	}
}

func (h *heals) forget(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for room, at := range h.at {
		if now.Sub(at) >= healEvery {
			delete(h.at, room)
		}
	}
}

// rescueAll produces what boots that are dead have left unconfirmed.
func (r *Relay) rescueAll(room string, marks map[string]mark) {
	for boot, left := range marks {
		if boot == r.boot || !r.trusts() {
			continue
		}
		r.onceAside(boot+room, func() {
			if err := r.rescue(room, boot, left); err != nil && r.ctx.Err() == nil && !r.refusedBy(err) {
				r.rooms.warn(room, "messages of a dead node could not be produced yet", zap.String("boot", boot), zap.Error(err))
			}
		})
	}
}

// onceAside does something for a dead boot that is not being done already. If
// there is too much to do, the next look will find it.
func (r *Relay) onceAside(key string, f func()) {
	r.rescues.mu.Lock()
	_, under := r.rescues.under[key]
	if !under {
		r.rescues.under[key] = struct{}{}
	}
	r.rescues.mu.Unlock()
	if under {
		return
	}
	finished := func() {
		r.rescues.mu.Lock()
		delete(r.rescues.under, key)
		r.rescues.mu.Unlock()
	}
	select {
	case r.asides <- struct{}{}:
		r.wg.Go(func() { // ends with what is done, or with ctx
			defer func() { <-r.asides }()
			defer finished()
			f()
		})
	default:
		finished()
	}
}

// keep produces what members of a room have seen lately, when Redis has lost
// something: whoever minted it may have died, or not have heard that it did.
func (r *Relay) keep(room *fanout.Room) {
	since := time.Now().Add(-r.cfg.KeepTime)
	list, _ := room.Before(math.MaxUint64, math.MaxInt)
	for _, m := range list {
		if schema.OffsetTime(m.Offset).After(since) {
			r.stats.rescued.Add(1)
			r.cfg.Log.Produce(m, func(error) {}) // the log does not give up
		}
	}
}

// rescue produces what a dead boot has left.
func (r *Relay) rescue(room, boot string, left mark) error {
	alive, err := r.client.Do(r.ctx, r.client.B().Exists().Key(r.keys.lease(boot)).Build()).AsInt64()
	if err != nil || alive > 0 {
		return err
	}
	state := r.keys.state(room)
	highest := left.newest
	for start := decimal(left.oldest); ; {
		entries, err := r.client.Do(r.ctx, r.client.B().Xrange().Key(stream(state)).Start(start).End("+").Count(500).Build()).AsXRange()
		if err != nil {
			return err
		}
		var list []*schema.Message
		for _, e := range entries {
			start = behind(e)
			if m, by, err := parseEntry(room, e); err == nil && by.boot == boot {
				list, highest = append(list, m), max(highest, m.Offset)
			}
		}
		if err := r.produceAll(list); err != nil {
			return err
		}
		r.stats.rescued.Add(uint64(len(list)))
		if len(entries) < 500 {
			break
		}
	}
	return r.confirmCall(room, boot, confirmation{upTo: highest, newest: left.newest}).run(r.ctx, r.client).Error()
}

// produceAll produces messages and waits until they are durable.
func (r *Relay) produceAll(list []*schema.Message) error {
	done := make(chan error, len(list))
	for _, m := range list {
		r.cfg.Log.Produce(m, func(err error) { done <- err })
	}
	for range list {
		select {
		case err := <-done:
			if err != nil {
				return err
			}
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	}
	return nil
}
