package sessions

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
)

// Relay orders messages and makes them durable.
type Relay interface {
	// Publish never blocks. done is called on another goroutine when the
	// message is durable and on its way to the members, or cannot be.
	Publish(m *schema.Message, done func(error)) error
}

// Store is history that is not in memory.
type Store interface {
	After(ctx context.Context, room string, after, upTo uint64, limit, maxBytes int) ([]*schema.Message, error)
	Before(ctx context.Context, room string, before uint64, limit, maxBytes int) ([]*schema.Message, error)
	// Count counts the messages with after < offset <= upTo, at most max.
	Count(ctx context.Context, room string, after, upTo uint64, max int) (int, error)
}

// Config is what sessions are served from and by which rules.
type Config struct {
	Hub   *fanout.Hub
	Relay Relay
	Store Store
	Reads fanout.Reads
	Epoch string // of the store

	Version string // told to clients
	Guests  bool   // clients without a token are let in
	Observe Observer

	Ping           time.Duration // between pings to a client; default 25 s
	Pong           time.Duration // how long a ping may go unanswered; default 10 s
	ConnectTimeout time.Duration // for the connect command; default 10 s
	Answer         time.Duration // every command is answered within it; default 4 s
	Channels       int           // subscriptions of a session; default 128
	HistorySize    int           // messages a subscription recovers at most; default 10,000
	HistoryTTL     time.Duration // and their age; default 24 h
	PageMessages   int           // of one history reply; default 500
	PresenceLimit  int           // clients one presence reply lists; default 10,000
}

// Observer is told what is measured. Its methods are called on the loops.
type Observer interface {
	Published(ack time.Duration, err error)
	Failed(code uint32)
	Closed(code uint16)
}

const pageBytes = 512 << 10 // of one history or recovery page

func (c *Config) setDefaults() {
	duration := func(p *time.Duration, v time.Duration) {
		if *p <= 0 {
			*p = v
		}
	}
	number := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	duration(&c.Ping, 25*time.Second)
	duration(&c.Pong, 10*time.Second)
	duration(&c.ConnectTimeout, 10*time.Second)
	duration(&c.Answer, 4*time.Second)
	duration(&c.HistoryTTL, 24*time.Hour)
	number(&c.Channels, 128)
	number(&c.HistorySize, 10_000)
	number(&c.PageMessages, 500)
	number(&c.PresenceLimit, 10_000)
}

// Sessions is all clients of this node.
type Sessions struct {
	cfg   Config
	lanes []*lane
	pages *pages
	boot  string // of client ids: tells this run of this node from others
	next  atomic.Uint64

	connected atomic.Int64 // sessions past their connect
}

// New makes the sessions of an engine's loops. Loop i is served by the hub's
// shard i.
func New(cfg Config, loops []*netpoll.Loop) *Sessions {
	cfg.setDefaults()
	var boot [4]byte
	_, _ = rand.Read(boot[:]) // never fails: it ends the program instead
	s := &Sessions{cfg: cfg, boot: hex.EncodeToString(boot[:])}
	s.pages = newPages(&s.cfg)
	for i, l := range loops {
		ln := newLane(s, l, cfg.Hub.Shard(i))
		s.lanes = append(s.lanes, ln)
		l.OnTurn(ln.turn)
	}
	return s
}

// Subprotocols are those a client may ask for, the preferred first.
var Subprotocols = []string{"centrifuge-protobuf", "centrifuge-json"}

// Upgrade makes the session of a handshake. On the connection's loop only.
func (s *Sessions) Upgrade(r *netpoll.Request) (netpoll.Handler, *netpoll.Reject) {
	ln := s.lanes[r.Conn().Loop().Index()]
	ss := &session{
		lane:   ln,
		conn:   r.Conn(),
		id:     s.next.Add(1),
		pingAt: ln.loop.Second() + uint32(s.cfg.ConnectTimeout/time.Second),
	}
	if r.Subprotocol == "centrifuge-protobuf" {
		ss.codec = schema.Protobuf
	}
	if bytes.Contains(r.Query, []byte("cf_")) {
		query, _ := url.ParseQuery(string(r.Query)) // what cannot be parsed is ignored
		if query.Get("cf_protocol") == "protobuf" {
			ss.codec = schema.Protobuf
		}
		ss.framePing = query.Get("cf_ws_frame_ping_pong") == "true"
	}
	return ss, nil
}

// Connected is the number of sessions that have connected.
func (s *Sessions) Connected() int { return int(s.connected.Load()) }

// clientID is a session's id on the wire.
func (s *Sessions) clientID(id uint64) string {
	return s.boot + "-" + strconv.FormatUint(id, 36)
}

// Drain ends all sessions with close 3001: each lane first answers what is
// under way, and then closes in slices, so that reconnects are spread over
// about the given time.
func (s *Sessions) Drain(over time.Duration) {
	for _, ln := range s.lanes {
		ln.loop.Post(func() { ln.drain(over) })
	}
}
