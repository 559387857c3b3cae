package main

// times are the latencies of the messages that were due in one phase.
// Latencies count from when a thing was due, services from when it was really
// sent.
type times struct {
	since           int64 // the phase began, clock ns
	ack, ackService latency
	delivery        latency
	deliveryService latency
	last            latency // to the last member of the room
	recovered       latency // of what was due while its member was away
	sendError       latency // how much later than intended messages were written
}

func newTimes(since int64) times {
	return times{since, newLatency(), newLatency(), newLatency(), newLatency(), newLatency(), newLatency(), newLatency()}
}

func (t *times) all() []latency {
	return []latency{t.ack, t.ackService, t.delivery, t.deliveryService, t.last, t.recovered, t.sendError}
}

func (t *times) merge(o *times) {
	from := o.all()
	for i, l := range t.all() {
		l.merge(from[i])
	}
}

func (t *times) reset(since int64) {
	t.since = since
	for _, l := range t.all() {
		l.reset()
	}
}
