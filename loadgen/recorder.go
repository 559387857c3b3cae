package main

import "time"

// lateAfter is how much later than planned a message may leave before it
// counts as late: the tool, or a full socket, was then the bottleneck.
const lateAfter = 10 * time.Millisecond

// counts are numbers of things since the fleet began, unless they say now.
type counts struct {
	Failed uint64 `json:"failed"` // connections that never joined their room
	Joined uint64 `json:"joined"`
	Closed uint64 `json:"closed"` // of the joined, ended by the server or the network

	Sent    uint64 `json:"sent"`    // messages written to a socket
	Acked   uint64 `json:"acked"`   // answered with success
	Refused uint64 `json:"refused"` // answered with an error
	Unsent  uint64 `json:"unsent"`  // could not be sent: no connection, or its socket is full
	Late    uint64 `json:"late"`    // of the sent, those that left more than 10 ms after their time

	Delivered  uint64 `json:"delivered"` // publications received
	Duplicated uint64 `json:"duplicated"`
	Reordered  uint64 `json:"reordered"`
	Unexpected uint64 `json:"unexpected"`
}

func (c *counts) add(o *counts) {
	c.Failed += o.Failed
	c.Joined += o.Joined
	c.Closed += o.Closed
	c.Sent += o.Sent
	c.Acked += o.Acked
	c.Refused += o.Refused
	c.Unsent += o.Unsent
	c.Late += o.Late
	c.Delivered += o.Delivered
	c.Duplicated += o.Duplicated
	c.Reordered += o.Reordered
	c.Unexpected += o.Unexpected
}

// fault counts a verdict.
func (c *counts) fault(v verdict) {
	switch v {
	case duplicated:
		c.Duplicated++
	case reordered:
		c.Reordered++
	case unexpected:
		c.Unexpected++
	}
}

// settled is the number of connections whose beginning is over.
func (c *counts) settled() uint64 { return c.Failed + c.Joined }

// open is the number of connections now in their rooms.
func (c *counts) open() uint64 { return c.Joined - c.Closed }

// unanswered is the number of messages sent and neither acked nor refused.
func (c *counts) unanswered() uint64 { return c.Sent - c.Acked - c.Refused }

// recorder counts and times what happens to one worker's clients. It belongs
// to the worker's loop; scenarios get copies and sums.
type recorder struct {
	counts
	errors map[uint32]uint64 // error replies by code
	closes map[uint32]uint64 // ends of connections by close code; 1006: without one
	unsubs map[uint32]uint64 // unsubscribe pushes by code

	// Latencies count from when a thing was due, services from when it was
	// really sent. Both only for what was due after since.
	since           int64
	handshake       latency // from dialling to the end of the handshake
	join            latency // from connect+subscribe to the subscribe reply
	ack, ackService latency
	delivery        latency
	deliveryService latency
	recent          latency // deliveries since a scenario last asked
	lag             latency // how late the loop's turns were
	lifeLag         latency // the same before the last phase
}

func newRecorder() *recorder {
	return &recorder{
		errors: map[uint32]uint64{}, closes: map[uint32]uint64{}, unsubs: map[uint32]uint64{},
		handshake: newLatency(), join: newLatency(),
		ack: newLatency(), ackService: newLatency(),
		delivery: newLatency(), deliveryService: newLatency(),
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
	r.handshake.merge(o.handshake)
	r.join.merge(o.join)
	r.ack.merge(o.ack)
	r.ackService.merge(o.ackService)
	r.delivery.merge(o.delivery)
	r.deliveryService.merge(o.deliveryService)
	r.lag.merge(o.lag)
	r.lifeLag.merge(o.lifeLag)
}

// forget empties the latencies of messages, at the end of a phase.
func (r *recorder) forget(since int64) {
	r.since = since
	for _, l := range []latency{r.ack, r.ackService, r.delivery, r.deliveryService} {
		l.h.Reset()
	}
	r.lifeLag.merge(r.lag)
	r.lag.h.Reset()
}

// answered times a publish.
func (r *recorder) answered(p *inflight, now int64) {
	if p.at >= r.since {
		r.ack.record(now - p.at)
		r.ackService.record(now - p.sent)
	}
}

func (r *recorder) delivered(p *payload, now int64) {
	if p.at >= r.since {
		r.delivery.record(now - p.at)
		r.deliveryService.record(now - p.at - p.lag)
	}
	r.recent.record(now - p.at)
}

// snapshot is a fleet's counts at one time.
type snapshot struct {
	counts
	at      int64  // clock ns
	bytesIn uint64 // read from connections
	recent  quantiles
}
