package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// request is the body of one method.
type request interface {
	// run starts what was asked for, before ctx ends.
	run(ctx context.Context, a *API) pending
}

// pending waits for the result of a request, no longer than the request's ctx
// lasts. It is called once.
type pending func() (any, error)

// done is a pending that has nothing to wait for.
func done(result any, err error) pending {
	return func() (any, error) { return result, err }
}

// empty is the result of what has none.
type empty struct{}

// methods are those of single requests; there is batch beside them.
var methods = map[string]func() request{
	"publish":        func() request { return new(publish) },
	"broadcast":      func() request { return new(broadcast) },
	"subscribe":      func() request { return new(subscribe) },
	"unsubscribe":    func() request { return new(unsubscribe) },
	"disconnect":     func() request { return new(disconnect) },
	"refresh":        func() request { return new(refresh) },
	"block_user":     func() request { return new(blockUser) },
	"unblock_user":   func() request { return new(unblockUser) },
	"presence":       func() request { return new(presence) },
	"presence_stats": func() request { return new(presenceStats) },
	"history":        func() request { return new(history) },
	"channels":       func() request { return new(channelList) },
	"info":           func() request { return new(info) },
	"rpc":            func() request { return new(rpc) },
}

// Methods are the names of all methods, sorted.
func Methods() []string {
	names := append(slices.Collect(maps.Keys(methods)), batchMethod)
	slices.Sort(names)
	return names
}

// decode reads a body: one JSON object. Unknown fields are ignored.
func decode(body []byte, into any) *schema.Error {
	// encoding/json would replace what is not UTF-8, and so name another
	// channel than the caller.
	if !utf8.Valid(body) {
		return schema.ErrBadRequest.Because("the body is not UTF-8")
	}
	if body = bytes.TrimLeft(body, " \t\r\n"); len(body) == 0 || body[0] != '{' {
		return schema.ErrBadRequest.Because("the body is not a JSON object")
	}
	if err := json.Unmarshal(body, into); err != nil {
		if kind := (*json.UnmarshalTypeError)(nil); errors.As(err, &kind) {
			return schema.ErrBadRequest.Because(fmt.Sprintf("%s cannot be a %s", kind.Field, kind.Value))
		}
		return schema.ErrBadRequest.Because("the body is not JSON")
	}
	return nil
}

// authorize checks a channel's name and asks the policy.
func (a *API) authorize(action channels.Action, channel string) error {
	if err := schema.CheckChannel(channel); err != nil {
		return err
	}
	return a.cfg.Policy.Authorize(channels.Caller{Server: true}, action, channel)
}

// within runs f, which cannot be stopped, and waits for it as long as ctx
// lasts.
func within[T any](ctx context.Context, f func() T) (result T, err error) {
	if err := ctx.Err(); err != nil {
		return result, err
	}
	c := make(chan T, 1)
	go func() { c <- f() }() // ends with f: when the loops have run what it posted
	select {
	case result = <-c:
		return result, nil
	case <-ctx.Done():
		return result, ctx.Err()
	}
}
