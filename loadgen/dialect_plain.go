package main

import "github.com/hubbub-chat/hubbub/loadgen/check"

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

func (plainDialect) history(*client, uint32, page) {}

func (plainDialect) read(c *client, _ bool, frame []byte, now int64) {
	w := c.worker
	room := c.part.Room
	if !c.decodes {
		w.rec.Delivered++
		c.reader.Count(1)
		return
	}
	p, ok := check.ParsePayload(frame, w.fleet.run, w.fleet.payload)
	if !ok {
		w.rec.Delivered++
		w.rec.Unexpected++
		return
	}
	c.publication([]byte(room.Name), frame, room.OffsetOf(p.ID()), now)
	if p.Publisher == c.number() {
		for i := range c.pending {
			if c.pending[i].n == p.N {
				c.acked(c.pending[i].id, now)
				break
			}
		}
	}
}

func (plainDialect) publish(c *client, _ uint32, p check.Payload) {
	w := c.worker
	w.scratch = p.Append(w.scratch[:0], w.fleet.run, w.fleet.payload.Of(p.Publisher, p.N))
	c.conn.Reply(false, w.scratch)
}
