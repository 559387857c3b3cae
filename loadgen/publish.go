package main

import "github.com/hubbub-chat/hubbub/loadgen/check"

// publish sends message n of the client's room, which was due at a time. It
// returns false when it cannot.
func (c *client) publish(n uint32, at, now int64) bool {
	if c.state != joined || c.deaf() || !c.conn.Open() || c.conn.Queued() > maxUnsent {
		return false
	}
	w := c.worker
	c.pending = append(c.pending, inflight{c.nextID(), n, at, now})
	c.part.Room.Sent(n)
	w.fleet.dialect.publish(c, c.lastID, check.Payload{Publisher: c.number(), N: n, At: at, Lag: now - at})
	return true
}

// nextID is the id of its next command but for those that have one of their own.
func (c *client) nextID() uint32 {
	c.lastID = max(c.lastID+1, firstID)
	return c.lastID
}

// acked is a publish's success.
func (c *client) acked(id uint32, now int64) {
	if p, ok := c.answered(id); ok {
		c.worker.rec.Acked++
		if c.spell == dials { // or the client was late to read it
			c.worker.rec.answered(&p, now)
		}
		c.part.Room.Ack(p.messageID(c.number()))
	}
}

func (p *inflight) messageID(publisher uint32) uint64 {
	return check.Payload{Publisher: publisher, N: p.n}.ID()
}

// answered takes the publish with this id off the pending ones.
func (c *client) answered(id uint32) (inflight, bool) {
	for i := range c.pending {
		if p := c.pending[i]; p.id == id {
			c.pending = append(c.pending[:i], c.pending[i+1:]...)
			return p, true
		}
	}
	c.worker.rec.Unexpected++ // nobody asked
	return inflight{}, false
}

// abandon gives up the publishes whose answers will not come: their connection
// has ended. They may be seen, or not.
func (c *client) abandon() {
	for i := range c.pending {
		c.worker.rec.Cut++
		c.part.Room.Refuse(c.pending[i].n)
	}
	c.pending = c.pending[:0]
}
