package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/hubbub-chat/hubbub/schema"
)

const batchMethod = "batch"

// batch is many requests. They take effect in order, also where parallel is
// asked for; neighbouring publishes wait for the store together.
type batch struct {
	Commands []command `json:"commands"`
}

// command is one of them: an object with the name of exactly one method. Other
// names are ignored, and so is a method that is null.
type command struct {
	name string
	req  request // nil when there is not exactly one
}

// UnmarshalJSON reads the command by the table of methods, so that there is
// no second list for a method to be left out of.
func (c *command) UnmarshalJSON(text []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	*c = command{}
	for name, body := range fields {
		empty := methods[name]
		if empty == nil || string(body) == "null" {
			continue
		}
		if c.req != nil {
			*c = command{}
			return nil
		}
		c.name, c.req = name, empty()
	}
	if c.req == nil {
		return nil
	}
	return json.Unmarshal(fields[c.name], c.req)
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
		name, req := b.Commands[i].name, b.Commands[i].req
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
