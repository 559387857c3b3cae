package sessions

import (
	"bytes"
	"errors"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

func (s *session) publish(id uint32, req *protocol.PublishRequest) {
	ln := s.lane()
	if req.Type != 0 || req.Removed {
		ln.fail(s, id, schema.ErrNotAvailable.Because("map publications are not supported"))
		return
	}
	rules, err := s.authorize(channels.Publish, req.Channel)
	if err != nil {
		ln.fail(s, id, err)
		return
	}
	m, err := s.message(req.Channel, req.Data)
	switch {
	case err != nil:
		ln.fail(s, id, err)
	case rules.Ephemeral:
		ln.event(m)
		published(ln, wait{session: s, id: id}, 0, false)
	default:
		ln.relay(s, id, m, published)
	}
}

// published answers a publish.
func published(ln *lane, w wait, _ uint64, _ bool) {
	ln.ack.Id = w.id
	ln.reply(w.session, &ln.ack)
}

// relay has a message stored and delivered, and then answers the command that
// has sent it.
func (ln *lane) relay(s *session, id uint32, m *schema.Message, answer func(ln *lane, w wait, offset uint64, duplicate bool)) {
	t := ln.await(s, id)
	began := time.Now()
	err := ln.all.cfg.Relay.Publish(m, func(err error) {
		took := time.Since(began)
		ln.loop.Post(func() { ln.relayed(t, m, took, err, answer) })
	})
	if err != nil {
		ln.relayed(t, m, 0, fanout.Refusal(err), answer)
	}
}

// event delivers a message that nobody keeps.
func (ln *lane) event(m *schema.Message) {
	ln.all.cfg.Relay.Event(m.Room, func(b []byte, c schema.Codec) []byte {
		return ln.encoder.AppendPush(b, c, m)
	})
}

// relayed hears how a message has fared. The sender's own publication, if it
// is a member, comes before the answer and leaves in the same write.
func (ln *lane) relayed(t ticket, m *schema.Message, took time.Duration, err error, answer func(*lane, wait, uint64, bool)) {
	offset, duplicate := firstOf(err)
	if duplicate {
		err = nil
	}
	ln.all.cfg.Observe.Published(took, err)
	w, ok := ln.waits.take(t)
	if !ok {
		return // its time was up: the client has been told that nobody knows
	}
	if err != nil {
		ln.fail(w.session, w.id, err)
		return
	}
	if duplicate {
		answer(ln, w, offset, true)
		return
	}
	w.session.conn.Cork()
	if sub := w.session.find(m.Room); sub != nil {
		ln.shard.Drain()
		sub.Drained()
	}
	answer(ln, w, m.Offset, false)
}

// firstOf returns the offset of the message that this one repeats, if that is
// what the error says.
func firstOf(err error) (offset uint64, duplicate bool) {
	if err == nil {
		return 0, false // before anything is allocated
	}
	var first fanout.Duplicate
	duplicate = errors.As(err, &first)
	return first.Offset, duplicate
}

// message makes a message of data that a client has sent and may send. The
// memory of data stays the decoder's.
func (s *session) message(channel string, data []byte) (*schema.Message, error) {
	data, err := schema.CheckClientData(data)
	if err != nil {
		return nil, err
	}
	if !s.spend(publishUnits) {
		return nil, schema.ErrTooManyRequests
	}
	return s.signed(channel, bytes.Clone(data)), nil
}

// signed makes a message that says whose it is.
func (s *session) signed(channel string, data []byte) *schema.Message {
	return &schema.Message{Room: channel, User: s.user(), Client: s.clientID(), Info: s.info(), Data: data}
}

// spend takes units of what the client may still send.
func (s *session) spend(units int) bool {
	ln := s.lane()
	return s.bucket.Take(ln.all.cfg.Rate, ln.loop.Elapsed(), units)
}

// publishUnits is what a publish costs beside its frame.
const publishUnits = 4
