package sessions

import (
	"errors"
	"io"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
)

// session is one client. Owned by its lane's loop. There are very many of
// them: 48 bytes, and the budget test keeps it so.
type session struct {
	lane   *lane
	conn   *netpoll.Conn
	who    *identity     // nil for a plain guest, whose names follow from id
	subs   *subscription // a list
	id     uint64
	pingAt uint32 // loop second of the next ping; until connected, of the connect's deadline

	channels  uint8 // length of subs
	codec     schema.Codec
	connected bool
	framePing bool // WebSocket pings instead of the protocol's
}

// identity is who a client said it is.
type identity struct {
	user string
	info []byte // conn_info, one JSON value, or nil
}

// subscription is a session in a room.
type subscription struct {
	fanout.Member
	next *subscription
}

// Message implements netpoll.Handler: the commands of one frame.
func (s *session) Message(_ *netpoll.Conn, binary bool, payload []byte) {
	ln := s.lane
	if ln.draining {
		return // it will be closed when what was asked before is answered
	}
	if binary != s.codec.Binary() {
		s.close(schema.CloseBadRequest)
		return
	}
	ln.decoder.Reset(s.codec, payload)
	for s.conn.Open() {
		cmd, err := ln.decoder.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			s.close(schema.CloseBadRequest)
			return
		}
		s.handle(cmd)
	}
}

func (s *session) handle(cmd *protocol.Command) {
	switch {
	case isPong(cmd):
		// The bytes alone were the answer: the connection has been heard.
	case cmd.Send != nil:
		s.mustBeConnected() // a send is not answered, and nobody here listens to it
	case cmd.Id == 0:
		s.close(schema.CloseBadRequest)
	case cmd.Connect != nil:
		s.connect(cmd.Id, cmd.Connect)
	case !s.mustBeConnected():
	case cmd.Publish != nil:
		s.publish(cmd.Id, cmd.Publish)
	case cmd.Subscribe != nil:
		s.subscribe(cmd.Id, cmd.Subscribe)
	case cmd.Unsubscribe != nil:
		s.unsubscribe(cmd.Id, cmd.Unsubscribe)
	case cmd.History != nil:
		s.history(cmd.Id, cmd.History)
	case cmd.Presence != nil:
		s.presence(cmd.Id, cmd.Presence.Channel)
	case cmd.PresenceStats != nil:
		s.presenceStats(cmd.Id, cmd.PresenceStats.Channel)
	case cmd.Ping != nil:
		s.lane.reply(s, &protocol.Reply{Id: cmd.Id, Ping: &protocol.PingResult{}})
	case cmd.Rpc != nil, cmd.Refresh != nil, cmd.SubRefresh != nil:
		s.lane.fail(s, cmd.Id, schema.ErrNotAvailable)
	default:
		s.close(schema.CloseBadRequest)
	}
}

// isPong recognises the empty command.
func isPong(c *protocol.Command) bool {
	return c.Id == 0 && c.Connect == nil && c.Subscribe == nil && c.Unsubscribe == nil && c.Publish == nil &&
		c.Presence == nil && c.PresenceStats == nil && c.History == nil && c.Ping == nil && c.Send == nil &&
		c.Rpc == nil && c.Refresh == nil && c.SubRefresh == nil
}

func (s *session) mustBeConnected() bool {
	if !s.connected {
		s.close(schema.CloseBadRequest)
	}
	return s.connected
}

func (s *session) close(c schema.Close) { s.conn.Close(netpoll.Close(c)) }

// Tick implements netpoll.Handler: the deadlines of a connection.
func (s *session) Tick(c *netpoll.Conn) {
	cfg := &s.lane.all.cfg
	now := s.lane.loop.Second()
	interval, patience := uint32(cfg.Ping/time.Second), uint32(cfg.Pong/time.Second)
	switch {
	case !s.connected:
		if now >= s.pingAt {
			s.close(schema.CloseStale)
		}
	case now >= s.pingAt:
		s.pingAt = now + interval
		if s.framePing {
			c.Ping()
		} else {
			var b [2]byte
			c.Reply(s.codec.Binary(), s.codec.AppendPing(b[:0]))
		}
	default:
		// Anything heard since the last ping, which was at pingAt-interval,
		// is a sign of life. Before the first ping that time lies before the
		// connection was made (and perhaps before the clock began, so it is
		// not computed).
		if c.Heard()+interval < s.pingAt && now+interval >= s.pingAt+patience {
			s.close(schema.CloseNoPong)
		}
	}
}

// Drained implements netpoll.Handler.
func (s *session) Drained(*netpoll.Conn) {
	for sub := s.subs; sub != nil; sub = sub.next {
		if cu := s.lane.catching[sub]; cu != nil {
			cu.drained()
		} else {
			sub.Drained()
		}
	}
}

// Closed implements netpoll.Handler.
func (s *session) Closed(_ *netpoll.Conn, code uint16) {
	for s.subs != nil {
		s.drop(s.subs)
	}
	if s.connected {
		s.lane.all.connected.Add(-1)
	}
	s.lane.all.cfg.Observe.Closed(code)
}

// Send implements fanout.Peer.
func (s *session) Send(frames []byte) int { return s.conn.Send(frames) }

// Blocked implements fanout.Peer.
func (s *session) Blocked() bool { return s.conn.Blocked() }

// TooSlow implements fanout.Peer.
func (s *session) TooSlow() { s.close(schema.CloseSlow) }

func (s *session) clientID() string { return s.lane.all.clientID(s.id) }

func (s *session) user() string {
	if s.who != nil && s.who.user != "" {
		return s.who.user
	}
	return "guest-" + s.clientID()
}

func (s *session) info() []byte {
	if s.who == nil {
		return nil
	}
	return s.who.info
}
