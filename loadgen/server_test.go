package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
)

// chat is a broadcast server of the least kind, with places where it can be
// told to be wrong. Everything in it is its one loop's.
type chat struct {
	engine *netpoll.Engine
	rooms  map[string]*chatRoom
	enc    schema.Encoder
	wrong  wrong
	pages  int  // of histories
	pongs  int  // empty commands that came
	frames bool // several messages in a frame
}

// wrong is what a server does to its n-th message, from 0; nil: what is right.
type wrong struct {
	// store may change the messages that one publish becomes.
	store func(n int, m schema.Message) []schema.Message
	// deliver may change the messages that member i of the room is sent.
	deliver func(n, i int, m schema.Message) []schema.Message
	// show is deliver by the number of the connection that member says messages
	// as; below 0: it has said none yet.
	show func(n, publisher int, m schema.Message) []schema.Message
	// answer may refuse.
	answer func(n int) *schema.Error
	// recover may change what a recovering client is given.
	recover func([]*protocol.Publication) []*protocol.Publication
	// page may change the n-th page of a history, from 1.
	page func(n int, list []*protocol.Publication) []*protocol.Publication
	// forgets may keep a message out of the history.
	forgets func(n int) bool
	// unrecoverable refuses every recovery.
	unrecoverable bool
	// closed is told of connections' ends.
	closed func(c *chat, code uint16)
	// also is done after a message.
	also func(c *chat, r *chatRoom, n int)
}

type chatRoom struct {
	members []*chatClient
	last    uint64
	n       int
	recent  []schema.Message

	forgotten []schema.Message // by wrong.forgets
}

type chatClient struct {
	chat *chat
	conn *netpoll.Conn
	room *chatRoom
	name string // of the room
	says int    // the number of the connection in what it says; below 0: nothing yet
	dec  schema.Decoder
	out  []byte
}

// startChat returns a server's URL.
func startChat(t testing.TB, w wrong, frames bool) (string, *chat) {
	t.Helper()
	s := &chat{rooms: map[string]*chatRoom{}, wrong: w, frames: frames}
	var err error
	s.engine, err = netpoll.New(netpoll.Config{
		Addr:      "127.0.0.1:0",
		Engine:    os.Getenv("HUBBUB_ENGINE"),
		WebSocket: func(string) bool { return true },
		Upgrade: func(r *netpoll.Request) (netpoll.Handler, *netpoll.Reject) {
			return &chatClient{chat: s, conn: r.Conn(), says: -1}, nil
		},
		Panicked: func(v any, stack []byte) { t.Errorf("server: %v\n%s", v, stack) },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.engine.Start()
	t.Cleanup(s.engine.Stop)
	return fmt.Sprintf("ws://%s/connection/websocket", s.engine.Addr()), s
}

func (c *chatClient) Message(_ *netpoll.Conn, _ bool, payload []byte) {
	c.out = c.out[:0]
	c.dec.Reset(schema.JSON, payload)
	for {
		cmd, err := c.dec.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.conn.Close(netpoll.Close(schema.CloseBadRequest))
			return
		}
		c.command(cmd)
	}
	c.flush()
}

func (c *chatClient) say(r *protocol.Reply) {
	if len(c.out) > 0 {
		c.out = append(c.out, '\n')
	}
	c.out = schema.JSON.AppendReply(c.out, r)
}

func (c *chatClient) flush() {
	if len(c.out) > 0 {
		c.conn.Reply(false, c.out)
		c.out = c.out[:0]
	}
}

func (c *chatClient) command(cmd *protocol.Command) {
	switch {
	case cmd.Connect != nil:
		c.say(&protocol.Reply{Id: cmd.Id, Connect: &protocol.ConnectResult{Client: "x", Ping: 25, Pong: true}})
	case cmd.Subscribe != nil:
		c.subscribe(cmd)
	case cmd.Publish != nil:
		c.publish(cmd)
	case cmd.History != nil:
		c.history(cmd)
	case cmd.Refresh != nil:
		c.say(&protocol.Reply{Id: cmd.Id, Refresh: &protocol.RefreshResult{Expires: true, Ttl: 1}})
	default:
		c.chat.pongs++
	}
}

// history answers with a page of seven at most, so that there are several.
func (c *chatClient) history(cmd *protocol.Command) {
	res := &protocol.HistoryResult{Publications: []*protocol.Publication{}, Epoch: "e"}
	if r := c.chat.rooms[cmd.History.Channel]; r != nil {
		res.Offset = r.last
		list := slices.Clone(r.recent)
		if cmd.History.Reverse {
			slices.Reverse(list)
		}
		since := cmd.History.Since.Offset
		for i := range list {
			if o := list[i].Offset; (o > since != cmd.History.Reverse) && o != since && len(res.Publications) < min(7, int(cmd.History.Limit)) {
				res.Publications = append(res.Publications, schema.Publication(&list[i]))
			}
		}
	}
	if f := c.chat.wrong.page; f != nil {
		c.chat.pages++
		res.Publications = f(c.chat.pages, res.Publications)
	}
	c.say(&protocol.Reply{Id: cmd.Id, History: res})
}

func (c *chatClient) subscribe(cmd *protocol.Command) {
	s := cmd.Subscribe
	r := c.chat.rooms[s.Channel]
	if r == nil {
		r = new(chatRoom)
		c.chat.rooms[s.Channel] = r
	}
	c.room, c.name = r, s.Channel
	r.members = append(r.members, c)
	res := &protocol.SubscribeResult{Recoverable: true, Positioned: true, Epoch: "e", Offset: r.last}
	if s.Recover {
		res.WasRecovering, res.Recovered, res.Offset = true, true, s.Offset
		for i := range r.recent {
			if r.recent[i].Offset > s.Offset {
				res.Publications = append(res.Publications, schema.Publication(&r.recent[i]))
			}
		}
		if c.chat.wrong.unrecoverable {
			res.Recovered, res.Offset, res.Publications = false, r.last, nil
		}
		if f := c.chat.wrong.recover; f != nil {
			res.Publications = f(res.Publications)
		}
	}
	c.say(&protocol.Reply{Id: cmd.Id, Subscribe: res})
}

// unsubscribe ends the subscription with a push.
func (c *chatClient) unsubscribe(code uint32) {
	c.leave()
	c.say(&protocol.Reply{Push: &protocol.Push{Channel: c.name, Unsubscribe: &protocol.Unsubscribe{Code: code, Reason: "told to"}}})
	c.flush()
}

// leave takes it out of its room.
func (c *chatClient) leave() {
	if r := c.room; r != nil {
		r.members = slices.DeleteFunc(r.members, func(m *chatClient) bool { return m == c })
	}
	c.room = nil
}

func (c *chatClient) publish(cmd *protocol.Command) {
	s, r := c.chat, c.chat.rooms[cmd.Publish.Channel]
	n := r.n
	r.n++
	if _, after, ok := bytes.Cut(cmd.Publish.Data, []byte(`"p":`)); ok {
		_, _ = fmt.Sscanf(string(after), "%d", &c.says)
	}
	if s.wrong.answer != nil {
		if e := s.wrong.answer(n); e != nil {
			c.say(&protocol.Reply{Id: cmd.Id, Error: &protocol.Error{Code: e.Code, Message: e.Message}})
			return
		}
	}
	r.last = schema.NextOffset(r.last, time.Now())
	m := schema.Message{Room: cmd.Publish.Channel, Offset: r.last, User: "u", Client: "c", Data: append([]byte(nil), cmd.Publish.Data...)}
	stored := []schema.Message{m}
	if s.wrong.store != nil {
		stored = s.wrong.store(n, m)
	}
	for _, m := range stored {
		r.last = max(r.last, m.Offset)
		if s.wrong.forgets == nil || !s.wrong.forgets(n) {
			r.recent = append(r.recent, m)
		} else {
			r.forgotten = append(r.forgotten, m)
		}
		for i, to := range r.members {
			send := []schema.Message{m}
			if s.wrong.deliver != nil {
				send = s.wrong.deliver(n, i, m)
			}
			if s.wrong.show != nil {
				send = s.wrong.show(n, to.says, m)
			}
			to.deliver(send)
		}
	}
	c.flush()
	c.say(&protocol.Reply{Id: cmd.Id, Publish: &protocol.PublishResult{}})
	if s.wrong.also != nil {
		s.wrong.also(s, r, n)
	}
}

func (c *chatClient) deliver(ms []schema.Message) {
	var b []byte
	for i := range ms {
		if i > 0 {
			b = append(b, '\n')
		}
		if b = c.chat.enc.AppendPush(b, schema.JSON, &ms[i]); !c.chat.frames {
			c.conn.Reply(false, b)
			b = b[:0]
		}
	}
	if len(b) > 0 {
		c.conn.Reply(false, b)
	}
}

func (c *chatClient) Drained(*netpoll.Conn) {}
func (c *chatClient) Tick(*netpoll.Conn)    {}
func (c *chatClient) Closed(_ *netpoll.Conn, code uint16) {
	if f := c.chat.wrong.closed; f != nil {
		f(c.chat, code)
	}
	c.leave()
}
