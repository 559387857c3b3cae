package main

// plainDialect is a server that sends every message it gets to all connections
// of its room, the sender's included, as it came. Rooms are told by the
// address, in which {room} stands for the name; without it everybody is in
// one. A message counts as acknowledged when its sender has it back.
//
// Such a server gives no offsets, so whoever sees a message first gives it the
// next one of its room, and all others are compared with that: an order that
// is not the same for all shows as one that is not kept.
type plainDialect struct{}

func (plainDialect) subprotocol() string { return "" }

// opened: to be connected is to be a member.
func (plainDialect) opened(c *client, now int64) { c.joinedPlainly(now) }

func (plainDialect) subscribe(*client)      {}
func (plainDialect) refresh(*client, int64) {}

func (plainDialect) read(c *client, _ bool, frame []byte, now int64) {
	w := c.worker
	room := c.part.room
	if !c.decodes {
		w.rec.Delivered++
		c.reader.next++
		return
	}
	p, ok := parsePayload(frame, w.fleet.run, w.fleet.payload)
	if !ok {
		w.rec.Delivered++
		w.rec.Unexpected++
		return
	}
	c.publication([]byte(room.name), frame, room.offsetOf(p.id()), now)
	if p.publisher == c.index {
		for i := range c.pending {
			if c.pending[i].n == p.n {
				c.acked(c.pending[i].id, now)
				break
			}
		}
	}
}

func (plainDialect) publish(c *client, _ uint32, p payload) {
	w := c.worker
	w.scratch = p.append(w.scratch[:0], w.fleet.run, w.fleet.payload.of(p.publisher, p.n))
	c.conn.Reply(false, w.scratch)
}

// offsetOf is the offset that a message got from who saw it first.
func (m *room) offsetOf(id uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if offset, ok := m.given[id]; ok {
		return offset
	}
	if m.given == nil || len(m.given) > maxGiven {
		m.older, m.given = m.given, map[uint64]uint64{}
	}
	if offset, ok := m.older[id]; ok {
		return offset
	}
	m.lastGiven++
	m.given[id] = m.lastGiven
	return m.lastGiven
}

// maxGiven is how many offsets are remembered, twice over: a copy of a message
// that is older counts as lost to whom it came late.
const maxGiven = 1 << 15
