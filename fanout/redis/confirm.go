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
// Rooms with a batch under way wait: the batch sets the mark, by what was
// confirmed when it set out, and must not be overtaken. So do rooms with a
// message of which nobody knows: it may be below.
func (r *Relay) tellConfirmed() {
	o := r.outbox
	var senders []*sender
	var calls []call
	unsure := r.maybes.rooms()
	o.mu.Lock()
	for s := range o.confirms {
		if _, ok := unsure[s.room]; ok || s.underWay {
			continue
		}
		delete(o.confirms, s)
		oldest := uint64(0)
		if len(s.open) > 0 {
			oldest = s.open[0]
		}
		senders = append(senders, s)
		calls = append(calls, r.confirmCall(s.room, r.boot, s.confirmed, oldest))
	}
	o.mu.Unlock()
	for len(calls) > 0 {
		n := min(len(calls), 256)
		for i, result := range run(context.Background(), r.client, calls[:n]) {
			o.mu.Lock()
			if result.NonRedisError() != nil {
				o.confirms[senders[i]] = struct{}{} // once more
			}
			o.drop(senders[i])
			o.mu.Unlock()
		}
		calls, senders = calls[n:], senders[n:]
	}
}

// confirmCall says of a boot that up to an offset everything is durable but
// what is at or behind oldest, 0 for nothing.
func (r *Relay) confirmCall(room, boot string, upTo, oldest uint64) call {
	return call{confirmScript, []string{r.keys.state(room)}, []string{
		boot, decimal(upTo), decimal(oldest), newEpoch(), decimal(r.cfg.Idle.Milliseconds()),
	}}
}
