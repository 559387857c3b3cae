package redis

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/fanout"
)

// mintAll is a minting worker.
func (r *Relay) mintAll() {
	for {
		parcels := r.outbox.take()
		if parcels == nil {
			return
		}
		now := decimal(time.Now().UnixMilli())
		calls := make([]call, len(parcels))
		for i, p := range parcels {
			calls[i] = r.mintCall(p, now)
		}
		for i, result := range run(context.Background(), r.client, calls) {
			r.minted(parcels[i], result)
		}
	}
}

func (r *Relay) mintCall(p parcel, now string) call {
	r.calls.Add(1)
	state := r.keys.state(p.sender.room)
	// What it has minted the node may not have heard of yet, and never will if
	// Redis was lost right after.
	epoch, known := r.feeds.known(p.sender.room)
	known = max(known, p.highest)
	keys := append(make([]string, 0, 3), state, stream(state))
	args := append(make([]string, 0, 10+3*len(p.entries)),
		r.boot, now, decimal(known), decimal(p.floor), newEpoch(), decimal(p.oldest),
		decimal(r.cfg.Keep), decimal(r.cfg.KeepTime.Milliseconds()), decimal(r.cfg.Idle.Milliseconds()), epoch)
	var b []byte
	for _, e := range p.entries {
		b = appendBody(b[:0], sent{r.boot, e.counter}, e.message)
		key, hash := "0", ""
		if e.message.Key != "" {
			id, payload := fanout.Identify(e.message)
			keys = append(keys, idempotency(state, id))
			key, hash = decimal(len(keys)), string(binary.BigEndian.AppendUint64(nil, payload))
		}
		args = append(args, string(b), key, hash)
	}
	return call{mintScript, keys, args}
}

// minted takes the answer to a call.
func (r *Relay) minted(p parcel, result rueidis.RedisResult) {
	reply, err := result.ToString()
	if err == nil && len(reply) != epochLen+17*len(p.entries) {
		err = errMalformed // somebody else has the script's name; it cannot be known what happened
	}
	if err == nil {
		r.place(p, reply[epochLen:])
		r.outbox.finish(p, nil)
		return
	}
	answer, answered := answerOf(err)
	switch {
	case answer.code == "COLD":
		r.aside(p, func() { r.warm(p) })
	case answer.again || !answered && neverSent(err):
		if answer.code == "CLOCK" {
			r.heartbeat.look() // whether it is the clocks, or a call that took long
		}
		r.retry(p)
	case answer.before:
		r.refuse(p.entries)
		r.outbox.finish(p, nil)
	default:
		// There was no answer, or the script may have failed with its work half
		// done.
		if !r.refusedBy(err) {
			r.rooms.warn(p.sender.room, "Redis fails to order messages", zap.Error(err))
		}
		r.aside(p, func() { r.lookUp(p, answered) })
	}
}

// place hands messages to the log, now that they have their places: 17 bytes
// each, as mint.lua returns them.
func (r *Relay) place(p parcel, places string) {
	s := p.sender
	var fresh []uint64
	for i, e := range p.entries {
		d := decoder{rest: places[17*i+1 : 17*i+17]}
		e.message.Offset, e.message.Prev = d.fixed(8), d.fixed(8)
		if places[17*i] == 0 {
			fresh = append(fresh, e.message.Offset)
		}
	}
	r.outbox.minted(s, fresh...)
	r.stats.minted.Add(uint64(len(fresh)))
	for i, e := range p.entries {
		m, done := e.message, e.done
		switch places[17*i] {
		case 0:
			r.cfg.Log.Produce(m, func(err error) {
				if err == nil {
					r.outbox.confirm(s, m.Offset)
				}
				done(err)
			})
		case 1:
			// The one before may have been minted by a node that died since:
			// it is stored again, which changes nothing if it was.
			r.stats.duplicates.Add(1)
			r.cfg.Log.Produce(m, func(err error) {
				if err == nil {
					err = fanout.Duplicate{Offset: m.Offset}
				}
				done(err)
			})
		default:
			r.cfg.Log.Release(m)
			done(fanout.ErrKeyReused)
		}
	}
}

// refuse answers messages that were certainly not minted.
func (r *Relay) refuse(entries []entry) {
	for _, e := range entries {
		r.cfg.Log.Release(e.message)
		r.stats.refused.Add(1)
		e.done(errRefused)
	}
}

// retry tries entries again soon, those that have waited long enough not.
func (r *Relay) retry(p parcel) {
	var again []entry
	for _, e := range p.entries {
		if time.Since(e.at) < r.cfg.Patience {
			again = append(again, e)
		}
	}
	// Those are the older ones: order is kept.
	r.refuse(p.entries[:len(p.entries)-len(again)])
	if len(again) == 0 {
		r.outbox.finish(p, nil)
		return
	}
	time.AfterFunc(retryAfter, func() { r.outbox.finish(p, again) })
}

// aside does what would keep a minting worker waiting.
func (r *Relay) aside(p parcel, f func()) {
	select {
	case r.asides <- struct{}{}:
		r.wg.Go(func() { // ends by its own time-outs
			defer func() { <-r.asides }()
			f()
		})
	default:
		r.retryOrMaybe(p)
	}
}

// retryOrMaybe is for when too much is unclear already.
func (r *Relay) retryOrMaybe(p parcel) {
	for _, e := range p.entries {
		r.maybe(e)
	}
	r.outbox.finish(p, nil)
}

// warm asks the store for a room's last offset, which Redis does not have.
func (r *Relay) warm(p parcel) {
	floor := r.floor(p.sender.room)
	r.outbox.mu.Lock()
	p.sender.floor = int64(floor)
	r.outbox.mu.Unlock()
	r.outbox.finish(p, p.entries)
}

// unknownFloor is a floor for when the store does not answer. Sending goes on,
// since new offsets are above any old one by the clock; but what is minted next
// does not claim to be the room's first message, which prev 0 would.
const unknownFloor = 1

// floor is the last offset that the store has.
func (r *Relay) floor(room string) uint64 {
	ctx, cancel := context.WithTimeout(r.ctx, time.Second)
	defer cancel()
	last, err := r.cfg.Store.Last(ctx, room)
	if err != nil {
		r.rooms.warn(room, "a room begins without what the store has of it", zap.Error(err))
		return unknownFloor
	}
	return last
}
