package api

import (
	"context"
	"encoding/json"

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
	found, err := a.cfg.Sessions.Presence(ctx, p.Channel)
	if err != nil {
		return done(nil, err)
	}
	list := make(map[string]client, len(found))
	for id, c := range found {
		list[id] = client{c.User, c.Client, json.RawMessage(c.ConnInfo)}
	}
	return done(present{list}, nil)
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
	clients, users, err := a.cfg.Sessions.PresenceStats(ctx, p.Channel)
	return done(presenceCounts{clients, users}, err)
}
