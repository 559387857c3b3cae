package main

import (
	"bytes"

	"github.com/centrifugal/protocol"
	"github.com/centrifugal/protocol/cfjson"

	"github.com/hubbub-chat/hubbub/netpoll"
)

type clientState uint8

const (
	unopened clientState = iota
	dialling
	joining // connect and subscribe are on their way
	joined
	ended
)

// The ids of a client's commands: two are always the same.
const (
	connectID   = 1
	subscribeID = 2
	firstID     = 3
)

// maxUnsent is how many bytes may wait for a client's socket before its
// publishes are given up.
const maxUnsent = 256 << 10

// client is one connection: a netpoll.Handler that lives on its worker's
// loop. It is small because there are many: what it needs now and then is the
// worker's.
type client struct {
	worker  *worker
	part    *part
	conn    *netpoll.Conn
	reader  reader
	pending []inflight // publishes without an answer, oldest first; nil for those who listen
	began   int64      // when the step it is in began, clock ns
	index   uint32
	lastID  uint32
	ownNext uint32 // its own messages are seen in the order it sent them
	state   clientState
	decodes bool
}

// inflight is a publish without an answer.
type inflight struct {
	id, n    uint32
	at, sent int64 // when it was due and when it left, clock ns
}

// Opened implements netpoll.Opener. Connect and subscribe leave in one frame,
// as the JavaScript SDK sends them.
func (c *client) Opened(conn *netpoll.Conn) {
	w := c.worker
	now := w.fleet.clock.now()
	w.rec.handshake.record(now - c.began)
	c.state, c.began = joining, now
	b := append(w.scratch[:0], `{"id":1,"connect":{}}`+"\n"+`{"id":2,"subscribe":{"channel":`...)
	b = append(append(b, c.part.room.quoted...), "}}"...)
	w.scratch = b
	conn.Reply(false, b)
}

// Message implements netpoll.Handler.
func (c *client) Message(_ *netpoll.Conn, binary bool, frame []byte) {
	w := c.worker
	if w.over {
		return
	}
	if binary {
		w.rec.Unexpected++
		return
	}
	if !c.decodes && bytes.HasPrefix(frame, []byte(pushPrefix)) {
		// A server does not put replies behind pushes in one frame; where it
		// did, the counts at the end would not agree.
		n := uint64(1 + bytes.Count(bytes.TrimSuffix(frame, []byte{'\n'}), []byte{'\n'}))
		w.rec.Delivered += n
		c.reader.next += n
		return
	}
	now := w.fleet.clock.now()
	for len(frame) > 0 {
		var msg []byte
		if i := bytes.IndexByte(frame, '\n'); i >= 0 {
			msg, frame = frame[:i], frame[i+1:]
		} else {
			msg, frame = frame, nil
		}
		c.take(msg, now)
	}
}

// take handles one message: the two forms that come often at a glance, the
// others through the decoder.
func (c *client) take(msg []byte, now int64) {
	if p, ok := scanPush(msg); ok {
		c.publication(p.channel, p.data, p.offset, now)
		return
	}
	if id, ok := scanAck(msg); ok {
		if p, ok := c.answered(id); ok {
			c.worker.rec.Acked++
			c.worker.rec.answered(&p, now)
			c.part.room.note((*ledger).ack, p.n)
		}
		return
	}
	if len(msg) == 0 {
		return
	}
	var reply protocol.Reply
	if cfjson.Unmarshal(msg, &reply, 0) != nil {
		c.worker.rec.Unexpected++
		return
	}
	if reply.Id == 0 {
		c.pushed(reply.Push, now)
		return
	}
	c.replied(&reply, now)
}

// pushed handles what comes unasked: pings, publications of an uncommon form,
// the end of the subscription.
func (c *client) pushed(p *protocol.Push, now int64) {
	switch {
	case p == nil:
		c.conn.Reply(false, []byte("{}")) // a ping
	case p.Pub != nil:
		c.publication([]byte(p.Channel), p.Pub.Data, p.Pub.Offset, now)
	case p.Unsubscribe != nil:
		// SDKs would subscribe again; until we do, what follows is missing.
		c.worker.rec.unsubs[p.Unsubscribe.Code]++
	}
}

func (c *client) replied(r *protocol.Reply, now int64) {
	rec := c.worker.rec
	if r.Error != nil {
		rec.errors[r.Error.Code]++
	}
	switch {
	case r.Id >= firstID:
		if p, ok := c.answered(r.Id); ok && r.Error != nil {
			rec.Refused++
			c.part.room.note((*ledger).refuse, p.n)
		} else if ok {
			rec.Acked++
			rec.answered(&p, now)
			c.part.room.note((*ledger).ack, p.n)
		}
	case r.Error != nil:
		c.conn.Close(netpoll.Close{Code: 1000, Reason: "refused"})
	case r.Id == subscribeID && r.Subscribe != nil && c.state == joining:
		c.state = joined
		rec.Joined++
		rec.join.record(now - c.began)
		if c.decodes {
			c.part.join(&c.reader, r.Subscribe.Offset)
		} else {
			c.reader.next, _ = c.part.room.end()
		}
	}
}

// publication handles one message of a room.
func (c *client) publication(channel, data []byte, offset uint64, now int64) {
	w := c.worker
	w.rec.Delivered++
	if !c.decodes {
		c.reader.next++
		return
	}
	p, ok := parsePayload(data, w.fleet.run, w.fleet.payload)
	if !ok || offset == 0 || c.state != joined || string(channel) != c.part.room.name {
		w.rec.Unexpected++
		return
	}
	v := c.part.observe(&c.reader, entry{offset, p.id()})
	if v == inOrder && p.publisher == c.index {
		if p.n < c.ownNext {
			v = reordered
		}
		c.ownNext = p.n + 1
	}
	w.rec.fault(v)
	w.rec.delivered(&p, now)
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

// publish sends message n of the client's room, which was due at a time. It
// returns false when it cannot.
func (c *client) publish(n uint32, at, now int64) bool {
	if c.state != joined || !c.conn.Open() || c.conn.Queued() > maxUnsent {
		return false
	}
	w := c.worker
	c.lastID = max(c.lastID+1, firstID)
	c.pending = append(c.pending, inflight{c.lastID, n, at, now})
	c.part.room.note((*ledger).sent, n)
	b := append(w.scratch[:0], `{"id":`...)
	b = cfjson.AppendUint(b, uint64(c.lastID))
	b = append(append(b, `,"publish":{"channel":`...), c.part.room.quoted...)
	b = append(b, `,"data":`...)
	b = payload{c.index, n, at, now - at}.append(b, w.fleet.run, w.fleet.payload)
	b = append(b, "}}"...)
	w.scratch = b
	c.conn.Reply(false, b)
	return true
}

// missing is the number of messages that the client should have got and did
// not; surplus, for one that only counts, of those it got beyond.
func (c *client) missing() (missing, surplus uint64) {
	if c.state != joined {
		return 0, 0
	}
	if c.decodes {
		return c.part.missing(&c.reader), 0
	}
	end, unseen := c.part.room.end()
	if c.reader.next > end {
		return unseen, c.reader.next - end
	}
	return end - c.reader.next + unseen, 0
}

// Drained implements netpoll.Handler; Queued is asked where it matters.
func (c *client) Drained(*netpoll.Conn) {}

// Tick implements netpoll.Handler.
func (c *client) Tick(*netpoll.Conn) {}

// Closed implements netpoll.Handler.
func (c *client) Closed(_ *netpoll.Conn, code uint16) {
	w := c.worker
	was := c.state
	c.state, c.conn = ended, nil
	if was == joined && c.decodes {
		c.part.leave(&c.reader)
	}
	if w.over {
		return
	}
	w.rec.closes[uint32(code)]++
	if was == joined {
		w.rec.Closed++
	} else {
		w.rec.Failed++
	}
}
