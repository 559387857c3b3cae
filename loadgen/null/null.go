// Package null is the least of a chat server: it gives every message an offset
// and sends it to its room. Nothing is stored, nobody is asked who they are,
// and history is what lies in memory for a moment. It exists so that loadgen
// can be measured against something that is never the bottleneck.
//
// A Server has one event loop, on which everything happens, and where messages
// are to be coalesced one goroutine that wakes it; both end with Stop.
package null

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
)

// Server is a null server.
type Server struct {
	engine   *netpoll.Engine
	coalesce time.Duration
	wg       sync.WaitGroup
	stop     chan struct{}

	// owned by the loop
	rooms map[string]*room
	dirty []*room
	enc   schema.Encoder
	frame []byte
}

type room struct {
	members map[*client]struct{}
	last    uint64
	pending []byte // pushes not sent yet, a line each
}

type client struct {
	server *Server
	conn   *netpoll.Conn
	room   *room
	dec    schema.Decoder
	out    []byte
}

// Start serves on an address. With coalesce above 0 what a room is told in
// such a stretch leaves in one frame; else every message has its own.
func Start(addr string, coalesce time.Duration) (*Server, error) {
	s := &Server{coalesce: coalesce, rooms: map[string]*room{}, stop: make(chan struct{})}
	var err error
	s.engine, err = netpoll.New(netpoll.Config{
		Addr:      addr,
		WebSocket: func(string) bool { return true },
		Upgrade: func(r *netpoll.Request) (netpoll.Handler, *netpoll.Reject) {
			return &client{server: s, conn: r.Conn()}, nil
		},
		MaxMessage: 2 << 20, MaxQueue: 64 << 20,
	})
	if err != nil {
		return nil, err
	}
	s.engine.Start()
	if coalesce > 0 {
		s.wg.Go(s.tick) // stopped by Stop
	}
	return s, nil
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.engine.Addr() }

// Stop ends it.
func (s *Server) Stop() {
	close(s.stop)
	s.wg.Wait()
	s.engine.Stop()
}

func (s *Server) tick() {
	t := time.NewTicker(s.coalesce)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.engine.Loops()[0].Post(s.flush)
		case <-s.stop:
			return
		}
	}
}

// flush sends every room what it has to be told.
func (s *Server) flush() {
	for _, r := range s.dirty {
		r.send(s)
	}
	s.dirty = s.dirty[:0]
}

// text is the opcode of a text frame.
const text = 1

// send writes one frame to all members, made once.
func (r *room) send(s *Server) {
	s.frame = append(netpoll.AppendHeader(s.frame[:0], text, len(r.pending)), r.pending...)
	r.pending = r.pending[:0]
	for c := range r.members {
		if c.conn.Send(s.frame) < len(s.frame) {
			c.conn.Close(netpoll.Close(schema.CloseSlow)) // it keeps no log
		}
	}
}

// Message implements netpoll.Handler.
func (c *client) Message(_ *netpoll.Conn, _ bool, payload []byte) {
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
	if len(c.out) > 0 {
		c.conn.Reply(false, c.out)
		c.out = c.out[:0]
	}
}

func (c *client) say(r *protocol.Reply) {
	if len(c.out) > 0 {
		c.out = append(c.out, '\n')
	}
	c.out = schema.JSON.AppendReply(c.out, r)
}

func (c *client) command(cmd *protocol.Command) {
	switch {
	case cmd.Connect != nil:
		c.say(&protocol.Reply{Id: cmd.Id, Connect: &protocol.ConnectResult{Client: "null"}})
	case cmd.Subscribe != nil:
		r := c.server.room(cmd.Subscribe.Channel)
		c.room = r
		r.members[c] = struct{}{}
		c.say(&protocol.Reply{Id: cmd.Id, Subscribe: &protocol.SubscribeResult{
			Recoverable: true, Positioned: true, Epoch: "null", Offset: r.last}})
	case cmd.Publish != nil:
		c.say(&protocol.Reply{Id: cmd.Id, Publish: &protocol.PublishResult{}})
		c.server.publish(cmd.Publish)
	}
}

func (s *Server) room(name string) *room {
	r := s.rooms[name]
	if r == nil {
		r = &room{members: map[*client]struct{}{}}
		s.rooms[name] = r
	}
	return r
}

func (s *Server) publish(p *protocol.PublishRequest) {
	r := s.room(p.Channel)
	r.last = schema.NextOffset(r.last, time.Now())
	if len(r.pending) > 0 {
		r.pending = append(r.pending, '\n')
	} else if s.coalesce > 0 {
		s.dirty = append(s.dirty, r)
	}
	r.pending = s.enc.AppendPush(r.pending, schema.JSON, &schema.Message{Room: p.Channel, Offset: r.last, Data: p.Data})
	if s.coalesce == 0 {
		r.send(s)
	}
}

// Drained implements netpoll.Handler.
func (c *client) Drained(*netpoll.Conn) {}

// Tick implements netpoll.Handler.
func (c *client) Tick(*netpoll.Conn) {}

// Closed implements netpoll.Handler.
func (c *client) Closed(*netpoll.Conn, uint16) {
	if c.room != nil {
		delete(c.room.members, c)
	}
}
