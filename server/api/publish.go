package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// publish sends a message to a channel. It may have any type, also those that
// clients' plain publishes are refused: moderation comes from back ends.
type publish struct {
	Channel string `json:"channel"`
	publication
}

// publication is what is published.
type publication struct {
	Data        json.RawMessage `json:"data"`
	Key         string          `json:"idempotency_key"`
	SkipHistory bool            `json:"skip_history"` // delivered at once and not kept
	Binary      string          `json:"b64data"`      // refused
}

// published tells where a message stands; both are left out of what is not
// kept.
type published struct {
	Offset uint64 `json:"offset,omitempty"`
	Epoch  string `json:"epoch,omitempty"`
}

func (p *publish) run(ctx context.Context, a *API) pending {
	data, err := a.check(&p.publication)
	if err != nil {
		return done(nil, err)
	}
	return a.publish(ctx, p.Channel, &p.publication, data)
}

// check returns the data to be published.
func (a *API) check(p *publication) ([]byte, error) {
	switch {
	case p.Binary != "":
		return nil, schema.ErrNotAvailable.Because("b64data is not supported: data is a JSON value")
	case len(p.Data) > a.cfg.MaxData:
		return nil, schema.ErrLimitExceeded.Because(fmt.Sprintf("data has %d bytes, at most %d are allowed", len(p.Data), a.cfg.MaxData))
	case len(p.Key) > schema.MaxKeyLen:
		return nil, schema.ErrLimitExceeded.Because("idempotency_key is longer than 255 bytes")
	}
	return schema.CheckData(p.Data)
}

// publish hands a message to the relay at once, and waits in the pending: the
// messages of a batch or a broadcast share the store's commits.
func (a *API) publish(ctx context.Context, channel string, p *publication, data []byte) pending {
	if err := ctx.Err(); err != nil {
		return done(nil, err)
	}
	if err := a.authorize(channels.Publish, channel); err != nil {
		return done(nil, err)
	}
	rules, err := a.cfg.Policy.Of(channel)
	if err != nil {
		return done(nil, err)
	}
	m := &schema.Message{Room: channel, Key: p.Key, Data: data}
	if rules.Ephemeral || p.SkipHistory {
		a.cfg.Relay.Event(channel, func(b []byte, c schema.Codec) []byte {
			var e schema.Encoder
			return e.AppendPush(b, c, m)
		})
		return done(published{}, nil)
	}
	stored := make(chan error, 1)
	if err := a.cfg.Relay.Publish(m, func(err error) { stored <- err }); err != nil {
		return done(nil, fanout.Refusal(err))
	}
	return func() (any, error) {
		select {
		case err := <-stored:
			var before fanout.Duplicate
			switch {
			case errors.As(err, &before): // sent before with this key: the answer is the same
				return published{before.Offset, a.epoch(channel)}, nil
			case err != nil:
				return nil, err
			}
			return published{m.Offset, a.epoch(channel)}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// epoch names the history of a channel, if it is in memory: this node may know
// nothing of a channel but what it has sent there.
func (a *API) epoch(channel string) string {
	room := a.cfg.Hub.Loaded(channel)
	if room == nil {
		return ""
	}
	epoch, _ := room.End()
	return epoch
}

// broadcast sends a message to many channels.
type broadcast struct {
	Channels []channelName `json:"channels"`
	publication
}

// responses are those of the channels, in their order.
type responses struct {
	Responses []reply `json:"responses"`
}

func (b *broadcast) run(ctx context.Context, a *API) pending {
	switch {
	case len(b.Channels) == 0:
		return done(nil, schema.ErrBadRequest.Because("channels is empty"))
	case len(b.Channels) > maxMany:
		return done(nil, schema.ErrLimitExceeded.Because("more than 1000 channels"))
	}
	data, err := a.check(&b.publication)
	if err != nil {
		return done(nil, err)
	}
	waiting := make([]pending, len(b.Channels))
	for i, channel := range b.Channels {
		waiting[i] = a.publish(ctx, string(channel), &b.publication, data)
	}
	return func() (any, error) {
		r := responses{make([]reply, len(waiting))}
		for i, p := range waiting {
			r.Responses[i] = a.reply(p())
		}
		return r, nil
	}
}
