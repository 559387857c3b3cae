package main

import (
	"math"
	"time"
)

// lateAfter is how much later than planned a message may leave before it
// counts as late: the tool, or a full socket, was then the bottleneck.
const lateAfter = 10 * time.Millisecond

// recorder counts and times what happens to one worker's clients. It belongs
// to the worker's loop; scenarios get copies and sums.
type recorder struct {
	counts
	errors map[uint32]uint64 // error replies by code
	closes map[uint32]uint64 // ends of connections by close code; 1006: without one
	unsubs map[uint32]uint64 // unsubscribe pushes by code

	// Latencies count from when a thing was due, services from when it was
	// really sent. Both only for what was due after since.
	now, before, spare times
	tcp                latency // from dialling to a connected socket
	handshake          latency // from dialling to the end of the handshake
	connect            latency // from connect+subscribe to the connect reply
	subscribe          latency // from connect+subscribe to the subscribe reply
	recovery           latency // the same of members that came back and recovered
	away               latency // from the end of a membership to its return
	refresh            latency // of tokens on a living connection
	recent             latency // deliveries since a scenario last asked
	lag                latency // how late the loop's turns were
	lifeLag            latency // the same before the last phase
}

// all are the latencies but for recent, which is one scenario's own, and those
// of messages.
func (r *recorder) all() []latency {
	return []latency{r.tcp, r.handshake, r.connect, r.subscribe, r.recovery, r.away, r.refresh, r.lag, r.lifeLag}
}

func newRecorder() *recorder {
	return &recorder{
		errors: map[uint32]uint64{}, closes: map[uint32]uint64{}, unsubs: map[uint32]uint64{},
		tcp: newLatency(), handshake: newLatency(), connect: newLatency(), subscribe: newLatency(),
		recovery: newLatency(), away: newLatency(), refresh: newLatency(),
		now: newTimes(0), before: newTimes(math.MaxInt64), spare: newTimes(0),
		recent: newLatency(), lag: newLatency(), lifeLag: newLatency(),
	}
}

func (r *recorder) merge(o *recorder) {
	r.add(&o.counts)
	for sum, part := range map[*map[uint32]uint64]map[uint32]uint64{
		&r.errors: o.errors, &r.closes: o.closes, &r.unsubs: o.unsubs,
	} {
		for code, n := range part {
			(*sum)[code] += n
		}
	}
	r.now.merge(&o.now)
	r.before.merge(&o.before)
	from := o.all()
	for i, l := range r.all() {
		l.merge(from[i])
	}
}

// forget empties the latencies of messages, at the end of a phase after which
// nothing that was due in it counts.
func (r *recorder) forget(since int64) {
	r.now.reset(since)
	r.before.reset(math.MaxInt64)
	r.lifeLag.merge(r.lag)
	r.lag.reset()
}

// turn begins a phase: what was due in the last still counts there. It returns
// the times of the phase before that.
func (r *recorder) turn(since int64) (over times) {
	over = r.before
	r.before = r.now
	r.now = r.spare
	r.now.reset(since)
	return over
}

// due are the times of the phase in which something was due; nil: of none.
func (r *recorder) due(at int64) *times {
	switch {
	case at >= r.now.since:
		return &r.now
	case at >= r.before.since:
		return &r.before
	}
	return nil
}

// answered times a publish.
func (r *recorder) answered(p *inflight, now int64) {
	if t := r.due(p.at); t != nil {
		t.ack.record(now - p.at)
		t.ackService.record(now - p.sent)
	}
}

// delivered times a delivery. What was due while its member was away was late
// by that, and is kept apart. last says that all other members have had it.
func (r *recorder) delivered(p *payload, now int64, away, last bool) {
	t := r.due(p.at)
	if away {
		if t != nil {
			t.recovered.record(now - p.at)
		}
		return
	}
	r.recent.record(now - p.at)
	if t == nil {
		return
	}
	t.delivery.record(now - p.at)
	t.deliveryService.record(now - p.at - p.lag)
	if last {
		t.last.record(now - p.at)
	}
}

// measured are a run's latencies, those without a value left out.
func measured(rec *recorder, t *times) (all []series) {
	for _, s := range []series{
		{"tcp", rec.tcp}, {"handshake", rec.handshake}, {"connect", rec.connect}, {"subscribe", rec.subscribe},
		{"recovery", rec.recovery}, {"away", rec.away}, {"refresh", rec.refresh},
		{"ack", t.ack}, {"ack service", t.ackService}, {"delivery", t.delivery}, {"delivery service", t.deliveryService},
		{"last member", t.last}, {"recovered", t.recovered}, {"send error", t.sendError}, {"tool lag", rec.lag},
	} {
		if !s.empty() {
			all = append(all, s)
		}
	}
	return all
}
