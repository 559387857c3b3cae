package api

import (
	"context"
	"net/http"

	"github.com/hubbub-chat/hubbub/schema"
)

const batchMethod = "batch"

// batch is many requests. They take effect in order, also where parallel is
// asked for; neighbouring publishes wait for the store together.
type batch struct {
	Commands []command `json:"commands"`
}

// command is one of them: exactly one of its fields.
type command struct {
	Publish       *publish       `json:"publish"`
	Broadcast     *broadcast     `json:"broadcast"`
	Subscribe     *subscribe     `json:"subscribe"`
	Unsubscribe   *unsubscribe   `json:"unsubscribe"`
	Disconnect    *disconnect    `json:"disconnect"`
	Refresh       *refresh       `json:"refresh"`
	BlockUser     *blockUser     `json:"block_user"`
	UnblockUser   *unblockUser   `json:"unblock_user"`
	Presence      *presence      `json:"presence"`
	PresenceStats *presenceStats `json:"presence_stats"`
	History       *history       `json:"history"`
	Channels      *channelList   `json:"channels"`
	Info          *info          `json:"info"`
	RPC           *rpc           `json:"rpc"`
}

// request returns the command's method and request, nil when there is not
// exactly one.
func (c *command) request() (name string, req request) {
	n := 0
	is := func(there bool, method string, r request) {
		if there {
			n++
			name, req = method, r
		}
	}
	is(c.Publish != nil, "publish", c.Publish)
	is(c.Broadcast != nil, "broadcast", c.Broadcast)
	is(c.Subscribe != nil, "subscribe", c.Subscribe)
	is(c.Unsubscribe != nil, "unsubscribe", c.Unsubscribe)
	is(c.Disconnect != nil, "disconnect", c.Disconnect)
	is(c.Refresh != nil, "refresh", c.Refresh)
	is(c.BlockUser != nil, "block_user", c.BlockUser)
	is(c.UnblockUser != nil, "unblock_user", c.UnblockUser)
	is(c.Presence != nil, "presence", c.Presence)
	is(c.PresenceStats != nil, "presence_stats", c.PresenceStats)
	is(c.History != nil, "history", c.History)
	is(c.Channels != nil, "channels", c.Channels)
	is(c.Info != nil, "info", c.Info)
	is(c.RPC != nil, "rpc", c.RPC)
	if n != 1 {
		return "", nil
	}
	return name, req
}

// replies are the answers, each under its method's name, or "error".
type replies struct {
	Replies []map[string]any `json:"replies"`
}

// serveBatch answers a batch. One deadline is for all of it: commands that it
// does not reach are not run, and say so.
func (a *API) serveBatch(ctx context.Context, w http.ResponseWriter, b *batch) {
	switch {
	case len(b.Commands) == 0:
		write(w, http.StatusOK, a.reply(nil, schema.ErrBadRequest.Because("commands is empty")))
		return
	case len(b.Commands) > maxMany:
		write(w, http.StatusOK, a.reply(nil, schema.ErrLimitExceeded.Because("more than 1000 commands")))
		return
	}
	r := replies{make([]map[string]any, len(b.Commands))}
	var waiting []func()
	settle := func() {
		for _, f := range waiting {
			f()
		}
		waiting = waiting[:0]
	}
	for i := range b.Commands {
		name, req := b.Commands[i].request()
		switch req.(type) {
		case nil:
			req = invalid{}
		case *publish, *broadcast:
		default:
			settle() // what comes next may look at what was published
		}
		p := a.runNext(ctx, req)
		waiting = append(waiting, func() { r.Replies[i] = entry(name, a.reply(p())) })
	}
	settle()
	write(w, http.StatusOK, r)
}

func entry(name string, r reply) map[string]any {
	if r.Error != nil {
		return map[string]any{"error": r.Error}
	}
	return map[string]any{name: r.Result}
}

// runNext runs a command of a batch whose time is not up.
func (a *API) runNext(ctx context.Context, req request) pending {
	if ctx.Err() != nil {
		return done(nil, schema.ErrInternal.Because("the batch took too long; this command was not run"))
	}
	return req.run(ctx, a)
}

// invalid stands for a command that is none.
type invalid struct{}

func (invalid) run(context.Context, *API) pending {
	return done(nil, schema.ErrBadRequest.Because("a command has exactly one method"))
}
