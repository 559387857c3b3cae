package redis

import (
	"context"
	"time"
)

// confirmEvery is how long Redis may believe that a confirmed message is not.
// It costs a call for each room that was published to; a mark that is out of
// date does no harm but that, after a crash, more is produced again.
const confirmEvery = 250 * time.Millisecond

// confirmAll tells Redis what is confirmed, at a pace.
func (r *Relay) confirmAll() {
	tick := time.NewTicker(confirmEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
			r.tellConfirmed()
			r.outbox.dropRested()
		}
	}
}

// tellConfirmed moves the marks of the rooms where something was confirmed.
// Rooms with a message of which nobody knows wait: it may be below.
func (r *Relay) tellConfirmed() {
	o := r.outbox
	var senders []*sender
	var told []confirmation
	unsure := r.maybes.rooms()
	o.mu.Lock()
	for s := range o.confirms {
		if _, ok := unsure[s.room]; ok {
			continue
		}
		c := confirmation{upTo: s.confirmed, newest: s.known(), lowest: s.untold}
		if c.newest == s.highest {
			delete(o.confirms, s) // else the rest is told when the batch under way is back
		}
		if len(s.open) > 0 {
			c.oldest = s.open[0]
		}
		s.untold = 0
		senders, told = append(senders, s), append(told, c)
	}
	o.mu.Unlock()
	for len(senders) > 0 {
		n := min(len(senders), 256)
		calls := make([]call, n)
		for i, s := range senders[:n] {
			calls[i] = r.confirmCall(s.room, r.boot, told[i])
		}
		for i, result := range run(context.Background(), r.client, calls) {
			o.mu.Lock()
			if result.NonRedisError() != nil {
				o.owe(senders[i], told[i].lowest) // once more
			}
			o.drop(senders[i])
			o.mu.Unlock()
		}
		senders, told = senders[n:], told[n:]
	}
}

// confirmation is what Redis is told of a boot's messages in a room.
type confirmation struct {
	upTo   uint64 // the highest offset that is durable
	oldest uint64 // that is not, 0 for none
	newest uint64 // up to which everything that the boot got is known
	lowest uint64 // durable, and Redis has yet to hear of it; 0: it was there just now
}

func (r *Relay) confirmCall(room, boot string, c confirmation) call {
	state := r.keys.state(room)
	return call{confirmScript, []string{state, stream(state)}, []string{
		boot, decimal(c.upTo), decimal(c.oldest), decimal(c.newest), decimal(c.lowest), newEpoch(), decimal(r.cfg.Idle.Milliseconds()),
	}}
}
