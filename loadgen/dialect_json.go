package main

import (
	"bytes"

	"github.com/centrifugal/protocol"
	"github.com/centrifugal/protocol/cfjson"

	"github.com/hubbub-chat/hubbub/loadgen/check"
)

// jsonDialect is the Centrifuge protocol in JSON, as Hubbub and Centrifugo
// speak it.
type jsonDialect struct{}

func (jsonDialect) subprotocol() string { return "" }

// opened sends connect and subscribe in one frame, as the JavaScript SDK does.
func (jsonDialect) opened(c *client, now int64) {
	w := c.worker
	b := append(w.scratch[:0], `{"id":1,"connect":{`...)
	if t := w.fleet.tokens; t != nil {
		b = append(t.append(append(b, `"token":"`...), c.number(), now), '"')
	}
	w.scratch = appendSubscribe(append(b, "}}\n"...), c)
	c.conn.Reply(false, w.scratch)
}

func (jsonDialect) subscribe(c *client) {
	w := c.worker
	w.scratch = appendSubscribe(w.scratch[:0], c)
	c.conn.Reply(false, w.scratch)
}

// appendSubscribe appends the command; of a member that comes back it asks for
// what it missed.
func appendSubscribe(b []byte, c *client) []byte {
	b = append(append(b, `{"id":2,"subscribe":{"channel":"`...), c.part.Room.Name...)
	b = append(b, '"')
	if c.member {
		b = append(b, `,"recover":true,"epoch":`...)
		b = append(append(append(b, '"'), c.epoch...), `","offset":`...)
		b = cfjson.AppendUint(b, c.offset)
	}
	return append(b, "}}"...)
}

func (jsonDialect) read(c *client, binary bool, frame []byte, now int64) {
	rec := c.worker.rec
	if binary {
		rec.Unexpected++
		return
	}
	if !c.decodes && bytes.HasPrefix(frame, []byte(pushPrefix)) {
		// A server does not put replies behind pushes in one frame; where it
		// did, the counts at the end would not agree.
		n := uint64(1 + bytes.Count(bytes.TrimSuffix(frame, []byte{'\n'}), []byte{'\n'}))
		rec.Delivered += n
		c.reader.Count(n)
		return
	}
	for len(frame) > 0 {
		var msg []byte
		if i := bytes.IndexByte(frame, '\n'); i >= 0 {
			msg, frame = frame[:i], frame[i+1:]
		} else {
			msg, frame = frame, nil
		}
		takeJSON(c, msg, now)
	}
}

// takeJSON handles one message: the two forms that come often at a glance, the
// others through the decoder.
func takeJSON(c *client, msg []byte, now int64) {
	if p, ok := scanPush(msg); ok {
		c.publication(p.channel, p.data, p.offset, now)
		return
	}
	if id, ok := scanAck(msg); ok {
		c.acked(id, now)
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
	if c.take(&reply, now) {
		c.conn.Reply(false, []byte("{}"))
	}
}

func (jsonDialect) publish(c *client, id uint32, p check.Payload) {
	w := c.worker
	b := append(w.scratch[:0], `{"id":`...)
	b = cfjson.AppendUint(b, uint64(id))
	b = append(append(b, `,"publish":{"channel":"`...), c.part.Room.Name...)
	b = append(b, `","data":`...)
	b = p.Append(b, w.fleet.run, w.fleet.payload.Of(p.Publisher, p.N))
	w.scratch = append(b, "}}"...)
	c.conn.Reply(false, w.scratch)
}

func (jsonDialect) history(c *client, id uint32, p page) {
	w := c.worker
	w.scratch = p.command(c, id).AppendJSON(w.scratch[:0])
	c.conn.Reply(false, w.scratch)
}

func (jsonDialect) refresh(c *client, now int64) {
	w := c.worker
	b := append(w.scratch[:0], `{"id":3,"refresh":{"token":"`...)
	w.scratch = append(w.fleet.tokens.append(b, c.number(), now), `"}}`...)
	c.conn.Reply(false, w.scratch)
}
