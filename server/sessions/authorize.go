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
	ln := s.lane()
	policy := ln.all.cfg.Policy
	c := channels.Caller{User: s.name()}
	var g *grant
	if sub := s.find(channel); sub != nil {
		c.Subscribed = sub.Room() != nil
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
