package schema

import (
	"encoding/binary"
	"fmt"

	"github.com/centrifugal/protocol"
)

// Codec is one of the protocol's two encodings. A room log exists per codec,
// so it is an index.
type Codec uint8

const (
	JSON     Codec = iota // text frames, messages separated by \n
	Protobuf              // binary frames, each message behind its length as a varint
	NumCodecs
)

func (c Codec) String() string {
	switch c {
	case JSON:
		return "json"
	case Protobuf:
		return "protobuf"
	}
	return fmt.Sprintf("Codec(%d)", uint8(c))
}

// Binary reports whether the codec's messages travel in binary frames.
func (c Codec) Binary() bool { return c == Protobuf }

// AppendDelimiter appends what stands between two messages of one frame.
func (c Codec) AppendDelimiter(b []byte) []byte {
	if c == JSON {
		return append(b, '\n')
	}
	return b
}

// AppendPing appends the server's ping: an empty reply.
func (c Codec) AppendPing(b []byte) []byte {
	if c == JSON {
		return append(b, '{', '}')
	}
	return append(b, 0)
}

// AppendReply appends a reply as one message, without a delimiter.
func (c Codec) AppendReply(b []byte, r *protocol.Reply) []byte {
	if c == JSON {
		return r.AppendJSON(b)
	}
	size := r.SizeCF()
	b = binary.AppendUvarint(b, uint64(size))
	from := len(b)
	b = append(b, make([]byte, size)...) // the compiler extends in place
	if _, err := r.MarshalToSizedBufferCF(b[from:]); err != nil {
		panic(fmt.Sprintf("schema: a sized buffer did not fit its reply: %v", err))
	}
	return b
}

// AppendJoin appends the push that tells a channel's members of one more.
func (c Codec) AppendJoin(b []byte, channel string, info *protocol.ClientInfo) []byte {
	return c.AppendReply(b, &protocol.Reply{Push: &protocol.Push{Channel: channel, Join: &protocol.Join{Info: info}}})
}

// AppendLeave appends the push that tells a channel's members of one less.
func (c Codec) AppendLeave(b []byte, channel string, info *protocol.ClientInfo) []byte {
	return c.AppendReply(b, &protocol.Reply{Push: &protocol.Push{Channel: channel, Leave: &protocol.Leave{Info: info}}})
}

// Encoder appends publications. It keeps the protocol's nested structs
// between calls, so that framing a push allocates nothing; it belongs to one
// goroutine.
type Encoder struct {
	reply protocol.Reply
	push  protocol.Push
	pub   protocol.Publication
	info  protocol.ClientInfo
}

// AppendPush appends the push that brings m to a member of its room, as one
// message without a delimiter.
func (e *Encoder) AppendPush(b []byte, c Codec, m *Message) []byte {
	e.fill(&e.pub, &e.info, m)
	e.push.Channel, e.push.Pub = m.Room, &e.pub
	e.reply.Push = &e.push
	b = c.AppendReply(b, &e.reply)
	e.pub.Data, e.pub.Info, e.info.ConnInfo = nil, nil, nil // the message may go
	return b
}

func (e *Encoder) fill(pub *protocol.Publication, info *protocol.ClientInfo, m *Message) {
	pub.Data, pub.Offset, pub.Key, pub.Info = m.Data, m.Offset, m.Key, nil
	if m.User != "" || m.Client != "" {
		info.User, info.Client, info.ConnInfo = m.User, m.Client, m.Info
		pub.Info = info
	}
}

// Publication returns m in the protocol's form, for replies that list
// messages.
func Publication(m *Message) *protocol.Publication {
	var e Encoder
	pub := new(protocol.Publication)
	e.fill(pub, new(protocol.ClientInfo), m)
	return pub
}
