package sessions

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

func (s *session) publish(id uint32, req *protocol.PublishRequest) {
	ln := s.lane()
	m, rules, err := s.message(req)
	if err != nil {
		ln.fail(s, id, err)
		return
	}
	if rules.Ephemeral {
		ln.event(m)
		ln.ack.Id = id
		ln.reply(s, &ln.ack)
		return
	}
	t := ln.await(s, id)
	began := time.Now()
	err = ln.all.cfg.Relay.Publish(m, func(err error) {
		took := time.Since(began)
		ln.loop.Post(func() { ln.published(t, m.Room, took, err) })
	})
	if err != nil {
		ln.published(t, m.Room, 0, refused(err))
	}
}

// refused is what a client is told of a message that the relay did not take.
func refused(err error) error {
	if coded := (*schema.Error)(nil); errors.As(err, &coded) {
		return coded
	}
	return schema.ErrTooManyRequests.Because("the server has too much to do")
}

// event delivers a message that nobody keeps.
func (ln *lane) event(m *schema.Message) {
	ln.all.cfg.Hub.Event(m.Room, func(b []byte, c schema.Codec) []byte {
		return ln.encoder.AppendPush(b, c, m)
	})
}

// published answers a publish. The publisher's own publication, if it is a
// member, comes before the answer and leaves in the same write.
func (ln *lane) published(t ticket, room string, took time.Duration, err error) {
	ln.all.cfg.Observe.Published(took, err)
	w, ok := ln.waits.take(t)
	if !ok {
		return // its time was up: the client has been told that nobody knows
	}
	if err != nil {
		ln.fail(w.session, w.id, err)
		return
	}
	w.session.conn.Cork()
	if sub := w.session.find(room); sub != nil {
		ln.shard.Drain()
		sub.Drained()
	}
	ln.ack.Id = w.id
	ln.reply(w.session, &ln.ack)
}

// message makes a message of a request, whose memory is the decoder's.
func (s *session) message(req *protocol.PublishRequest) (*schema.Message, *channels.Options, error) {
	if req.Type != 0 || req.Removed {
		return nil, nil, schema.ErrNotAvailable.Because("map publications are not supported")
	}
	rules, err := s.authorize(channels.Publish, req.Channel)
	if err != nil {
		return nil, nil, err
	}
	data, err := schema.CheckData(req.Data)
	if err != nil {
		return nil, nil, err
	}
	if reservedType(data) {
		return nil, nil, schema.ErrBadRequest.Because("this type of message is sent by an RPC")
	}
	if !s.bucket.Take(s.lane().all.cfg.Rate, s.lane().loop.Elapsed(), publishUnits) {
		return nil, nil, schema.ErrTooManyRequests
	}
	return &schema.Message{
		Room:   req.Channel,
		User:   s.user(),
		Client: s.clientID(),
		Info:   s.info(),
		Data:   bytes.Clone(data),
	}, rules, nil
}

// publishUnits is what a publish costs beside its frame.
const publishUnits = 4

// reservedType reports whether data is an object whose type only the server
// may write, because the chat RPCs check who may do what it says.
func reservedType(data []byte) bool {
	// Almost no message says type, or hides it behind an escape.
	if !bytes.Contains(data, []byte(`type"`)) && !bytes.Contains(data, []byte(`\u`)) {
		return false
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) != nil {
		return false // not an object
	}
	var name string
	if json.Unmarshal(object["type"], &name) != nil {
		return false
	}
	switch name {
	case "edit", "delete", "react", "typing", "read":
		return true
	}
	return false
}
