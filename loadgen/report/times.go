package report

// Times are the latencies of the messages that were due in one phase.
// Latencies count from when a thing was due, services from when it was really
// sent.
type Times struct {
	Since           int64 // the phase began, clock ns
	Ack, AckService Latency
	Delivery        Latency
	DeliveryService Latency
	Last            Latency // to the last member of the room
	Recovered       Latency // of what was due while its member was away
	SendError       Latency // how much later than intended messages were written
}

// NewTimes are those of a phase that began at a time of the clock.
func NewTimes(since int64) Times {
	return Times{since, NewLatency(), NewLatency(), NewLatency(), NewLatency(), NewLatency(), NewLatency(), NewLatency()}
}

func (t *Times) all() []Latency {
	return []Latency{t.Ack, t.AckService, t.Delivery, t.DeliveryService, t.Last, t.Recovered, t.SendError}
}

// Merge adds others.
func (t *Times) Merge(o *Times) {
	from := o.all()
	for i, l := range t.all() {
		l.Merge(from[i])
	}
}

// Reset empties them for a phase that begins at a time of the clock.
func (t *Times) Reset(since int64) {
	t.Since = since
	for _, l := range t.all() {
		l.Reset()
	}
}
