package main

import (
	"context"

	"github.com/hubbub-chat/hubbub/fanout/redis"
	"github.com/hubbub-chat/hubbub/schema"
)

// readable is a store whose messages can all be shown: what no reader could
// parse is replaced on the way out (see schema.Message.MakeReadable), and stays
// as it is in the database.
type readable struct{ redis.Store }

// After implements the stores of fanout, redis and sessions.
func (r readable) After(ctx context.Context, room string, after, upTo uint64, limit, maxBytes int) ([]*schema.Message, error) {
	list, err := r.Store.After(ctx, room, after, upTo, limit, maxBytes)
	return allReadable(list), err
}

// Before implements the same.
func (r readable) Before(ctx context.Context, room string, before uint64, limit, maxBytes int) ([]*schema.Message, error) {
	list, err := r.Store.Before(ctx, room, before, limit, maxBytes)
	return allReadable(list), err
}

func allReadable(list []*schema.Message) []*schema.Message {
	for _, m := range list {
		m.MakeReadable()
	}
	return list
}
