package main

import (
	"fmt"
	"strings"

	"github.com/hubbub-chat/hubbub/loadgen/check"
)

// dialect is how clients and a server speak: one file for each. It belongs to
// no client; what it needs to remember is theirs. Everything in it runs on the
// client's loop.
//
// Rejected: an interface of small steps (connect, subscribe, publish, ...) that
// a common layer calls: the plain dialect has none of them, and the JSON one is
// fast because it looks at a message once.
type dialect interface {
	// opened says what comes first: the client wants to be a member of its
	// room, and, where it was one before, what it missed.
	opened(c *client, now int64)
	// subscribe asks for a subscription again that the server ended.
	subscribe(c *client)
	// read takes one frame.
	read(c *client, binary bool, frame []byte, now int64)
	// publish says message p, and answers under an id when that is over.
	publish(c *client, id uint32, p check.Payload)
	// history asks for a page of the room's history.
	history(c *client, id uint32, p page)
	// refresh shows a new token.
	refresh(c *client, now int64)
	// subprotocol is offered in the handshake.
	subprotocol() string
}

// dialects are those there are, by their name on the command line.
func newDialect(name string) (dialect, error) {
	switch name {
	case "", "json":
		return jsonDialect{}, nil
	case "protobuf":
		return protobufDialect{}, nil
	case "plain":
		return plainDialect{}, nil
	}
	return nil, fmt.Errorf("there is no protocol %q, but json, protobuf and plain", name)
}

// roomMark in an address stands for a room's name: a plain server knows rooms
// by nothing else.
const roomMark = "{room}"

// uri is the request target of a client's connection.
func (c *client) uri(template string) string {
	return strings.ReplaceAll(template, roomMark, c.part.Room.Name)
}
