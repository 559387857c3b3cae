package api

import (
	"context"
	"net/http"

	"github.com/hubbub-chat/hubbub/schema"
)

const batchMethod = "batch"

// batch is many requests. They take effect in order, also where parallel is
// asked for; neighbouring publishes wait for the store together.
type batch struct{ commands []command }

// command is one of them: an object with the name of exactly one method. Other
// names are ignored, and so is a method that is null.
type command struct {
	name string
	req  request
}

// readBatch reads the body of a batch. The commands are taken apart before
// they are decoded: what one of them brings is its own affair.
func readBatch(body []byte) (*batch, *schema.Error) {
	if err := checkObject(body); err != nil {
		return nil, err
	}
	list := []byte("null")
	_ = schema.EachField(body, func(name, value []byte) error {
		if string(name) == "commands" {
			list = value
		}
		return nil
	})
	b := &batch{}
	if string(list) == "null" {
		return b, nil
	}
	var failed *schema.Error
	err := schema.EachItem(list, func(item []byte) error {
		c, err := readCommand(item)
		if b.commands = append(b.commands, c); err != nil && failed == nil {
			failed = err
		}
		return nil
	})
	if err != nil {
		failed = schema.ErrBadRequest.Because("commands is not a list")
	}
	return b, failed
}

// readCommand reads a command by the table of methods, so that there is no
// second list for a method to be left out of.
func readCommand(text []byte) (command, *schema.Error) {
	c, n := command{req: refused{errOneMethod}}, 0
	var body []byte
	err := schema.EachField(text, func(name, value []byte) error {
		if methods[string(name)] != nil && string(value) != "null" {
			n++
			c.name, body = string(name), value
		}
		return nil
	})
	switch {
	case string(text) == "null":
	case text[0] != '{':
		return c, schema.ErrBadRequest.Because("a command is not an object")
	case err != nil || n != 1: // a name that is no Unicode is no method either
	case body[0] != '{':
		return c, schema.ErrBadRequest.Because(c.name + " is not an object")
	default:
		var malformed *schema.Error
		c.req, malformed = readObject(c.name, body)
		return c, malformed
	}
	return c, nil
}

var errOneMethod = schema.ErrBadRequest.Because("a command has exactly one method")

// replies are the answers, each under its method's name, or "error".
type replies struct {
	Replies []map[string]any `json:"replies"`
}

// serveBatch answers a batch. One deadline is for all of it: commands that it
// does not reach are not run, and say so.
func (a *API) serveBatch(ctx context.Context, w http.ResponseWriter, b *batch) {
	switch {
	case len(b.commands) == 0:
		a.write(w, http.StatusOK, a.reply(nil, schema.ErrBadRequest.Because("commands is empty")))
		return
	case len(b.commands) > maxMany:
		a.write(w, http.StatusOK, a.reply(nil, schema.ErrLimitExceeded.Because("more than 1000 commands")))
		return
	}
	list := make([]request, len(b.commands))
	for i, c := range b.commands {
		list[i] = c.req
	}
	r := replies{make([]map[string]any, len(list))}
	for i, reply := range a.runAll(ctx, list) {
		r.Replies[i] = entry(b.commands[i].name, reply)
	}
	a.write(w, http.StatusOK, r)
}

func entry(name string, r reply) map[string]any {
	if r.Error != nil {
		return map[string]any{"error": r.Error}
	}
	return map[string]any{name: r.Result}
}
