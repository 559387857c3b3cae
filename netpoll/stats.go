package netpoll

import "sync/atomic"

// Stats are counters since the engine began.
type Stats struct {
	Accepted      uint64 // sockets taken from the listener
	Refused       uint64 // sockets answered 503 because MaxConns were open, or MaxHeads had yet to say what they want
	Handshakes    uint64 // completed WebSocket handshakes
	BadHandshakes uint64 // refused, malformed or timed-out ones
	BytesIn       uint64 // read from WebSocket connections
	BytesOut      uint64 // written to WebSocket connections
	Reads, Writes uint64 // read(2) and write(2) calls that moved bytes
	MessagesIn    uint64 // whole data messages received
	Blocked       uint64 // times a socket's send buffer was full
	Panics        uint64 // panics of Handlers
}

// counters belong to one loop, which alone adds to them; anyone may read.
type counters struct {
	handshakes, badHandshakes atomic.Uint64
	bytesIn, bytesOut         atomic.Uint64
	reads, writes             atomic.Uint64
	messagesIn                atomic.Uint64
	blocked, panics           atomic.Uint64
}

func (c *counters) addTo(s *Stats) {
	s.Handshakes += c.handshakes.Load()
	s.BadHandshakes += c.badHandshakes.Load()
	s.BytesIn += c.bytesIn.Load()
	s.BytesOut += c.bytesOut.Load()
	s.Reads += c.reads.Load()
	s.Writes += c.writes.Load()
	s.MessagesIn += c.messagesIn.Load()
	s.Blocked += c.blocked.Load()
	s.Panics += c.panics.Load()
}
