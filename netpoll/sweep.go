package netpoll

import "time"

// sweeping reports whether there is something for ticks to do.
func (l *Loop) sweeping() bool {
	return len(l.slots)-1 > len(l.free) || l.index == 0 && l.engine.listen != nil && (l.engine.listen.acceptor.ticks() || l.engine.listen.away.Load())
}

// tick sweeps a slice of the connections: dead-lines of handshakes and closes,
// and the Handlers' own.
func (l *Loop) tick() {
	l.tickAt = l.now.Add(time.Second / ticksPerSecond)
	if ln := l.engine.listen; l.index == 0 && ln != nil {
		ln.tick(l)
	}
	cfg := &l.engine.cfg
	handshake := uint32(cfg.HandshakeTimeout / time.Second)
	closing := uint32(cfg.CloseTimeout / time.Second)
	for range (len(l.slots) + ticksPerSecond - 1) / ticksPerSecond {
		if l.sweep++; l.sweep >= len(l.slots) {
			l.sweep = 0
		}
		c := l.slots[l.sweep]
		if c == nil {
			continue
		}
		switch age := l.second - c.since; {
		case c.state == stateOpen && c.mode&modeEOF != 0 && age >= closing:
			c.end(codeAbnormal) // its Handler has had its time
		case c.state == stateOpen:
			l.tickConn(c)
		case c.state.handshaking() && age >= handshake:
			l.stats.badHandshakes.Add(1)
			c.failed(errHandshakeTimeout(c.state))
			c.end(codeAbnormal)
		case c.state.ending() && age >= closing:
			c.end(codeAbnormal)
		}
	}
}

func (l *Loop) tickConn(c *Conn) {
	defer l.guard(c)
	c.handler.Tick(c)
}
