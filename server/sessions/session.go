package sessions

import (
	"errors"
	"io"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/auth"
	"github.com/hubbub-chat/hubbub/server/limits"
)

// session is one client. Owned by its lane's loop. There are very many of
// them: 48 bytes, and the budget test keeps it so.
type session struct {
	conn   *netpoll.Conn
	who    *identity     // nil for a plain guest, whose names follow from id; never with flagToken
	subs   *subscription // a list
	id     uint64
	bucket limits.Bucket // what it may still send
	place  uint32        // of its client's network in Sessions.addresses
	pingAt uint16        // loop second of the next ping, its low bits; until connected, of the connect's deadline

	channels uint8 // length of subs
	flags    flags
}

// flags are a session's bits.
type flags uint8

const (
	flagConnected flags = 1 << iota
	flagProtobuf
	flagFramePing // WebSocket pings instead of the protocol's
	flagLeaving   // it will be closed when what it asked before is answered
	flagToken     // it has connected with a token, of a user or without one (anonymous)
)

func (s *session) lane() *lane { return s.conn.Loop().Owner.(*lane) }

func (s *session) connected() bool { return s.flags&flagConnected != 0 }

func (s *session) codec() schema.Codec {
	if s.flags&flagProtobuf != 0 {
		return schema.Protobuf
	}
	return schema.JSON
}

// at is a loop second as pingAt keeps it; before compares two, which are
// never more than hours apart.
func at(second uint32) uint16 { return uint16(second) }

func before(a, b uint16) bool { return int16(a-b) < 0 }

// identity is who a client is, as a token says, or the name a guest gave.
type identity struct {
	user    *limits.User // nil for a guest, and for the anonymous user of a token without sub
	said    *said        // nil when there is nothing
	expires int64        // Unix seconds, 0 for never
}

// said is what a client's token says of it beside its name, or a guest of
// itself. It is not changed.
type said struct {
	info []byte // conn_info, one JSON value, or nil
	caps *auth.Caps
}

// say returns what is said, if anything is.
func say(info []byte, caps *auth.Caps) *said {
	if info == nil && caps == nil {
		return nil
	}
	return &said{info, caps}
}

// subscription is a session in a room.
type subscription struct {
	fanout.Member
	next *subscription
}

// Message implements netpoll.Handler: the commands of one frame.
func (s *session) Message(_ *netpoll.Conn, binary bool, payload []byte) {
	ln := s.lane()
	if s.flags&flagLeaving != 0 {
		return
	}
	if binary != s.codec().Binary() {
		s.depart(schema.CloseBadRequest)
		return
	}
	ln.decoder.Reset(s.codec(), payload)
	for n := 0; s.conn.Open() && s.flags&flagLeaving == 0; n++ {
		if c := ln.connecting[s]; c != nil {
			c.later(ln.decoder.Rest()) // what stands behind a connect waits for it
			return
		}
		cmd, err := ln.decoder.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil && !errors.Is(err, schema.ErrNotUnicode) {
			s.depart(schema.CloseBadRequest)
			return
		}
		if n > 0 && !s.mayBe(n) {
			return
		}
		if err != nil {
			s.refuseCommand(cmd.Id, err)
		} else {
			s.handle(cmd)
		}
	}
}

// refuseCommand answers a command that cannot be run, whatever it is. Before
// the connect it may be the connect, after which nothing more is answered.
func (s *session) refuseCommand(id uint32, err error) {
	if id != 0 {
		s.lane().fail(s, id, err)
	}
	if id == 0 || !s.connected() {
		s.depart(schema.CloseBadRequest)
	}
}

// mayBe reports whether there may be a further command in a frame, behind n.
// The frame's charge has paid for the first.
func (s *session) mayBe(n int) bool {
	if n >= s.lane().all.cfg.Batch {
		s.depart(schema.Close{Code: schema.CloseBadRequest.Code, Reason: "too many commands in one frame"})
		return false
	}
	if !s.spend(1) {
		s.depart(schema.CloseTooManyRequests)
		return false
	}
	return true
}

func (s *session) handle(cmd *protocol.Command) {
	switch {
	case isPong(cmd):
		// The bytes alone were the answer: the connection has been heard.
	case cmd.Send != nil:
		s.mustBeConnected() // a send is not answered, and nobody here listens to it
	case cmd.Id == 0:
		s.depart(schema.CloseBadRequest)
	case cmd.Connect != nil:
		s.connect(cmd.Id, cmd.Connect)
	case cmd.Refresh != nil && s.connected():
		s.refresh(cmd.Id, cmd.Refresh.Token)
	case cmd.SubRefresh != nil && s.connected():
		s.subRefresh(cmd.Id, cmd.SubRefresh)
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
		s.lane().reply(s, &protocol.Reply{Id: cmd.Id, Ping: &protocol.PingResult{}})
	case cmd.Rpc != nil:
		s.rpc(cmd.Id, cmd.Rpc)
	default:
		s.depart(schema.CloseBadRequest)
	}
}

// isPong recognises the empty command.
func isPong(c *protocol.Command) bool {
	return c.Id == 0 && c.Connect == nil && c.Subscribe == nil && c.Unsubscribe == nil && c.Publish == nil &&
		c.Presence == nil && c.PresenceStats == nil && c.History == nil && c.Ping == nil && c.Send == nil &&
		c.Rpc == nil && c.Refresh == nil && c.SubRefresh == nil
}

func (s *session) mustBeConnected() bool {
	if !s.connected() {
		s.depart(schema.CloseBadRequest)
	}
	return s.connected()
}

func (s *session) close(c schema.Close) { s.conn.Close(netpoll.Close(c)) }

// Charge implements netpoll.Charger: a frame costs one unit, and one for each
// further KiB. One that is not paid for ends the session as a malformed command does,
// and what comes behind that is free, since nobody looks at it.
func (s *session) Charge(_ *netpoll.Conn, bytes int) bool {
	if s.flags&flagLeaving != 0 || s.spend(1+bytes>>10) {
		return true
	}
	if !s.connected() {
		return false // nothing is owed
	}
	s.depart(schema.CloseTooManyRequests)
	return true
}

// Tick implements netpoll.Handler: the deadlines of a connection.
func (s *session) Tick(c *netpoll.Conn) {
	ln := s.lane()
	cfg := &ln.all.cfg
	s.expire(ln.loop.Now())
	now := at(ln.loop.Second())
	interval, patience := at(uint32(cfg.Ping/time.Second)), at(uint32(cfg.Pong/time.Second))
	switch {
	case !s.connected():
		if !before(now, s.pingAt) {
			s.close(schema.CloseStale)
		}
	case !before(now, s.pingAt):
		s.pingAt = now + interval
		if s.flags&flagFramePing != 0 {
			c.Ping()
		} else {
			var b [2]byte
			c.Reply(s.codec().Binary(), s.codec().AppendPing(b[:0]))
		}
	default:
		// Anything heard since the last ping, which was at pingAt-interval,
		// is a sign of life. Before the first ping that time lies before the
		// connection was made.
		sent := s.pingAt - interval
		if before(at(c.Heard()), sent) && !before(now, sent+patience) {
			s.close(schema.CloseNoPong)
		}
	}
}

// Drained implements netpoll.Handler.
func (s *session) Drained(*netpoll.Conn) {
	for sub := s.subs; sub != nil; sub = sub.next {
		sub.Drained() // nothing, while it catches up
	}
	s.catchUp()
}

// Closed implements netpoll.Handler.
func (s *session) Closed(_ *netpoll.Conn, code uint16) {
	for s.subs != nil {
		s.leave(s.subs)
	}
	delete(s.lane().connecting, s)
	s.lane().waits.departing.forget(s)
	s.lane().all.cfg.Addresses.Leave(s.place)
	if s.who != nil {
		s.lane().all.cfg.Users.Leave(s.who.user)
	}
	if s.connected() {
		s.lane().all.connected.Add(-1)
	}
	s.lane().all.cfg.Observe.Closed(code)
}

// Send implements fanout.Peer.
func (s *session) Send(frames []byte) int { return s.conn.Send(frames) }

// Blocked implements fanout.Peer.
func (s *session) Blocked() bool { return s.conn.Blocked() }

// TooSlow implements fanout.Peer.
func (s *session) TooSlow(room *fanout.Room) {
	s.lost(room)
	s.close(schema.CloseSlow)
}

// Reset implements fanout.Peer: the client comes back and hears whether it can
// recover.
func (s *session) Reset(m *fanout.Member) {
	for sub := s.subs; sub != nil; sub = sub.next {
		if &sub.Member != m {
			continue
		}
		if g := s.lane().grants[sub]; g != nil && g.server {
			s.lost(m.Room())
			s.close(schema.CloseInsufficientState) // SDKs do not subscribe to these by themselves
		} else {
			s.evict(sub, schema.UnsubscribeInsufficientState, "insufficient state")
		}
		return
	}
}

func (s *session) clientID() string { return s.lane().all.clientID(s.id) }

const guestPrefix = "guest-"

// user is the client's name, as others see it.
func (s *session) user() string {
	if name := s.name(); name != "" {
		return name
	}
	return guestPrefix + s.clientID()
}

// name is the user of the client's token; empty for those without one, guests
// and anonymous users. Each of these is somebody else: none shares a limit, a
// message's sender or a direct-message room with another.
func (s *session) name() string {
	if s.who == nil || s.who.user == nil {
		return ""
	}
	return s.who.user.Name
}

func (s *session) info() []byte {
	if s.who == nil || s.who.said == nil {
		return nil
	}
	return s.who.said.info
}

func (s *session) caps() *auth.Caps {
	if s.who == nil || s.who.said == nil {
		return nil
	}
	return s.who.said.caps
}

// clientInfo is what others see of the client.
func (s *session) clientInfo() *protocol.ClientInfo { return clientInfo(s.Client()) }

// Client implements fanout.Present.
func (s *session) Client() fanout.Client {
	return fanout.Client{ID: s.clientID(), User: s.name(), Info: s.info()}
}

func clientInfo(c fanout.Client) *protocol.ClientInfo {
	user := c.User
	if user == "" {
		user = guestPrefix + c.ID
	}
	return &protocol.ClientInfo{User: user, Client: c.ID, ConnInfo: c.Info}
}
