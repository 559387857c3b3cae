package sessions

import (
	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// opening is a subscription whose room is being read from the store.
type opening struct {
	session *session
	channel string
	rules   *channels.Options
	ticket  ticket
	req     *protocol.SubscribeRequest
}

const flagRejectUnrecovered = 1 << 1 // of SubscribeRequest.Flag

func (s *session) subscribe(id uint32, req *protocol.SubscribeRequest) {
	rules, err := s.checkSubscribe(req)
	if err != nil {
		s.lane().fail(s, id, err)
		return
	}
	sub := &subscription{next: s.subs}
	s.subs = sub
	s.channels++
	s.lane().openRoom(sub, &opening{
		session: s, channel: req.Channel, rules: rules, ticket: s.lane().await(s, id), req: req,
	})
}

func (s *session) checkSubscribe(req *protocol.SubscribeRequest) (*channels.Options, error) {
	if req.Type != 0 {
		return nil, schema.ErrNotAvailable.Because("only stream subscriptions are supported")
	}
	if req.Tf != nil {
		return nil, schema.ErrBadRequest.Because("tag filters are not supported")
	}
	rules, err := s.authorize(channels.Subscribe, req.Channel)
	if err != nil {
		return nil, err
	}
	if sub := s.find(req.Channel); sub != nil {
		if !s.lane().tooLate(sub) {
			return nil, schema.ErrAlreadySubscribed
		}
		s.drop(sub)
	}
	if int(s.channels) >= s.lane().all.cfg.Channels {
		return nil, schema.ErrLimitExceeded.Because("too many subscriptions")
	}
	return rules, nil
}

// find returns the session's subscription to a channel. Few sessions have
// more than a few, so it is a list.
func (s *session) find(channel string) *subscription {
	for sub := s.subs; sub != nil; sub = sub.next {
		if s.lane().channel(sub) == channel {
			return sub
		}
	}
	return nil
}

func (ln *lane) channel(sub *subscription) string {
	if r := sub.Room(); r != nil {
		return r.Name()
	}
	if op := ln.opening[sub]; op != nil {
		return op.channel
	}
	return ""
}

// tooLate reports whether the client has been told that subscribing took too
// long: it may try again while the first attempt is still under way.
func (ln *lane) tooLate(sub *subscription) bool {
	if op := ln.opening[sub]; op != nil {
		return !ln.waits.open(op.ticket)
	}
	cu := ln.catching[sub]
	return cu != nil && !cu.answered && !ln.waits.open(cu.ticket)
}

// drop forgets a subscription, in whatever state it is.
func (s *session) drop(sub *subscription) {
	sub.Leave()
	delete(s.lane().opening, sub)
	delete(s.lane().catching, sub)
	for p := &s.subs; *p != nil; p = &(*p).next {
		if *p == sub {
			*p = sub.next
			s.channels--
			return
		}
	}
}

// openRoom joins the room if it is in memory, else when it has been read.
func (ln *lane) openRoom(sub *subscription, op *opening) {
	if room := ln.all.cfg.Hub.Loaded(op.channel); room != nil && ln.join(sub, op, room) {
		return
	}
	ln.opening[sub] = op
	ln.all.cfg.Hub.Open(op.channel, func(room *fanout.Room, err error) {
		ln.loop.Post(func() {
			if ln.opening[sub] != op {
				return // unsubscribed or gone meanwhile
			}
			delete(ln.opening, sub)
			if err != nil {
				ln.refuse(sub, op.session, op.ticket, schema.ErrInternal)
				return
			}
			if !ln.join(sub, op, room) {
				ln.openRoom(sub, op)
			}
		})
	})
}

// join makes the subscription a member and answers. It returns false when the
// room has been forgotten meanwhile.
func (ln *lane) join(sub *subscription, op *opening, room *fanout.Room) bool {
	s := op.session
	position, ok := ln.shard.Join(room, fanout.FormOf(s.codec(), s.conn.Deflate()), &sub.Member, s)
	switch {
	case !ok:
		return false
	case op.req.Recover:
		ln.recover(sub, op, room, position)
	default:
		ln.subscribed(sub, s, op.ticket, op.rules, &protocol.SubscribeResult{Offset: position})
	}
	return true
}

// subscribed answers a subscribe with what all answers have in common filled
// in.
func (ln *lane) subscribed(sub *subscription, s *session, t ticket, rules *channels.Options, r *protocol.SubscribeResult) {
	w, ok := ln.waits.take(t)
	if !ok {
		s.drop(sub) // the client has been told that it failed
		return
	}
	r.Recoverable, r.Positioned, r.Epoch = rules.Recovery, !rules.Ephemeral, ln.all.cfg.Epoch
	ln.reply(s, &protocol.Reply{Id: w.id, Subscribe: r})
}

// refuse ends an attempt to subscribe.
func (ln *lane) refuse(sub *subscription, s *session, t ticket, err error) {
	s.drop(sub)
	if w, ok := ln.waits.take(t); ok {
		ln.fail(s, w.id, err)
	}
}

// cancel ends a subscription, and the attempt at one.
func (ln *lane) cancel(sub *subscription) {
	meanwhile := schema.ErrBadRequest.Because("unsubscribed meanwhile")
	if op := ln.opening[sub]; op != nil {
		ln.refuse(sub, op.session, op.ticket, meanwhile)
	} else if cu := ln.catching[sub]; cu != nil {
		ln.refuse(sub, cu.session, cu.ticket, meanwhile) // says nothing if it was answered
	} else if s, ok := sub.Peer().(*session); ok {
		s.drop(sub)
	}
}

func (s *session) unsubscribe(id uint32, req *protocol.UnsubscribeRequest) {
	if err := schema.CheckChannel(req.Channel); err != nil {
		s.lane().fail(s, id, err)
		return
	}
	if sub := s.find(req.Channel); sub != nil {
		s.lane().cancel(sub)
	}
	s.lane().reply(s, &protocol.Reply{Id: id, Unsubscribe: &protocol.UnsubscribeResult{}})
}
