package sessions

import (
	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// opening is an attempt to subscribe, until it is answered. While the room is
// read from the store it is in its lane's opening.
type opening struct {
	session *session
	channel string
	rules   *channels.Options
	req     *protocol.SubscribeRequest

	// Whom the answer is for: a subscribe command, a connect whose token asks
	// for the channel, or nobody, when the server API has asked: the client
	// then gets a push.
	ticket  ticket
	connect *connecting
	push    bool
}

const flagRejectUnrecovered = 1 << 1 // of SubscribeRequest.Flag

func (s *session) subscribe(id uint32, req *protocol.SubscribeRequest) {
	rules, grant, err := s.checkSubscribe(req)
	if err != nil {
		s.lane().fail(s, id, err)
		return
	}
	sub := &subscription{next: s.subs}
	s.subs = sub
	s.channels++
	if grant != nil {
		s.lane().grants[sub] = grant
	}
	s.lane().openRoom(sub, &opening{
		session: s, channel: req.Channel, rules: rules, req: req, ticket: s.lane().await(s, id),
	})
}

func (s *session) checkSubscribe(req *protocol.SubscribeRequest) (rules *channels.Options, g *grant, err error) {
	if req.Type != 0 {
		return nil, nil, schema.ErrNotAvailable.Because("only stream subscriptions are supported")
	}
	if req.Tf != nil {
		return nil, nil, schema.ErrBadRequest.Because("tag filters are not supported")
	}
	if req.Token != "" {
		g, rules, err = s.granted(req)
	} else {
		rules, err = s.authorize(channels.Subscribe, req.Channel)
	}
	if err != nil {
		return nil, nil, err
	}
	if sub := s.find(req.Channel); sub != nil {
		if !s.lane().tooLate(sub) {
			return nil, nil, schema.ErrAlreadySubscribed
		}
		s.drop(sub)
	}
	if int(s.channels) >= s.lane().all.cfg.Channels {
		return nil, nil, schema.ErrLimitExceeded.Because("too many subscriptions")
	}
	return rules, g, nil
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
	op := ln.opening[sub]
	if cu := ln.catching[sub]; cu != nil && !cu.answered {
		op = cu.op
	}
	return op != nil && !op.push && op.connect == nil && !ln.waits.open(op.ticket)
}

// drop forgets a subscription, in whatever state it is.
func (s *session) drop(sub *subscription) {
	if room := sub.Room(); room != nil {
		sub.Leave()
		s.left(room)
	}
	delete(s.lane().opening, sub)
	delete(s.lane().catching, sub)
	delete(s.lane().grants, sub)
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
				ln.refuse(sub, op, schema.ErrInternal)
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
	form := fanout.FormOf(s.codec(), s.conn.Deflate())
	if s.toBeAnnounced(sub, op) {
		form = form.WithAnnouncements()
	}
	position, ok := ln.shard.Join(room, form, &sub.Member, s)
	if !ok {
		return false
	}
	s.joined(room)
	if op.req.Recover {
		ln.recover(sub, op, room, position)
	} else {
		if op.connect != nil {
			sub.Pause() // until the connect is answered
		}
		ln.subscribed(sub, op, &protocol.SubscribeResult{Offset: position})
	}
	return true
}

// subscribed answers an attempt that has succeeded, with what all answers have
// in common filled in.
func (ln *lane) subscribed(sub *subscription, op *opening, r *protocol.SubscribeResult) {
	s := op.session
	r.Recoverable, r.Positioned, r.Epoch = op.rules.Recovery, !op.rules.Ephemeral, sub.Epoch()
	if g := ln.grants[sub]; g != nil && g.expires > 0 {
		r.Expires, r.Ttl = true, ttl(g.expires, ln.loop.Now())
	}
	switch {
	case op.connect != nil:
		op.connect.joined(op.channel, r)
		return
	case op.push:
		ln.reply(s, &protocol.Reply{Push: &protocol.Push{Channel: op.channel, Subscribe: &protocol.Subscribe{
			Recoverable: r.Recoverable, Positioned: r.Positioned, Epoch: r.Epoch, Offset: r.Offset,
		}}})
	default:
		w, ok := ln.waits.take(op.ticket)
		if !ok {
			s.drop(sub) // the client has been told that it failed
			return
		}
		ln.reply(s, &protocol.Reply{Id: w.id, Subscribe: r})
	}
	s.announce(op.rules, op.channel, schema.Codec.AppendJoin)
}

// refuse ends an attempt to subscribe.
func (ln *lane) refuse(sub *subscription, op *opening, err error) {
	op.session.drop(sub)
	if op.connect != nil {
		op.connect.joined(op.channel, nil)
	} else if op.push {
		return // the API's reply does not wait for it
	} else if w, ok := ln.waits.take(op.ticket); ok {
		ln.fail(op.session, w.id, err)
	}
}

// announce tells a channel's members that this client has come or gone, those
// of them that the channel's rules name.
func (s *session) announce(rules *channels.Options, channel string, push func(schema.Codec, []byte, string, *protocol.ClientInfo) []byte) {
	deliver := s.lane().all.cfg.Relay.Announce
	switch rules.JoinLeave {
	case channels.ToNobody:
		return
	case channels.ToAll:
		deliver = s.lane().all.cfg.Relay.Event
	}
	deliver(channel, func(b []byte, c schema.Codec) []byte { return push(c, b, channel, s.clientInfo()) })
}

// leave ends a subscription for good: the others are told, where they are to
// be.
func (s *session) leave(sub *subscription) {
	room := sub.Room()
	s.drop(sub)
	if room == nil {
		return // it was too slow, or never in
	}
	s.announceLeave(room)
}

func (s *session) announceLeave(room *fanout.Room) {
	if rules, err := s.lane().all.cfg.Policy.Of(room.Name()); err == nil {
		s.announce(rules, room.Name(), schema.Codec.AppendLeave)
	}
}

// lost ends the membership of a session that is about to be closed, which its
// subscription will not know of any more.
func (s *session) lost(room *fanout.Room) {
	s.left(room)
	s.announceLeave(room)
}

// cancel ends a subscription, or the attempt at one.
func (ln *lane) cancel(s *session, sub *subscription) {
	meanwhile := schema.ErrBadRequest.Because("unsubscribed meanwhile")
	if op := ln.opening[sub]; op != nil {
		ln.refuse(sub, op, meanwhile)
	} else if cu := ln.catching[sub]; cu != nil && !cu.answered {
		ln.refuse(sub, cu.op, meanwhile)
	} else {
		s.leave(sub)
	}
}

func (s *session) unsubscribe(id uint32, req *protocol.UnsubscribeRequest) {
	if err := schema.CheckChannel(req.Channel); err != nil {
		s.lane().fail(s, id, err)
		return
	}
	if sub := s.find(req.Channel); sub != nil {
		s.lane().cancel(s, sub)
	}
	s.lane().reply(s, &protocol.Reply{Id: id, Unsubscribe: &protocol.UnsubscribeResult{}})
}
