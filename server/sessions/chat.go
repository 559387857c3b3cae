package sessions

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// chatSend sends a message that the sender may send again, with the same key,
// when it has not heard of it: the answer is then the first one's.
type chatSend struct {
	Channel string          `json:"channel"`
	Text    json.RawMessage `json:"text"` // a string; kept as it is written
	Data    json.RawMessage `json:"data"` // or an object
	Key     string          `json:"key"`
	ReplyTo uint64          `json:"reply_to"` // offset of another message
}

func (c *chatSend) needs() (string, channels.Action) { return c.Channel, channels.Publish }

func (c *chatSend) run(s *session, id uint32, rules *channels.Options) {
	ln := s.lane()
	data, err := c.body()
	if err != nil {
		ln.fail(s, id, err)
		return
	}
	m, err := s.message(c.Channel, data)
	if err != nil {
		ln.fail(s, id, err)
		return
	}
	m.Key = c.Key
	if rules.Ephemeral {
		ln.event(m)
		ln.result(s, id, []byte(`{"duplicate":false}`))
		return
	}
	ln.relay(s, id, m, chatSent)
}

// chatSent answers a chat.send.
func chatSent(ln *lane, w wait, offset uint64, duplicate bool) {
	b := strconv.AppendUint([]byte(`{"offset":`), offset, 10)
	b = strconv.AppendBool(append(b, `,"duplicate":`...), duplicate)
	ln.result(w.session, w.id, append(b, '}'))
}

// maxOffset is the largest that every client can read.
const maxOffset = 1<<53 - 1

// body makes the message's data, an object.
func (c *chatSend) body() ([]byte, error) {
	switch {
	case len(c.Key) > schema.MaxKeyLen:
		return nil, schema.ErrLimitExceeded.Because("key is longer than 255 bytes")
	case c.ReplyTo > maxOffset:
		return nil, schema.ErrBadRequest.Because("reply_to is not an offset")
	case (c.Text == nil) == (c.Data == nil):
		return nil, schema.ErrBadRequest.Because("a message has either text or data")
	}
	body := []byte(c.Data)
	if c.Text != nil {
		if len(c.Text) < 3 || c.Text[0] != '"' {
			return nil, schema.ErrBadRequest.Because("text is not a string, or empty")
		}
		body = append(append([]byte(`{"text":`), c.Text...), '}')
	}
	if body[0] != '{' {
		return nil, schema.ErrBadRequest.Because("data is not an object")
	}
	if c.ReplyTo == 0 {
		return body, nil
	}
	head := strconv.AppendUint([]byte(`{"reply_to":`), c.ReplyTo, 10)
	rest := bytes.TrimSpace(body[1:])
	if rest[0] != '}' {
		head = append(head, ',')
	}
	return append(head, rest...), nil
}

// chatTyping tells a room's members that somebody writes.
type chatTyping struct {
	Channel string `json:"channel"`
}

func (c *chatTyping) needs() (string, channels.Action) { return c.Channel, channels.Publish }

func (c *chatTyping) run(s *session, id uint32, _ *channels.Options) {
	ln := s.lane()
	if !s.spend(publishUnits) {
		ln.fail(s, id, schema.ErrTooManyRequests)
		return
	}
	ln.event(s.signed(c.Channel, []byte(`{"type":"typing"}`)))
	ln.result(s, id, []byte(`{}`))
}
