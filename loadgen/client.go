package main

import (
	"fmt"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/netpoll"
)

type clientState uint8

const (
	unopened clientState = iota
	waiting              // for its next attempt
	dialling
	joining // connect and subscribe are on their way
	joined
	ended
)

// The ids of a client's commands: two are always the same.
const (
	connectID   = 1
	subscribeID = 2
	refreshID   = 3
	firstID     = 4
)

// maxUnsent is how many bytes may wait for a client's socket before its
// publishes are given up.
const maxUnsent = 256 << 10

// client is one user of the server: a netpoll.Handler that lives on its
// worker's loop, over as many connections as it takes. It is small because
// there are many: what it needs now and then is the worker's.
type client struct {
	worker  *worker
	part    *part
	conn    *netpoll.Conn
	reader  check.Reader
	pending []inflight // publishes without an answer, oldest first; nil for those who listen
	epoch   string     // of its subscription
	offset  uint64     // of the last publication it got
	began   int64      // when the step it is in began, clock ns
	cut     int64      // when its last connection ended, clock ns
	since   int64      // when it last joined, clock ns
	asked   int64      // when it last asked for a new token's life, clock ns
	index   uint32
	lastID  uint32
	own     ownOrder
	ping    uint16 // seconds between the server's pings; 0: none
	session uint16 // number of its connection
	tries   uint8  // attempts since it was last a member
	state   clientState
	decodes bool
	// unreachable says that its last attempt found nobody at the address.
	unreachable bool
	spell       choreKind // stalls or silences, while its connection is under one; wakes, while it catches up; else dials
	member      bool      // it has joined once: the room's sequence counts on it
}

// ownOrder checks that a client's own messages come in the order it sent them
// in. Those of an earlier connection may have been on their way when that
// ended, and come whenever they come.
type ownOrder struct {
	next  uint32 // at least this
	first uint32 // sent over this connection
}

// inflight is a publish without an answer.
type inflight struct {
	id, n    uint32
	at, sent int64 // when it was due and when it left, clock ns
}

// number tells the client from all others of the run, whoever plays them.
func (c *client) number() uint32 { return c.worker.fleet.first + c.index }

// Dialled implements netpoll.Dialler.
func (c *client) Dialled(*netpoll.Conn) {
	now := c.worker.fleet.clock.now()
	c.worker.rec.tcp.Record(now - c.began)
}

// Opened implements netpoll.Opener.
func (c *client) Opened(conn *netpoll.Conn) {
	w := c.worker
	now := w.fleet.clock.now()
	w.rec.handshake.Record(now - c.began)
	c.conn, c.state, c.began = conn, joining, now
	w.fleet.dialect.opened(c, now)
}

// Message implements netpoll.Handler.
func (c *client) Message(conn *netpoll.Conn, binary bool, frame []byte) {
	if w := c.worker; !w.over && conn == c.conn { // not one that it has left behind
		w.fleet.dialect.read(c, binary, frame, w.fleet.clock.now())
	}
}

// take handles one message of the Centrifuge protocol. pong says that it was a
// ping, and wants an answer.
func (c *client) take(r *protocol.Reply, now int64) (pong bool) {
	switch {
	case r.Id > 0:
		c.replied(r, now)
	case r.Push == nil:
		return true
	case r.Push.Pub != nil:
		c.publication([]byte(r.Push.Channel), r.Push.Pub.Data, r.Push.Pub.Offset, now)
	case r.Push.Unsubscribe != nil:
		c.unsubscribed(r.Push.Unsubscribe.Code, now)
	}
	return false
}

// resubscribes is the lowest unsubscribe code at which SDKs subscribe again.
const resubscribes = 2500

// unsubscribed is the server's end of the subscription. Without coming back,
// what follows is missing.
func (c *client) unsubscribed(code uint32, now int64) {
	w := c.worker
	w.rec.unsubs[code]++
	w.anew(c.conn)
	if code < resubscribes || !w.fleet.comeback.on() || c.state != joined {
		return
	}
	delete(w.loads, c) // it was in vain
	w.rec.Closed++     // as a member
	c.state, c.began, c.cut = joining, now, now
	if !c.deaf() {
		c.part.Live--
	}
	w.fleet.dialect.subscribe(c)
}

func (c *client) replied(r *protocol.Reply, now int64) {
	rec := c.worker.rec
	if r.Error != nil {
		rec.errors[r.Error.Code]++
		rec.reasons.note(fmt.Sprintf("error %d: %s", r.Error.Code, r.Error.Message))
	}
	if len(c.worker.questions) > 0 && c.paged(r, now) {
		return
	}
	switch {
	case r.Id >= firstID:
		if r.Error == nil {
			c.acked(r.Id, now)
		} else if p, ok := c.answered(r.Id); ok {
			rec.Refused++
			c.part.Room.Refuse(p.n)
		}
	case r.Error != nil:
		c.conn.Close(netpoll.Close{Code: 1000, Reason: "refused"})
	case r.Id == connectID && r.Connect != nil && c.state == joining:
		rec.connect.Record(now - c.began)
		c.ping = uint16(min(r.Connect.Ping, 1<<15))
		c.refreshIn(r.Connect.Expires, r.Connect.Ttl, now)
	case r.Id == refreshID && r.Refresh != nil:
		rec.refresh.Record(now - c.asked)
		c.refreshIn(r.Refresh.Expires, r.Refresh.Ttl, now)
	case r.Id == subscribeID && r.Subscribe != nil && c.state == joining:
		c.subscribed(r.Subscribe, now)
	}
}

// subscribed makes a member of the client, for the first time or again.
func (c *client) subscribed(s *protocol.SubscribeResult, now int64) {
	rec, first := c.worker.rec, !c.member
	rec.subscribe.Record(now - c.began)
	c.state, c.member, c.tries = joined, true, 0
	c.since, c.epoch = now, c.part.sameEpoch(s.Epoch)
	c.own.first = c.own.next
	c.part.Live++
	switch {
	case first:
		c.begin(s.Offset)
	case s.Recovered:
		rec.Rejoined++
		rec.recovery.Record(now - c.began)
		rec.away.Record(now - c.cut)
		for _, p := range s.Publications {
			c.publication([]byte(c.part.Room.Name), p.Data, p.Offset, now)
		}
	default:
		rec.Rejoined++
		rec.Unrecovered++
		rec.away.Record(now - c.cut)
		c.worker.anew(c.conn)
		c.reload(s.Offset, now)
	}
}

// begin makes a member of the client for the first time.
func (c *client) begin(offset uint64) {
	c.worker.rec.Joined++
	if !c.decodes {
		c.part.Room.Counter(&c.reader)
		return
	}
	c.offset = offset
	c.part.Join(&c.reader, offset)
}

// joinedPlainly makes a member of a client that need not ask.
func (c *client) joinedPlainly(now int64) {
	c.state, c.member, c.tries, c.since = joined, true, 0, now
	c.own.first = c.own.next
	c.part.Live++
	c.begin(c.part.Room.Top())
}

// publication handles one message of a room.
func (c *client) publication(channel, data []byte, offset uint64, now int64) {
	w := c.worker
	if len(w.loads) > 0 {
		if l := w.loads[c]; l != nil {
			c.hold(l, offset, data)
			return
		}
	}
	w.rec.Delivered++
	if !c.decodes {
		c.reader.Count(1)
		return
	}
	p, ok := check.ParsePayload(data, w.fleet.run, w.fleet.payload)
	if !ok || offset == 0 || c.state != joined || string(channel) != c.part.Room.Name {
		w.rec.Unexpected++
		return
	}
	c.offset = max(c.offset, offset)
	v, last := c.part.Observe(&c.reader, check.Entry{Offset: offset, ID: p.ID()})
	c.part.trail.See(check.Entry{Offset: offset, ID: p.ID()})
	if v == check.InOrder && p.Publisher == c.number() {
		v = c.own.see(p.N)
	}
	w.rec.Fault(v)
	w.rec.delivered(&p, now, p.At < c.since || c.delayed(time.Duration(now-p.At)), last)
}

func (o *ownOrder) see(n uint32) check.Verdict {
	if n < o.next {
		if n >= o.first {
			return check.Reordered
		}
		return check.InOrder
	}
	o.next = n + 1
	return check.InOrder
}

// missing is the number of messages that the client should have got and did
// not; surplus, for one that only counts, of those it got beyond.
func (c *client) missing() (missing, surplus uint64) {
	if !c.member {
		return 0, 0
	}
	if c.decodes {
		return c.part.Missing(&c.reader), 0
	}
	return c.part.Room.Counted(&c.reader)
}

// Drained implements netpoll.Handler; Queued is asked where it matters.
func (c *client) Drained(*netpoll.Conn) {}

// pingGrace is how many seconds a ping may be late, as in the SDKs.
const pingGrace = 10

// Tick implements netpoll.Handler. A server that was stopped, or is beyond a
// broken network, ends no connection: its pings stay away.
func (c *client) Tick(conn *netpoll.Conn) {
	if c.ping == 0 || conn != c.conn || c.spell == stalls || conn.Loop().Second()-conn.Heard() <= uint32(c.ping)+pingGrace {
		return
	}
	c.ping = 0 // once
	if c.spell == silences {
		c.lost(1006) // the server does not hear of it
		return
	}
	conn.Close(netpoll.Close{Code: 1000, Reason: "no ping"})
}

// Closed implements netpoll.Handler.
func (c *client) Closed(conn *netpoll.Conn, code uint16) {
	w := c.worker
	delete(w.probes, conn)
	if !w.over {
		w.broken(conn, code)
	}
	if conn == c.conn {
		c.lost(code)
	}
}

// lost is the end of its connection, which may be one that it leaves behind.
func (c *client) lost(code uint16) {
	w := c.worker
	was, deaf := c.state, c.deaf()
	c.conn, c.state, c.spell = nil, ended, dials
	delete(w.loads, c)
	c.forgetQuestions()
	if w.over {
		return
	}
	now := w.fleet.clock.now()
	w.rec.closes[uint32(code)]++
	c.abandon()
	if was == joined {
		w.rec.Closed++
		c.cut = now
		if !deaf {
			c.part.Live--
		}
	}
	if w.fleet.comeback.on() && comesBack(code) {
		if was != joined {
			w.rec.Retried++
		}
		w.later(c, now)
		return
	}
	if !c.member {
		if c.unreachable && int(c.tries) < w.fleet.addresses(int(c.index)) {
			w.rec.Retried++ // its name has another address
			w.plan(chore{at: now, client: c, what: dials})
			return
		}
		w.rec.Failed++
	} else {
		w.rec.Gone++
		if c.decodes {
			c.part.Leave(&c.reader)
		}
	}
	c.member = false
}
