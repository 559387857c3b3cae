package api

import (
	"context"
	"encoding/json"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// presence lists who is in a channel.
type presence struct {
	Channel string `json:"channel"`
}

// present is the members, by client.
type present struct {
	Presence map[string]client `json:"presence"`
}

// client is what is known of one session.
type client struct {
	User   string          `json:"user"`
	Client string          `json:"client"`
	Info   json.RawMessage `json:"conn_info,omitempty"`
}

func (p *presence) run(ctx context.Context, a *API) pending {
	if err := a.authorize(channels.Presence, p.Channel); err != nil {
		return done(nil, err)
	}
	list, err := within(ctx, func() map[string]client {
		found, complete := a.cfg.Sessions.Presence(p.Channel)
		if !complete {
			return nil
		}
		list := make(map[string]client, len(found))
		for id, c := range found {
			list[id] = client{c.User, c.Client, json.RawMessage(c.ConnInfo)}
		}
		return list
	})
	if err == nil && list == nil {
		err = schema.ErrLimitExceeded.Because("too many members to list; ask for presence_stats")
	}
	return done(present{list}, err)
}

// presenceStats counts who is in a channel.
type presenceStats struct {
	Channel string `json:"channel"`
}

type presenceCounts struct {
	Clients int `json:"num_clients"`
	Users   int `json:"num_users"`
}

func (p *presenceStats) run(ctx context.Context, a *API) pending {
	if err := a.authorize(channels.Presence, p.Channel); err != nil {
		return done(nil, err)
	}
	return done(within(ctx, func() any {
		var n presenceCounts
		n.Clients, n.Users = a.cfg.Sessions.PresenceStats(p.Channel)
		return n
	}))
}
