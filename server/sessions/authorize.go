package sessions

import (
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// authorize is the way of every command to the policy: it checks the name,
// asks whether this client may do that in the channel, and returns the
// channel's rules.
func (s *session) authorize(a channels.Action, channel string) (*channels.Options, error) {
	if err := schema.CheckChannel(channel); err != nil {
		return nil, err
	}
	sub := s.find(channel)
	return s.decide(a, channel, sub, sub != nil && sub.Room() != nil)
}

// toBeAnnounced reports whether a client that is about to join gets
// announcements: it has asked for them, and may ask who is there.
func (s *session) toBeAnnounced(sub *subscription, op *opening) bool {
	if !op.req.JoinLeave {
		return false
	}
	_, err := s.decide(channels.Presence, op.channel, sub, true)
	return err == nil
}

// decide asks the policy, with what the subscription to the channel allows, if
// there is one.
func (s *session) decide(a channels.Action, channel string, sub *subscription, subscribed bool) (*channels.Options, error) {
	ln := s.lane()
	policy := ln.all.cfg.Policy
	c := channels.Caller{User: s.name(), Subscribed: subscribed}
	var g *grant
	if sub != nil {
		g = ln.grants[sub]
	}
	if caps := s.caps(); g != nil || caps != nil {
		c.Grants = func(channel string, a channels.Action) bool {
			return g != nil && g.allow&actions[a] != 0 || caps.Allows(channel, actions[a])
		}
	}
	if err := policy.Authorize(c, a, channel); err != nil {
		return nil, err
	}
	return policy.Of(channel)
}
