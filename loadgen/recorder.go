package main

import (
	"math"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// lateAfter is how much later than planned a message may leave before it
// counts as late: the tool, or a full socket, was then the bottleneck.
const lateAfter = 10 * time.Millisecond

// recorder counts and times what happens to one worker's clients. It belongs
// to the worker's loop; scenarios get copies and sums.
type recorder struct {
	report.Counts
	errors map[uint32]uint64 // error replies by code
	closes map[uint32]uint64 // ends of connections by close code; 1006: without one
	unsubs map[uint32]uint64 // unsubscribe pushes by code
	reasons

	stalled, silenced struck

	// Latencies count from when a thing was due, services from when it was
	// really sent. Both only for what was due in these phases: the one that
	// is on, the one before, and the one after, since whoever turns the phases
	// may be late for that.
	now, before, next, spare report.Times
	tcp                      report.Latency // from dialling to a connected socket
	handshake                report.Latency // from dialling to the end of the handshake
	connect                  report.Latency // from connect+subscribe to the connect reply
	subscribe                report.Latency // from connect+subscribe to the subscribe reply
	recovery                 report.Latency // the same of members that came back and recovered
	away                     report.Latency // from the end of a membership to its return
	refresh                  report.Latency // of tokens on a living connection
	page                     report.Latency // of histories, while clients talk
	recent                   report.Latency // deliveries since a scenario last asked
	lag                      report.Latency // how late the loop's turns were
	lifeLag                  report.Latency // the same before the last phase
}

// all are the latencies but for recent, which is one scenario's own, and those
// of messages.
func (r *recorder) all() []report.Latency {
	return []report.Latency{r.tcp, r.handshake, r.connect, r.subscribe, r.recovery, r.away, r.refresh, r.page, r.lag, r.lifeLag}
}

func newRecorder() *recorder {
	return &recorder{
		errors: map[uint32]uint64{}, closes: map[uint32]uint64{}, unsubs: map[uint32]uint64{}, reasons: reasons{},
		stalled: struck{Closes: map[uint32]uint64{}}, silenced: struck{Closes: map[uint32]uint64{}},
		tcp: report.NewLatency(), handshake: report.NewLatency(), connect: report.NewLatency(), subscribe: report.NewLatency(),
		recovery: report.NewLatency(), away: report.NewLatency(), refresh: report.NewLatency(), page: report.NewLatency(),
		now: report.NewTimes(0), before: report.NewTimes(math.MaxInt64), next: report.NewTimes(math.MaxInt64), spare: report.NewTimes(0),
		recent: report.NewLatency(), lag: report.NewLatency(), lifeLag: report.NewLatency(),
	}
}

func (r *recorder) merge(o *recorder) {
	r.Add(&o.Counts)
	for sum, part := range map[*map[uint32]uint64]map[uint32]uint64{
		&r.errors: o.errors, &r.closes: o.closes, &r.unsubs: o.unsubs,
	} {
		for code, n := range part {
			(*sum)[code] += n
		}
	}
	for reason, n := range o.reasons {
		r.reasons.add(reason, n)
	}
	r.stalled.merge(&o.stalled)
	r.silenced.merge(&o.silenced)
	r.now.Merge(&o.now)
	r.before.Merge(&o.before)
	r.next.Merge(&o.next)
	from := o.all()
	for i, l := range r.all() {
		l.Merge(from[i])
	}
}

// forget empties the latencies of messages, at the end of a phase after which
// nothing that was due in it counts. A phase begins that lasts until a time.
func (r *recorder) forget(since, until int64) {
	r.now.Reset(since)
	r.next.Reset(until)
	r.before.Reset(math.MaxInt64)
	r.lifeLag.Merge(r.lag)
	r.lag.Reset()
}

// turn begins the next phase, which lasts until a time: what was due in the last
// still counts there. It returns the times of the phase before that.
func (r *recorder) turn(until int64) (over report.Times) {
	over = r.before
	r.before = r.now
	r.now = r.next
	r.next = r.spare
	r.next.Reset(until)
	return over
}

// due are the times of the phase in which something was due; nil: of none.
func (r *recorder) due(at int64) *report.Times {
	switch {
	case at >= r.next.Since:
		return &r.next
	case at >= r.now.Since:
		return &r.now
	case at >= r.before.Since:
		return &r.before
	}
	return nil
}

// answered times a publish.
func (r *recorder) answered(p *inflight, now int64) {
	if t := r.due(p.at); t != nil {
		t.Ack.Record(now - p.at)
		t.AckService.Record(now - p.sent)
	}
}

// delivered times a delivery. What was due while its member was away was late
// by that, and is kept apart. last says that all other members have had it.
func (r *recorder) delivered(p *check.Payload, now int64, away, last bool) {
	t := r.due(p.At)
	if away {
		if t != nil {
			t.Recovered.Record(now - p.At)
		}
		return
	}
	r.recent.Record(now - p.At)
	if t == nil {
		return
	}
	t.Delivery.Record(now - p.At)
	t.DeliveryService.Record(now - p.At - p.Lag)
	if last {
		t.Last.Record(now - p.At)
	}
}

// measured are a run's latencies, those without a value left out.
func measured(rec *recorder, t *report.Times) (all []report.Series) {
	for _, s := range []report.Series{
		{Name: "tcp", Latency: rec.tcp}, {Name: "handshake", Latency: rec.handshake}, {Name: "connect", Latency: rec.connect}, {Name: "subscribe", Latency: rec.subscribe},
		{Name: "recovery", Latency: rec.recovery}, {Name: "away", Latency: rec.away}, {Name: "refresh", Latency: rec.refresh}, {Name: "history page", Latency: rec.page},
		{Name: "ack", Latency: t.Ack}, {Name: "ack service", Latency: t.AckService}, {Name: "delivery", Latency: t.Delivery}, {Name: "delivery service", Latency: t.DeliveryService},
		{Name: "last member", Latency: t.Last}, {Name: "recovered", Latency: t.Recovered}, {Name: "send error", Latency: t.SendError}, {Name: "tool lag", Latency: rec.lag},
	} {
		if !s.Empty() {
			all = append(all, s)
		}
	}
	return all
}
