package sessions

import (
	"strings"
	"sync"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/auth"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// Target is whom an order is for: all sessions of a user, or one of them.
type Target struct {
	User   string // compared with what clients see as the user, guests' names included
	Client string // one session; empty for all
}

func (s *session) is(t Target) bool {
	var user bool
	if name := s.name(); name != "" {
		user = name == t.User
	} else {
		// A guest's name is made of its id: only guests' names are compared.
		user = strings.HasPrefix(t.User, guestPrefix) && s.user() == t.User
	}
	return user && (t.Client == "" || t.Client == s.clientID())
}

// order runs f for the sessions of a target, on their loops, and returns when
// it has run. It goes through all sessions: orders are rare, and an index by
// user would cost every session. Never call it on a loop.
func (all *Sessions) order(t Target, f func(*session)) {
	all.onLanes(func(s *session) {
		if s.is(t) {
			f(s)
		}
	})
}

// onLanes runs f for all sessions, on their loops, and returns when it has.
func (all *Sessions) onLanes(f func(*session)) {
	var wg sync.WaitGroup
	for _, ln := range all.lanes {
		wg.Add(1)
		ln.loop.Post(func() {
			defer wg.Done()
			ln.each(f)
		})
	}
	wg.Wait()
}

// each calls f for the lane's connected sessions. On the loop only.
func (ln *lane) each(f func(*session)) {
	ln.loop.Each(func(c *netpoll.Conn) {
		if s, ok := c.Handler().(*session); ok && s.connected() {
			f(s)
		}
	})
}

// Disconnect closes the sessions of a target. What was queued for them before
// is still sent; nothing that is published afterwards is.
func (all *Sessions) Disconnect(t Target, c schema.Close) {
	all.order(t, func(s *session) { s.close(c) })
}

// Unsubscribe takes the sessions of a target out of a channel; an empty channel
// stands for all of theirs. They are told with code 2000, after which SDKs do
// not come back by themselves.
func (all *Sessions) Unsubscribe(t Target, channel string) {
	all.order(t, func(s *session) {
		for sub := s.subs; sub != nil; {
			next := sub.next
			if channel == "" || s.lane().channel(sub) == channel {
				s.evict(sub, schema.UnsubscribeServer, "server unsubscribe")
			}
			sub = next
		}
	})
}

// Recheck takes every session out of the channels that the rules, which have
// changed, do not let it into any more. Who was let in by a token or by the
// server stays. It returns when that is done.
func (all *Sessions) Recheck() {
	all.onLanes(func(s *session) {
		for sub := s.subs; sub != nil; {
			next := sub.next
			channel := s.lane().channel(sub)
			if _, err := s.authorize(channels.Subscribe, channel); err != nil {
				s.evict(sub, schema.UnsubscribeServer, "permission denied")
			} else if room := sub.Room(); room != nil {
				s.joined(room) // presence may have been off
			}
			sub = next
		}
	})
}

// Subscribe makes the sessions of a target members of a channel, as their
// token could have. Those who are already stay as they are.
func (all *Sessions) Subscribe(t Target, channel string) error {
	if err := schema.CheckChannel(channel); err != nil {
		return err
	}
	rules, err := all.cfg.Policy.Of(channel)
	if err != nil {
		return err
	}
	all.order(t, func(s *session) {
		ln := s.lane()
		if s.find(channel) != nil || int(s.channels) >= all.cfg.Channels || ln.connecting[s] != nil {
			return
		}
		sub := &subscription{next: s.subs}
		s.subs = sub
		s.channels++
		ln.grants[sub] = &grant{server: true, allow: auth.Subscribe}
		ln.openRoom(sub, &opening{session: s, channel: channel, rules: rules, req: &protocol.SubscribeRequest{}, push: true})
	})
	return nil
}

// Refresh changes when the sessions of a target expire: a Unix time, 0 for
// never.
func (all *Sessions) Refresh(t Target, expires int64) {
	all.order(t, func(s *session) {
		if s.flags&flagToken == 0 {
			return // a guest has no token that could expire
		}
		s.who.expires = expires
		r := &protocol.Refresh{}
		if expires > 0 {
			r.Expires, r.Ttl = true, ttl(expires, s.lane().loop.Now())
		}
		s.lane().reply(s, &protocol.Reply{Push: &protocol.Push{Refresh: r}})
	})
}
