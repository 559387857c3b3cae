package sessions

import (
	"errors"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/auth"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// grant is what a subscription has beside what everybody has: from its token,
// or because the server made it.
type grant struct {
	allow   auth.Action
	expires int64 // Unix seconds, 0 for never
	server  bool  // made by the server, not by a subscribe command
}

// expiryGrace is how long after its exp a token is still good: SDKs refresh at
// the ttl, not before.
const expiryGrace = 25 * time.Second

// maxTTL is the longest ttl that clients are told, in seconds: a year. What
// expires later (a token whose exp is in milliseconds says the year 58,000) is
// good for as long as it says; its client only asks for another one earlier.
const maxTTL = 365 * 24 * 60 * 60

// ttl is the time until a token expires in seconds, as every answer and push
// that has one says it: at least 1, at most maxTTL.
func ttl(expires int64, now time.Time) uint32 {
	return uint32(max(1, min(expires-now.Unix(), maxTTL)))
}

// actions are auth's names of channels' actions.
var actions = [channels.NumActions]auth.Action{
	channels.Subscribe: auth.Subscribe,
	channels.Publish:   auth.Publish,
	channels.History:   auth.History,
	channels.Presence:  auth.Presence,
}

// verify verifies a subscription token for this session and maps what is
// wrong with it.
func (s *session) verify(token string) (auth.SubClaims, error) {
	cfg := &s.lane().all.cfg
	if cfg.Tokens == nil {
		return auth.SubClaims{}, schema.ErrPermissionDenied.Because("permission denied: " + string(auth.NoTokens))
	}
	claims, err := cfg.Tokens.Subscribe(token, s.lane().loop.Now())
	switch {
	case errors.Is(err, auth.ErrExpired):
		return claims, schema.ErrTokenExpired
	case errors.Is(err, auth.ErrUnavailable):
		return claims, schema.ErrInternal
	case err != nil:
		return claims, schema.ErrPermissionDenied.Because("permission denied: invalid token: " + auth.Reason(err))
	case claims.User != s.name(): // both empty: an anonymous user's token, and a client without a name
		return claims, schema.ErrPermissionDenied.Because("permission denied: the token is another user's (sub)")
	}
	return claims, nil
}

// granted checks a subscribe that brings a token.
func (s *session) granted(req *protocol.SubscribeRequest) (*grant, *channels.Options, error) {
	if err := schema.CheckChannel(req.Channel); err != nil {
		return nil, nil, err
	}
	if err := channels.CheckOrder(req.Channel); err != nil {
		return nil, nil, err
	}
	rules, err := s.lane().all.cfg.Policy.Of(req.Channel)
	if err != nil {
		return nil, nil, err
	}
	claims, err := s.verify(req.Token)
	if err != nil {
		return nil, nil, err
	}
	if claims.Channel != req.Channel || channels.Direct(req.Channel) {
		return nil, nil, schema.ErrPermissionDenied
	}
	return &grant{allow: claims.Allow, expires: claims.Expires}, rules, nil
}

// invalidToken is the close of a client whose token is not taken, with why.
func invalidToken(reason string) schema.Close {
	c := schema.CloseInvalidToken
	if reason != "" {
		c.Reason += ": " + reason
	}
	return c
}

// refresh gives a session the time, and the rights, of a new token.
func (s *session) refresh(id uint32, token string) {
	cfg := &s.lane().all.cfg
	if cfg.Tokens == nil || s.flags&flagToken == 0 {
		s.lane().fail(s, id, schema.ErrNotAvailable.Because("a guest has nothing to refresh"))
		return
	}
	claims, err := cfg.Tokens.Connect(token, s.lane().loop.Now())
	switch {
	case errors.Is(err, auth.ErrExpired):
		s.close(schema.CloseExpired)
		return
	case errors.Is(err, auth.ErrUnavailable):
		s.lane().fail(s, id, schema.ErrInternal)
		return
	case err != nil:
		s.close(invalidToken(auth.Reason(err)))
		return
	case claims.User != s.name():
		s.close(invalidToken("it is another user's (sub)"))
		return
	}
	s.who.said, s.who.expires = say(claims.Info, claims.Caps), claims.Expires
	r := &protocol.RefreshResult{Client: s.clientID(), Version: cfg.Version}
	if claims.Expires > 0 {
		r.Expires, r.Ttl = true, ttl(claims.Expires, s.lane().loop.Now())
	}
	s.lane().reply(s, &protocol.Reply{Id: id, Refresh: r})
}

// subRefresh gives a subscription the time of a new token. A Python SDK leaves
// the channel out; the token's is then meant.
func (s *session) subRefresh(id uint32, req *protocol.SubRefreshRequest) {
	ln := s.lane()
	if req.Type != 0 {
		ln.fail(s, id, schema.ErrNotAvailable)
		return
	}
	claims, err := s.verify(req.Token)
	if err != nil {
		ln.fail(s, id, err)
		return
	}
	sub := s.find(claims.Channel)
	if sub == nil || req.Channel != "" && req.Channel != claims.Channel {
		ln.fail(s, id, schema.ErrPermissionDenied)
		return
	}
	ln.grants[sub] = &grant{allow: claims.Allow, expires: claims.Expires}
	r := &protocol.SubRefreshResult{}
	if claims.Expires > 0 {
		r.Expires, r.Ttl = true, ttl(claims.Expires, ln.loop.Now())
	}
	ln.reply(s, &protocol.Reply{Id: id, SubRefresh: r})
}

// expire ends what tokens no longer allow. It comes once a second; a guest
// without subscription tokens costs two comparisons.
func (s *session) expire(now time.Time) {
	if s.who != nil && s.who.expires > 0 && now.After(time.Unix(s.who.expires, 0).Add(expiryGrace)) {
		s.close(schema.CloseExpired)
		return
	}
	ln := s.lane()
	if len(ln.grants) == 0 {
		return
	}
	for sub := s.subs; sub != nil; {
		next := sub.next
		if g := ln.grants[sub]; g != nil && g.expires > 0 && now.After(time.Unix(g.expires, 0).Add(expiryGrace)) {
			s.evict(sub, schema.UnsubscribeExpired, "subscription expired")
		}
		sub = next
	}
}

// evict takes a client out of a channel and tells it. From a code of 2500 on
// SDKs subscribe again. A subscription the server made cannot be ended alone:
// then the connection is.
func (s *session) evict(sub *subscription, code uint32, reason string) {
	ln := s.lane()
	if g := ln.grants[sub]; g != nil && g.server && code == schema.UnsubscribeExpired {
		s.close(schema.CloseSubExpired)
		return
	}
	channel := ln.channel(sub)
	if c := ln.connecting[s]; c != nil {
		c.evicted(sub, channel) // the connect's reply will not name it: there is nobody to tell yet
		return
	}
	ln.cancel(s, sub)
	ln.reply(s, &protocol.Reply{Push: &protocol.Push{
		Channel: channel, Unsubscribe: &protocol.Unsubscribe{Code: code, Reason: reason},
	}})
}
