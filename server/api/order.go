package api

import (
	"context"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
	"github.com/hubbub-chat/hubbub/server/sessions"
)

// target is whose sessions an order is for: a user's, or one of them.
type target struct {
	User      string          `json:"user"`
	Client    string          `json:"client"`
	Session   string          `json:"session"`   // refused
	Whitelist json.RawMessage `json:"whitelist"` // refused
}

func (t *target) check() error {
	switch whitelist := strings.TrimSpace(string(t.Whitelist)); {
	case t.User == "":
		return schema.ErrBadRequest.Because("user is empty")
	case len(t.User) > maxUser || len(t.Client) > maxUser:
		return schema.ErrBadRequest.Because("user or client is longer than 255 bytes")
	case t.Session != "":
		return schema.ErrNotAvailable.Because("session is not supported: name a client")
	case whitelist != "" && whitelist != "null" && whitelist != "[]":
		return schema.ErrNotAvailable.Because("whitelist is not supported: name a client")
	}
	return nil
}

// order makes an order of a target.
func (t *target) order(do sessions.Deed) sessions.Order {
	return sessions.Order{Do: do, User: t.User, Client: t.Client}
}

// order gives an order to all nodes and waits until they have carried it out.
func (a *API) order(ctx context.Context, o sessions.Order) pending {
	return done(empty{}, a.cfg.Cluster.Order(ctx, o))
}

// subscribe makes a user's sessions members of a channel.
type subscribe struct {
	Channel string `json:"channel"`
	target
}

func (s *subscribe) run(ctx context.Context, a *API) pending {
	if err := s.check(); err != nil {
		return done(nil, err)
	}
	if err := a.authorize(channels.Subscribe, s.Channel); err != nil {
		return done(nil, err)
	}
	o := s.order(sessions.DoSubscribe)
	o.Channel = s.Channel
	return a.order(ctx, o)
}

// unsubscribe takes a user's sessions out of a channel. An empty channel is
// refused: it is more often forgotten than meant as all of them.
type unsubscribe struct {
	Channel string `json:"channel"`
	target
}

func (u *unsubscribe) run(ctx context.Context, a *API) pending {
	if err := u.check(); err != nil {
		return done(nil, err)
	}
	if err := a.authorize(channels.Subscribe, u.Channel); err != nil {
		return done(nil, err)
	}
	o := u.order(sessions.DoUnsubscribe)
	o.Channel = u.Channel
	return a.order(ctx, o)
}

// closing is the order to close a target's sessions.
func (t *target) closing(cl schema.Close) sessions.Order {
	o := t.order(sessions.DoDisconnect)
	o.Code, o.Reason = cl.Code, cl.Reason
	return o
}

// disconnect closes a user's sessions.
type disconnect struct {
	target
	Disconnect *closing `json:"disconnect"`
}

// closing is the close that clients get to see.
type closing struct {
	Code   int64  `json:"code"`
	Reason string `json:"reason"`
}

// maxReason is what fits a close frame, in bytes (RFC 6455, 5.5).
const maxReason = 123

// close returns the close, that which keeps SDKs away where nothing else is
// asked for.
func (c *closing) close() (schema.Close, error) {
	cl := schema.CloseForceNoReconnect
	if c == nil {
		return cl, nil
	}
	if c.Code != 0 {
		if c.Code < 3000 || c.Code > 4999 {
			return cl, schema.ErrBadRequest.Because("the code of a disconnect is between 3000 and 4999")
		}
		cl = schema.Close{Code: uint16(c.Code), Reason: "disconnected by the server"}
	}
	if c.Reason != "" {
		if len(c.Reason) > maxReason || !utf8.ValidString(c.Reason) {
			return cl, schema.ErrBadRequest.Because("the reason of a disconnect is longer than 123 bytes")
		}
		if json.Valid([]byte(c.Reason)) { // the JavaScript SDK would read codes out of it
			return cl, schema.ErrBadRequest.Because("the reason of a disconnect looks like JSON")
		}
		cl.Reason = c.Reason
	}
	return cl, nil
}

func (d *disconnect) run(ctx context.Context, a *API) pending {
	if err := d.check(); err != nil {
		return done(nil, err)
	}
	cl, err := d.Disconnect.close()
	if err != nil {
		return done(nil, err)
	}
	return a.order(ctx, d.closing(cl))
}

// blockUser keeps a user out whose token is still good, and closes the sessions
// it has. The name is that of Centrifugo PRO.
type blockUser struct {
	User     string `json:"user"`
	ExpireAt int64  `json:"expire_at"` // Unix seconds, 0 for no end
}

func (b *blockUser) run(ctx context.Context, a *API) pending {
	if err := (&target{User: b.User}).check(); err != nil {
		return done(nil, err)
	}
	until, err := untilTime(b.ExpireAt)
	if err != nil {
		return done(nil, err)
	}
	// First where it lasts: a node that starts meanwhile reads it there.
	if err := a.cfg.Blocked.Block(ctx, b.User, until); err != nil {
		return done(nil, err)
	}
	return a.order(ctx, sessions.Order{Do: sessions.DoBlock, User: b.User, Until: until})
}

// unblockUser lets a user in again.
type unblockUser struct {
	User string `json:"user"`
}

func (u *unblockUser) run(ctx context.Context, a *API) pending {
	if err := (&target{User: u.User}).check(); err != nil {
		return done(nil, err)
	}
	if err := a.cfg.Blocked.Unblock(ctx, u.User); err != nil {
		return done(nil, err)
	}
	return a.order(ctx, sessions.Order{Do: sessions.DoUnblock, User: u.User})
}

// maxTime is auth's: the latest time that is told apart from never.
const maxTime = 1 << 53

// untilTime takes the times that a token's exp may have: what is far ahead, or in
// milliseconds, lasts for as long as it says, and what is later than maxTime to there.
func untilTime(expireAt int64) (int64, error) {
	if expireAt < 0 {
		return 0, schema.ErrBadRequest.Because("expire_at is not a time in Unix seconds")
	}
	return min(expireAt, maxTime), nil
}

// refresh changes when a user's sessions expire. Those that have are closed:
// SDKs come back with a new token.
type refresh struct {
	target
	Expired  bool  `json:"expired"`
	ExpireAt int64 `json:"expire_at"` // Unix seconds, 0 for never
}

func (r *refresh) run(ctx context.Context, a *API) pending {
	if err := r.check(); err != nil {
		return done(nil, err)
	}
	until, err := untilTime(r.ExpireAt)
	if err != nil {
		return done(nil, err)
	}
	if r.Expired {
		return a.order(ctx, r.closing(schema.CloseExpired))
	}
	o := r.order(sessions.DoRefresh)
	o.Until = until
	return a.order(ctx, o)
}

// rpc calls a method of the server's own, of which there is none yet.
type rpc struct {
	Method string `json:"method"`
}

func (r *rpc) run(context.Context, *API) pending {
	if r.Method == "" || len(r.Method) > maxUser {
		return done(nil, schema.ErrBadRequest.Because("method is empty or longer than 255 bytes"))
	}
	return done(nil, schema.ErrNotAvailable.Because("no such rpc method"))
}
