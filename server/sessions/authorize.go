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
	policy := s.lane().all.cfg.Policy
	c := channels.Caller{}
	if s.who != nil {
		c.User = s.who.user
	}
	if sub := s.find(channel); sub != nil {
		c.Subscribed = sub.Room() != nil
	}
	if err := policy.Authorize(c, a, channel); err != nil {
		return nil, err
	}
	return policy.Of(channel)
}
