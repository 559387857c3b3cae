package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
)

// What a client does on the test's own goroutine: what goes wrong ends the
// test.

func (c *client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) send(cmds ...*protocol.Command) {
	c.t.Helper()
	c.must(c.trySend(cmds...))
}

func (c *client) sendRaw(binary bool, payload string) {
	c.t.Helper()
	c.must(c.write(binary, []byte(payload)))
}

// call sends a command and returns its reply, whatever it says.
func (c *client) call(cmd *protocol.Command) *protocol.Reply {
	c.t.Helper()
	r, err := c.tryCall(cmd)
	c.must(err)
	return r
}

// ok sends a command that succeeds.
func (c *client) ok(cmd *protocol.Command) *protocol.Reply {
	c.t.Helper()
	r := c.call(cmd)
	if r.Error != nil {
		c.t.Fatalf("%v was answered with %v", cmd, r.Error)
	}
	return r
}

// fails sends a command that does not.
func (c *client) fails(cmd *protocol.Command, code uint32) {
	c.t.Helper()
	if r := c.call(cmd); r.Error == nil || r.Error.Code != code {
		c.t.Fatalf("%v was answered with %v, want error %d", cmd, r, code)
	}
}

func (c *client) connect() *protocol.ConnectResult {
	c.t.Helper()
	r := c.ok(&protocol.Command{Connect: &protocol.ConnectRequest{}}).Connect
	c.id = r.Client
	return r
}

func (c *client) subscribe(room string) *protocol.SubscribeResult {
	c.t.Helper()
	return c.ok(subscribeTo(room)).Subscribe
}

func (c *client) recover(room string, offset uint64, epoch string) *protocol.SubscribeResult {
	c.t.Helper()
	return c.ok(recoverFrom(room, offset, epoch)).Subscribe
}

func (c *client) publish(room, data string) {
	c.t.Helper()
	c.ok(publishTo(room, data))
}

// publishAll publishes many messages, 100 to a frame, and returns when all
// are acknowledged.
func (c *client) publishAll(room string, data []string) {
	c.t.Helper()
	c.must(c.tryPublishAll(room, data))
}

func (c *client) tryPublishAll(room string, data []string) error {
	for len(data) > 0 {
		n, size := 0, 0
		var cmds []*protocol.Command
		for ; n < len(data) && n < 100 && (n == 0 || size+len(data[n]) < 40<<10); n++ {
			cmds = append(cmds, publishTo(room, data[n]))
			size += len(data[n]) + 400
		}
		data = data[n:]
		if err := c.trySend(cmds...); err != nil {
			return err
		}
		for _, cmd := range cmds {
			r, err := c.tryReply(cmd.Id)
			if err != nil {
				return err
			}
			if r.Error != nil {
				return fmt.Errorf("a publish was answered with %v", r.Error)
			}
		}
	}
	return nil
}

// push returns the next publication, which must be of this room.
func (c *client) push(room string) *protocol.Publication {
	c.t.Helper()
	p, err := c.tryPush()
	c.must(err)
	if p.Channel != room {
		c.t.Fatalf("got a push of room %q, want %q", p.Channel, room)
	}
	return p.Pub
}

func (c *client) history(req *protocol.HistoryRequest) *protocol.HistoryResult {
	c.t.Helper()
	return c.ok(&protocol.Command{History: req}).History
}

// expectClose reads up to the close frame.
func (c *client) expectClose(code uint16) closed {
	c.t.Helper()
	for {
		_, r, err := c.next()
		if err == nil && r.Id == 0 {
			continue
		}
		var end closed
		if !errors.As(err, &end) {
			c.t.Fatalf("got %v, %v; want a close with %d", r, err, code)
		}
		if end.code != code {
			c.t.Fatalf("%v, want %d", end, code)
		}
		return end
	}
}

func subscribeTo(room string) *protocol.Command {
	return &protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: room}}
}

func recoverFrom(room string, offset uint64, epoch string) *protocol.Command {
	return &protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: room, Recover: true, Offset: offset, Epoch: epoch}}
}

func publishTo(room, data string) *protocol.Command {
	return &protocol.Command{Publish: &protocol.PublishRequest{Channel: room, Data: protocol.Raw(data)}}
}

// numbered makes n data values that differ, each padded to about size bytes.
func numbered(prefix string, n, size int) []string {
	list := make([]string, n)
	for i := range list {
		head := fmt.Sprintf(`{"from":%q,"n":%d,"pad":"`, prefix, i)
		list[i] = head + strings.Repeat("x", max(0, size-len(head)-2)) + `"}`
	}
	return list
}

func dataOf(pubs []*protocol.Publication) []string {
	list := make([]string, len(pubs))
	for i, p := range pubs {
		list[i] = string(p.Data)
	}
	return list
}

var codecs = []schema.Codec{schema.JSON, schema.Protobuf}
