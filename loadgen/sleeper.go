package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/centrifugal/protocol"
	"github.com/centrifugal/protocol/cfjson"

	"github.com/hubbub-chat/hubbub/loadgen/blocking"
	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// sleeper is the member that stops reading. It has a goroutine of its own and
// is a reader of its room's sequence for all its life, whatever becomes of
// its connection: so the room keeps what it has not seen yet, and recovery is
// checked like any delivery.
type sleeper struct {
	// immutable
	fleet *fleet
	room  *check.Room
	rcv   int // bytes asked for as receive buffer

	// owned by run
	conn    *blocking.Conn
	epoch   string
	offset  uint64 // of the last publication it got
	rejoins int64  // when it asked for recovery, clock ns; 0: not yet

	// guarded by room.mu
	reader check.Reader

	asleep atomic.Bool
	wake   chan struct{} // closed when it is to read again
	joined chan struct{} // closed when its first subscription is there
	done   chan struct{} // closed when run has ended

	result report.SlowResult // run's until done is closed
}

func newSleeper(f *fleet, m *check.Room, rcv int) *sleeper {
	return &sleeper{fleet: f, room: m, rcv: rcv,
		wake: make(chan struct{}), joined: make(chan struct{}), done: make(chan struct{})}
}

// run is the sleeper's life: it joins and reads; it sleeps; it reads what is
// left and how it ended; it joins again and recovers. The context ends it.
func (s *sleeper) run(ctx context.Context) {
	defer close(s.done)
	if err := s.live(ctx, false); err != nil && ctx.Err() == nil {
		var closed blocking.ClosedError
		if s.result.CloseCode = 1006; errors.As(err, &closed) {
			s.result.CloseCode, s.result.CloseReason = int(closed.Code), closed.Reason
		}
		if !s.asleep.Load() {
			s.result.Error = "before it slept: " + err.Error()
			return
		}
		if err := s.live(ctx, true); err != nil && ctx.Err() == nil {
			s.result.Error = "coming back: " + err.Error()
		}
	}
}

// live is one connection's life. The error is how it ended.
func (s *sleeper) live(ctx context.Context, again bool) error {
	var err error
	dial := blocking.Dial{Addr: s.fleet.endpoints[0].addr, URI: s.fleet.endpoints[0].uri, Receive: s.rcv}
	if s.conn, err = dial.Open(ctx); err != nil {
		return err
	}
	defer s.conn.Close() //nolint:errcheck // nothing is left to be done
	defer context.AfterFunc(ctx, func() { _ = s.conn.Close() })()
	if again {
		s.result.Before, s.rejoins = s.offset, s.fleet.clock.now()
	}
	connect := protocol.Command{Id: connectID, Connect: &protocol.ConnectRequest{}}
	subscribe := protocol.Command{Id: subscribeID, Subscribe: &protocol.SubscribeRequest{
		Channel: s.room.Name, Recover: again, Epoch: s.epoch, Offset: s.offset,
	}}
	if !again {
		subscribe.Subscribe.Offset = 0
	}
	b := append(connect.AppendJSON(nil), '\n')
	if err := s.conn.Send(blocking.Text, subscribe.AppendJSON(b)); err != nil {
		return err
	}
	for {
		frame, err := s.conn.ReadMessage()
		if err != nil {
			return err
		}
		for msg := range bytes.SplitSeq(frame, []byte{'\n'}) {
			if err := s.take(msg, again); err != nil {
				return err
			}
		}
		if s.asleep.Load() && !again {
			select {
			case <-s.wake: // has been; nothing more holds it up
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

func (s *sleeper) take(msg []byte, again bool) error {
	if len(msg) == 0 {
		return nil
	}
	var r protocol.Reply
	if err := cfjson.Unmarshal(msg, &r, 0); err != nil {
		return err
	}
	switch {
	case r.Error != nil:
		return fmt.Errorf("command %d: error %d %s", r.Id, r.Error.Code, r.Error.Message)
	case r.Push != nil && r.Push.Pub != nil:
		s.publication(r.Push.Pub)
	case r.Id == subscribeID && r.Subscribe != nil:
		s.subscribed(r.Subscribe, again)
	case r.Id == 0 && r.Push == nil:
		return s.conn.Send(blocking.Text, []byte("{}"))
	}
	return nil
}

func (s *sleeper) subscribed(r *protocol.SubscribeResult, again bool) {
	s.epoch = r.Epoch
	if !again {
		s.offset = r.Offset
		s.room.Join(&s.reader, r.Offset)
		close(s.joined)
		return
	}
	s.result.Recovered, s.result.InReply = r.Recovered, len(r.Publications)
	for _, p := range r.Publications {
		s.publication(p)
	}
	s.caughtUp()
}

func (s *sleeper) publication(pub *protocol.Publication) {
	s.offset = max(s.offset, pub.Offset)
	p, ok := check.ParsePayload(pub.Data, s.fleet.run, s.fleet.payload)
	if !ok || pub.Offset == 0 {
		s.result.Unexpected++
		return
	}
	v, said := s.room.Observe(&s.reader, check.Entry{Offset: pub.Offset, ID: p.ID()})
	if v == check.InOrder {
		v = said
	}
	switch v {
	case check.Duplicated:
		s.result.Duplicated++
	case check.Reordered:
		s.result.Reordered++
	case check.Unexpected:
		s.result.Unexpected++
	}
	s.caughtUp()
}

// caughtUp notes when it first had, since it came back, all that anybody had.
func (s *sleeper) caughtUp() {
	if s.rejoins > 0 && s.result.CaughtUp == 0 && s.missing() == 0 {
		s.result.CaughtUp = time.Duration(s.fleet.clock.now() - s.rejoins).Seconds()
	}
}

// missing is the number of messages it has not got. Any goroutine may ask.
func (s *sleeper) missing() uint64 { return s.room.Missing(&s.reader) }
