package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/hubbub-chat/hubbub/schema"
)

// The former form of the API, which SDKs still speak that were written for Centrifugo 3
// and before (gocent 3 and older, the gem cent 3): all commands are posted to /api, each an
// object of a method and its params, one behind the other. The answer has a reply for
// each, in their order. The methods are those of /api/METHOD.

// isCommands reports whether a path is that of the former form.
func isCommands(path string) bool { return path == Prefix || path+"/" == Prefix }

var errNoCommand = schema.ErrBadRequest.Because(`a command has a method: POST {"method": …, "params": {…}} to /api, or its params to /api/METHOD`)

// decodeCommands reads a body of one command or more. What one of them brings is its own
// affair.
func decodeCommands(body []byte) ([]request, *schema.Error) {
	var list []request
	for {
		var object []byte
		if object, body = nextObject(body); object == nil {
			break
		}
		req, err := readNamed(object)
		if err != nil {
			return nil, err
		}
		if len(list) == maxMany {
			return nil, schema.ErrLimitExceeded.Because("more than 1000 commands")
		}
		list = append(list, req)
	}
	if len(list) == 0 {
		return nil, errNoCommand
	}
	return list, nil
}

// nextObject cuts a body behind its first JSON object, or what may be one. The object is
// nil when there is none.
func nextObject(body []byte) (object, rest []byte) {
	body = bytes.TrimLeft(body, " \t\r\n")
	if len(body) == 0 {
		return nil, nil
	}
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted:
			if c == '\\' {
				i++
			} else {
				quoted = c != '"'
			}
		case c == '"':
			quoted = true
		case c == '{', c == '[':
			depth++
		case c == '}', c == ']':
			if depth--; depth == 0 {
				return body[:i+1], body[i+1:]
			}
		}
	}
	return body, nil
}

// readNamed reads a command, {"method": "publish", "params": {…}}, by the table of
// methods.
func readNamed(object []byte) (request, *schema.Error) {
	if err := checkObject(object); err != nil {
		return nil, err
	}
	name, params := "", []byte("null")
	err := schema.EachField(object, func(field, value []byte) error {
		switch string(field) {
		case "method":
			return json.Unmarshal(value, &name)
		case "params":
			params = value
		}
		return nil
	})
	switch {
	case err != nil || name == "":
		return nil, errNoCommand
	case methods[name] == nil:
		return refused{errMethod}, nil
	case string(params) == "null":
		params = []byte("{}")
	case params[0] != '{':
		return refused{schema.ErrBadRequest.Because("params is not an object")}, nil
	}
	req, malformed := readObject(name, params)
	if malformed != nil {
		return refused{malformed}, nil
	}
	return req, nil
}

// serveCommands answers commands in the former form.
func (a *API) serveCommands(ctx context.Context, w http.ResponseWriter, body []byte) {
	list, err := decodeCommands(body)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, r := range a.runAll(ctx, list) {
		if err := e.Encode(r); err != nil { // nothing of it is in b
			_ = e.Encode(a.reply(nil, err))
		}
	}
	send(w, http.StatusOK, b.Bytes())
}

// runAll runs requests so that they take effect in order. Neighbouring publishes wait for
// the store together. One deadline is for all: those that it does not leave time for are
// not run, and say so.
func (a *API) runAll(ctx context.Context, list []request) []reply {
	replies := make([]reply, len(list))
	var waiting []func()
	settle := func() {
		for _, f := range waiting {
			f()
		}
		waiting = waiting[:0]
	}
	for i, req := range list {
		switch req.(type) {
		case *publish, *broadcast:
		default:
			settle() // what comes next may look at what was published
		}
		p := a.runNext(ctx, req)
		waiting = append(waiting, func() { replies[i] = a.reply(p()) })
	}
	settle()
	return replies
}

// runNext runs a request whose time is not up.
func (a *API) runNext(ctx context.Context, req request) pending {
	if ctx.Err() != nil {
		return done(nil, schema.ErrInternal.Because("the batch took too long; this command was not run"))
	}
	return req.run(ctx, a)
}
