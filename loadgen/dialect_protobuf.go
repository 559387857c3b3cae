package main

import (
	"encoding/binary"
	"slices"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/loadgen/check"
)

// protobufDialect is the Centrifuge protocol in Protobuf: each message stands
// behind its length.
type protobufDialect struct{}

func (protobufDialect) subprotocol() string { return "centrifuge-protobuf" }

func appendCommand(b []byte, cmd *protocol.Command) []byte {
	size := cmd.SizeCF()
	b = slices.Grow(binary.AppendUvarint(b, uint64(size)), size)
	from := len(b)
	b = b[:from+size]
	if _, err := cmd.MarshalToSizedBufferCF(b[from:]); err != nil {
		panic(err) // the size is its own
	}
	return b
}

// say sends commands in one frame.
func (protobufDialect) say(c *client, cmds ...*protocol.Command) {
	w := c.worker
	w.scratch = w.scratch[:0]
	for _, cmd := range cmds {
		w.scratch = appendCommand(w.scratch, cmd)
	}
	c.conn.Reply(true, w.scratch)
}

func (d protobufDialect) opened(c *client, now int64) {
	connect := &protocol.ConnectRequest{}
	if t := c.worker.fleet.tokens; t != nil {
		connect.Token = string(t.append(nil, c.number(), now))
	}
	d.say(c, &protocol.Command{Id: connectID, Connect: connect}, subscription(c))
}

func (d protobufDialect) subscribe(c *client) { d.say(c, subscription(c)) }

func subscription(c *client) *protocol.Command {
	s := &protocol.SubscribeRequest{Channel: c.part.Room.Name}
	if c.member {
		s.Recover, s.Epoch, s.Offset = true, c.epoch, c.offset
	}
	return &protocol.Command{Id: subscribeID, Subscribe: s}
}

func (protobufDialect) read(c *client, isBinary bool, frame []byte, now int64) {
	for len(frame) > 0 {
		size, n := binary.Uvarint(frame)
		if !isBinary || n <= 0 || size > uint64(len(frame)-n) {
			c.worker.rec.Unexpected++
			return
		}
		msg := frame[n : n+int(size)]
		frame = frame[n+int(size):]
		var reply protocol.Reply
		if reply.UnmarshalCF(msg) != nil {
			c.worker.rec.Unexpected++
			continue
		}
		if c.take(&reply, now) {
			c.conn.Reply(true, []byte{0})
		}
	}
}

func (d protobufDialect) publish(c *client, id uint32, p check.Payload) {
	w := c.worker
	data := p.Append(nil, w.fleet.run, w.fleet.payload.Of(p.Publisher, p.N))
	d.say(c, &protocol.Command{Id: id, Publish: &protocol.PublishRequest{Channel: c.part.Room.Name, Data: data}})
}

func (d protobufDialect) history(c *client, id uint32, p page) { d.say(c, p.command(c, id)) }

func (d protobufDialect) refresh(c *client, now int64) {
	d.say(c, &protocol.Command{Id: refreshID, Refresh: &protocol.RefreshRequest{Token: string(c.worker.fleet.tokens.append(nil, c.number(), now))}})
}
