package sessions

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/auth"
	"github.com/hubbub-chat/hubbub/server/channels"
	"github.com/hubbub-chat/hubbub/server/limits"
)

// Relay orders messages and makes them durable.
type Relay interface {
	// Publish never blocks. done is called when the message is durable and on
	// its way to the members, or cannot be: once, on another goroutine, or
	// before Publish returns. A message with a Key that its User has used in
	// the room before is neither stored nor delivered: done gets a
	// fanout.Duplicate, or Publish returns fanout.ErrKeyReused when it was
	// another message.
	Publish(m *schema.Message, done func(error)) error
	// Event brings what is not kept to a room's members; encode appends it in
	// a codec. It never blocks.
	Event(room string, encode func([]byte, schema.Codec) []byte)
	// Announce is Event for those members that joined WithAnnouncements, in
	// rooms that are not large.
	Announce(room string, encode func([]byte, schema.Codec) []byte)
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

	Version string         // told to clients
	Guests  bool           // clients without a token are let in
	Tokens  *auth.Verifier // nil: no token is good
	Observe Observer

	Presence   Presence             // nil for a node alone
	Policy     *channels.Namespaces // who may do what; nil for an open chat
	Blocked    map[string]int64     // users who may not connect until then, Unix seconds; 0 for no end
	Origins    *limits.Origins      // which pages may connect; nil for the server's own
	Proxies    *limits.Proxies      // whose word about addresses is taken; nil for nobody's
	Addresses  *limits.Addresses    // connections per client network; nil for no limit
	Users      *limits.Users        // connections per user of a token; nil for no limit
	Rate       limits.Rate          // of a connection's frames: one unit each, one a KiB, four more a publish
	Handshakes limits.Rate          // of a loop

	Ping           time.Duration // between pings to a client; default 25 s
	Pong           time.Duration // how long a ping may go unanswered; default 10 s
	ConnectTimeout time.Duration // for the connect command; default 10 s
	Answer         time.Duration // every command is answered within it; default 4 s
	Channels       int           // subscriptions of a session, at most 255; default 128
	Batch          int           // commands of one frame, above it close 3501; default 1,000
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
	if c.Presence == nil {
		c.Presence = derived{c.Hub}
	}
	if c.Policy == nil {
		c.Policy = channels.Open()
	}
	if c.Origins == nil {
		c.Origins = &limits.Origins{}
	}
	if c.Proxies == nil {
		c.Proxies = &limits.Proxies{}
	}
	if c.Addresses == nil {
		c.Addresses = limits.NewAddresses(0)
	}
	if c.Users == nil {
		c.Users = limits.NewUsers(0)
	}
	duration(&c.Ping, 25*time.Second)
	duration(&c.Pong, 10*time.Second)
	duration(&c.ConnectTimeout, 10*time.Second)
	duration(&c.Answer, 4*time.Second)
	number(&c.Channels, 128)
	number(&c.Batch, 1000)
	number(&c.PageMessages, 500)
	number(&c.PresenceLimit, 10_000)
}

// Sessions is all clients of this node.
type Sessions struct {
	cfg   Config
	lanes []*lane
	pages *pages
	boot  string // of client ids: tells this run of this node from others
	alone bool   // presence is derived: it need not be told who comes and goes
	next  atomic.Uint64

	blocked   blocked
	connected atomic.Int64 // sessions past their connect
}

// New makes the sessions of an engine's loops. Loop i is served by the hub's
// shard i.
func New(cfg Config, loops []*netpoll.Loop) *Sessions {
	alone := cfg.Presence == nil
	cfg.setDefaults()
	var boot [4]byte
	_, _ = rand.Read(boot[:]) // never fails: it ends the program instead
	s := &Sessions{cfg: cfg, boot: hex.EncodeToString(boot[:]), alone: alone}
	s.blocked.until = cfg.Blocked
	s.pages = newPages(&s.cfg)
	for i, l := range loops {
		ln := newLane(s, l, cfg.Hub.Shard(i))
		l.Owner = ln
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
	place, reject := s.admit(ln, r)
	if reject != nil {
		return nil, reject
	}
	ss := &session{
		conn:   r.Conn(),
		id:     s.next.Add(1),
		place:  place,
		pingAt: at(ln.loop.Second() + uint32(s.cfg.ConnectTimeout/time.Second)),
	}
	if r.Subprotocol == "centrifuge-protobuf" {
		ss.flags |= flagProtobuf
	}
	if strings.Contains(r.Query, "cf_") {
		query, _ := url.ParseQuery(r.Query) // what cannot be parsed is ignored
		if query.Get("cf_protocol") == "protobuf" {
			ss.flags |= flagProtobuf
		}
		if query.Get("cf_ws_frame_ping_pong") == "true" {
			ss.flags |= flagFramePing
		}
	}
	return ss, nil
}

// admit reports why a handshake is refused, if it is, and counts it.
func (s *Sessions) admit(ln *lane, r *netpoll.Request) (place uint32, _ *netpoll.Reject) {
	if !s.cfg.Origins.Allow(r.Origin, r.Host) {
		return 0, &netpoll.Reject{Status: http.StatusForbidden, Reason: "origin not allowed"}
	}
	if !ln.handshakes.Take(s.cfg.Handshakes, ln.loop.Elapsed(), 1) {
		return 0, &netpoll.Reject{Status: http.StatusServiceUnavailable, Reason: "too many handshakes; try again soon"}
	}
	if !s.cfg.Addresses.Counting() {
		return 0, nil
	}
	addr := s.cfg.Proxies.Client(r.Peer(), r.Forwarded)
	place, ok := s.cfg.Addresses.Enter(addr)
	if !ok {
		return 0, &netpoll.Reject{Status: http.StatusTooManyRequests, Reason: "too many connections from this address"}
	}
	return place, nil
}

// Connected is the number of sessions that have connected.
func (s *Sessions) Connected() int { return int(s.connected.Load()) }

// clientID is a session's id on the wire.
func (s *Sessions) clientID(id uint64) string {
	return s.boot + "-" + strconv.FormatUint(id, 36)
}

// Drain ends all sessions with close 3001, in slices, so that reconnects are spread
// over about the given time. Each is served until its turn, and has its answers
// before it is closed.
func (s *Sessions) Drain(over time.Duration) {
	for _, ln := range s.lanes {
		ln.loop.Post(func() { ln.drain(over) })
	}
}

// Disperse sends all sessions elsewhere with close 3011, spread over about the
// given time, and serves them until then. New ones are to be refused until
// Gather.
func (s *Sessions) Disperse(over time.Duration) {
	for _, ln := range s.lanes {
		ln.loop.Post(func() { ln.disperse(over) })
	}
}

// Gather ends what Disperse has begun: who is still here may stay.
func (s *Sessions) Gather() {
	for _, ln := range s.lanes {
		ln.loop.Post(ln.gather)
	}
}
