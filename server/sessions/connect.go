package sessions

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/auth"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// maxGuestName is how much of the name a guest gives itself is kept, in runes.
const maxGuestName = 64

func (s *session) connect(id uint32, req *protocol.ConnectRequest) {
	if s.connected() {
		s.depart(schema.CloseBadRequest)
		return
	}
	who, subscribe, err := s.identify(req)
	if err != nil {
		s.notConnected(id, err)
		return
	}
	s.who = who
	s.flags |= flagConnected
	s.lane().all.connected.Add(1)
	s.schedulePing()
	if len(subscribe) == 0 {
		s.welcome(id, nil)
		return
	}
	s.joinAll(id, subscribe, req.Subs)
}

// identify finds out who connects, and the channels that the token subscribes
// it to.
func (s *session) identify(req *protocol.ConnectRequest) (*identity, []string, error) {
	cfg := &s.lane().all.cfg
	if req.Token == "" {
		if !cfg.Guests {
			return nil, nil, schema.ErrUnauthorized
		}
		return guest(req.Data), nil, nil
	}
	if cfg.Tokens == nil {
		return nil, nil, auth.NoTokens
	}
	claims, err := cfg.Tokens.Connect(req.Token, s.lane().loop.Now())
	if err != nil {
		return nil, nil, err
	}
	s.flags |= flagToken
	who := &identity{said: say(claims.Info, claims.Caps), expires: claims.Expires}
	if claims.User != "" {
		if s.lane().all.blocked.has(claims.User, s.lane().loop.Now()) {
			return nil, nil, schema.ErrPermissionDenied
		}
		if who.user = cfg.Users.Enter(claims.User); who.user == nil {
			return nil, nil, errConnections
		}
	}
	return who, claims.Channels, nil
}

// errConnections: the user has as many connections as it may.
var errConnections = errors.New("too many connections of a user")

// notConnected answers a connect that failed, and closes: nothing is answered
// after it. SDKs fetch a new token after 109 and try temporary errors again,
// so these closes let them come back.
func (s *session) notConnected(id uint32, err error) {
	switch {
	case errors.Is(err, auth.ErrExpired):
		s.lane().fail(s, id, schema.ErrTokenExpired)
		s.close(schema.CloseConnectionClosed)
	case errors.Is(err, auth.ErrUnavailable):
		s.lane().fail(s, id, schema.ErrInternal)
		s.close(schema.CloseConnectionClosed)
	case errors.Is(err, auth.ErrInvalid):
		s.close(invalidToken(auth.Reason(err)))
	case errors.Is(err, schema.ErrPermissionDenied):
		s.close(schema.ClosePermissionDenied)
	case errors.Is(err, errConnections):
		s.close(schema.CloseConnectionLimit)
	default:
		s.lane().fail(s, id, err)
		s.close(schema.Close{Code: schema.CloseInvalidToken.Code, Reason: schema.ErrUnauthorized.Message})
	}
}

// schedulePing puts the first ping somewhere into the second half of the
// interval, so that clients that came together are not pinged together for
// ever.
func (s *session) schedulePing() {
	interval := uint32(s.lane().all.cfg.Ping / time.Second)
	s.pingAt = at(s.lane().loop.Second() + interval - uint32(s.id%uint64(interval/2+1)))
}

// welcome answers a connect.
func (s *session) welcome(id uint32, subs map[string]*protocol.SubscribeResult) {
	cfg := &s.lane().all.cfg
	r := &protocol.ConnectResult{
		Client:  s.clientID(),
		Version: cfg.Version,
		Subs:    subs,
		Ping:    uint32(cfg.Ping / time.Second),
		Pong:    s.flags&flagFramePing == 0,
	}
	if s.who != nil && s.who.expires > 0 {
		r.Expires, r.Ttl = true, ttl(s.who.expires, s.lane().loop.Now())
	}
	s.lane().reply(s, &protocol.Reply{Id: id, Connect: r})
}

// guest takes the display name out of what a guest sent with its connect:
// {"name": "..."}. Everything else in it is ignored.
func guest(data []byte) *identity {
	if len(data) == 0 {
		return nil
	}
	var said struct{ Name string }
	if json.Unmarshal(data, &said) != nil {
		return nil
	}
	name := strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, said.Name))
	if runes := []rune(name); len(runes) > maxGuestName {
		name = string(runes[:maxGuestName])
	}
	if name == "" {
		return nil
	}
	info, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		return nil // a string always encodes
	}
	return &identity{said: say(info, nil)}
}

// connecting is a connect whose token names channels: it is answered when all
// of them are joined, and the commands behind it wait.
type connecting struct {
	session *session
	id      uint32
	left    int // channels that have neither joined nor failed
	subs    map[string]*protocol.SubscribeResult
	behind  [][]byte // frames that have come meanwhile
	bytes   int
}

// maxBehind bounds what waits behind a connect, in bytes.
const maxBehind = 64 << 10

// joinAll subscribes a new session to the channels of its token. What the
// client says of its positions lets it recover.
func (s *session) joinAll(id uint32, names []string, positions map[string]*protocol.SubscribeRequest) {
	ln := s.lane()
	names = names[:min(len(names), ln.all.cfg.Channels)]
	c := &connecting{session: s, id: id, left: len(names), subs: make(map[string]*protocol.SubscribeResult)}
	ln.connecting[s] = c
	for _, name := range names {
		rules, err := ln.all.cfg.Policy.Of(name)
		if err != nil || schema.CheckChannel(name) != nil || channels.CheckOrder(name) != nil {
			c.joined(name, nil)
			continue
		}
		req := positions[name]
		if req == nil {
			req = &protocol.SubscribeRequest{}
		}
		sub := &subscription{next: s.subs}
		s.subs = sub
		s.channels++
		ln.grants[sub] = &grant{server: true, allow: auth.Subscribe}
		ln.openRoom(sub, &opening{session: s, channel: name, rules: rules, req: req, connect: c})
	}
}

// joined takes the result of one channel, nil when it could not be joined.
func (c *connecting) joined(channel string, r *protocol.SubscribeResult) {
	if r != nil {
		c.subs[channel] = r
	}
	if c.left--; c.left > 0 {
		return
	}
	s := c.session
	ln := s.lane()
	delete(ln.connecting, s)
	s.welcome(c.id, c.subs)
	ln.waits.departing.change(s, 0)
	for sub := s.subs; sub != nil; sub = sub.next {
		if _, live := sub.Resume(); !live {
			s.close(schema.CloseInsufficientState) // it recovers when it comes back
			return
		}
	}
	for name := range c.subs {
		if rules, err := s.lane().all.cfg.Policy.Of(name); err == nil {
			s.announce(rules, name, schema.Codec.AppendJoin)
		}
	}
	if len(c.behind) > 0 {
		behind, conn := c.behind, s.conn
		ln.replaying[s] = true
		ln.loop.Post(func() { // not from within what may be a frame's handling
			delete(ln.replaying, s)
			for _, frame := range behind {
				s.Message(conn, s.codec().Binary(), frame)
			}
			ln.waits.departing.change(s, 0)
		})
	}
}

// evicted takes a channel out of the connect's answer.
func (c *connecting) evicted(sub *subscription, channel string) {
	if c.subs[channel] == nil {
		c.session.lane().cancel(c.session, sub) // it counts as one that could not be joined
		return
	}
	delete(c.subs, channel)
	c.session.drop(sub) // without a leave: nobody was told that it came
}

// later keeps what came behind the connect.
func (c *connecting) later(frame []byte) {
	if len(frame) == 0 {
		return
	}
	if c.bytes += len(frame); c.bytes > maxBehind {
		c.session.close(schema.CloseTooManyRequests)
		return
	}
	c.behind = append(c.behind, bytes.Clone(frame))
}
