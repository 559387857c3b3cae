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

	"github.com/centrifugal/protocol/cfjson"

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

// read makes a method's request of a body. The error is for a body that cannot
// be understood, which refuses all it is part of; one that is understood and
// must not be becomes a request that is answered with the reason.
func read(method string, body []byte) (request, *schema.Error) {
	if err := checkObject(body); err != nil {
		return nil, err
	}
	return readObject(method, body)
}

// readObject is read for a JSON object.
func readObject(method string, object []byte) (request, *schema.Error) {
	// Lists of channels answer for each channel; see channelName.
	if err := schema.CheckRequest(object, "data", "channels"); err != nil {
		return refused{err}, nil
	}
	req := methods[method]()
	if err := json.Unmarshal(object, req); err != nil {
		if kind := (*json.UnmarshalTypeError)(nil); errors.As(err, &kind) {
			return nil, schema.ErrBadRequest.Because(fmt.Sprintf("%s cannot be a %s", kind.Field, kind.Value))
		}
		return nil, errNotJSON
	}
	return req, nil
}

var errNotJSON = schema.ErrBadRequest.Because("the body is not JSON")

// checkObject reports whether a body is one JSON object, of any depth.
func checkObject(body []byte) *schema.Error {
	// encoding/json would replace what is not UTF-8, and so name another
	// channel than the caller.
	if !utf8.Valid(body) {
		return schema.ErrBadRequest.Because("the body is not UTF-8")
	}
	if start := bytes.TrimLeft(body, " \t\r\n"); len(start) == 0 || start[0] != '{' {
		return schema.ErrBadRequest.Because("the body is not a JSON object")
	}
	if !cfjson.Valid(body) {
		return errNotJSON
	}
	return nil
}

// refused stands for a request that is not run.
type refused struct{ err error }

func (r refused) run(context.Context, *API) pending { return done(nil, r.err) }

// channelName is one of a list of channels. A name that is not Unicode stays
// one that is not, so that it alone is refused and not the list.
type channelName string

// UnmarshalJSON reads a string.
func (c *channelName) UnmarshalJSON(text []byte) error {
	if schema.HalfPair(text) {
		*c = "\xff"
		return nil
	}
	return json.Unmarshal(text, (*string)(c))
}

// authorize checks a channel's name and asks the policy.
func (a *API) authorize(action channels.Action, channel string) error {
	if err := schema.CheckChannel(channel); err != nil {
		return err
	}
	if err := channels.CheckOrder(channel); err != nil {
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
