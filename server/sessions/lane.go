package sessions

import (
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/limits"
)

// lane is the sessions' share of one loop: memory that its sessions use in
// turn, and the commands that wait for an answer. Owned by the loop.
type lane struct {
	all   *Sessions
	loop  *netpoll.Loop
	shard *fanout.Shard

	handshakes limits.Bucket

	decoder schema.Decoder
	encoder schema.Encoder
	buf     []byte
	ack     protocol.Reply // of publishes

	waits waits

	// What few sessions have, and those that have it not for long.
	opening    map[*subscription]*opening
	catching   map[*subscription]*catchUp
	grants     map[*subscription]*grant
	connecting map[*session]*connecting
	replaying  map[*session]bool // what came behind their connect is about to be handled

	draining   bool      // closing sessions for good
	dispersing bool      // closing sessions until gather
	drainAt    time.Time // of the next slice
	slice      int       // sessions to close in a slice
}

func newLane(s *Sessions, l *netpoll.Loop, shard *fanout.Shard) *lane {
	return &lane{
		all: s, loop: l, shard: shard,
		ack:        protocol.Reply{Publish: &protocol.PublishResult{}},
		opening:    make(map[*subscription]*opening),
		catching:   make(map[*subscription]*catchUp),
		grants:     make(map[*subscription]*grant),
		connecting: make(map[*session]*connecting),
		replaying:  make(map[*session]bool),
	}
}

// turn is the loop's turn hook.
func (ln *lane) turn() bool {
	ln.waits.expire(ln.loop.Now(), func(w wait) {
		ln.fail(w.session, w.id, schema.ErrInternal.Because("no answer in time; it may still take effect"))
	})
	switch now := ln.loop.Now(); {
	case now.Before(ln.drainAt):
	case ln.draining:
		ln.partSlice()
	case ln.dispersing:
		ln.closeSlice(schema.CloseForceReconnect)
	}
	again := ln.shard.Turn()
	ln.finishDeparting() // behind all that may answer in this turn
	return again
}

// await notes that a command will be answered later, and returns the ticket to
// answer it with.
func (ln *lane) await(s *session, id uint32) ticket {
	return ln.waits.add(wait{session: s, id: id, deadline: ln.loop.Now().Add(ln.all.cfg.Answer)})
}

// reply answers a command.
func (ln *lane) reply(s *session, r *protocol.Reply) {
	ln.buf = s.codec().AppendReply(ln.buf[:0], r)
	s.conn.Reply(s.codec().Binary(), ln.buf)
}

// fail answers a command with an error. Errors that are not the protocol's
// own are not a client's business: they become 100.
func (ln *lane) fail(s *session, id uint32, err error) {
	e, ok := err.(*schema.Error) //nolint:errorlint // coded errors are made at this edge, never wrapped
	if !ok {
		e = schema.ErrInternal
	}
	ln.all.cfg.Observe.Failed(e.Code)
	ln.reply(s, &protocol.Reply{Id: id, Error: &protocol.Error{Code: e.Code, Message: e.Message, Temporary: e.Temporary}})
}

// pushAll sends publications outside of the room's log, to a client that
// catches up.
func (ln *lane) pushAll(s *session, list []*schema.Message) {
	for len(list) > 0 {
		ln.buf = ln.buf[:0]
		n := 0
		for ; n < len(list) && len(ln.buf) < 16<<10; n++ {
			if n > 0 {
				ln.buf = s.codec().AppendDelimiter(ln.buf)
			}
			ln.buf = ln.encoder.AppendPush(ln.buf, s.codec(), list[n])
		}
		list = list[n:]
		s.conn.Reply(s.codec().Binary(), ln.buf)
	}
}

const drainTick = 50 * time.Millisecond

// drain begins to close the lane's sessions, and serves each until its turn: what a
// client says is not to be lost for as long as others take.
func (ln *lane) drain(over time.Duration) {
	if !ln.draining {
		ln.draining = true
		ln.spread(over)
	}
}

// disperse begins to close them too, until gather.
func (ln *lane) disperse(over time.Duration) {
	if !ln.draining && !ln.dispersing {
		ln.dispersing = true
		ln.spread(over)
	}
}

// gather ends that.
func (ln *lane) gather() { ln.dispersing = false }

// spread finds how many sessions to close at a time.
func (ln *lane) spread(over time.Duration) {
	sessions := 0
	ln.loop.Each(func(*netpoll.Conn) { sessions++ })
	ln.slice = 1 + int(time.Duration(sessions)*drainTick/max(over, drainTick))
}

// closeSlice closes some sessions.
func (ln *lane) closeSlice(with schema.Close) {
	ln.drainAt = ln.loop.Now().Add(drainTick)
	left := ln.slice
	ln.loop.Each(func(c *netpoll.Conn) {
		if left--; left >= 0 {
			c.Close(netpoll.Close(with))
		}
	})
}

// partSlice closes some sessions of a node that stops, each when it has its answers.
func (ln *lane) partSlice() {
	ln.drainAt = ln.loop.Now().Add(drainTick)
	left := ln.slice
	ln.loop.Each(func(c *netpoll.Conn) {
		s, _ := c.Handler().(*session) // or whoever else is on the loop
		if s != nil && s.flags&flagLeaving != 0 {
			return // its turn has come
		}
		if left--; left < 0 {
			return
		}
		if s != nil {
			s.depart(schema.CloseShutdown)
		} else {
			c.Close(netpoll.Close(schema.CloseShutdown))
		}
	})
}
