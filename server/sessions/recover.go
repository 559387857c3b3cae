package sessions

import (
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// catchUp brings a subscription from the client's position to the live log.
// The member joined at position upTo and is paused, so the log keeps what
// comes after; (from, upTo] is read in pages. The first goes into the reply,
// the others are pushed, as the connection takes them. A member the log could
// not wait for stands at a new position and reads on.
type catchUp struct {
	lane *lane
	sub  *subscription
	op   *opening
	room *fanout.Room

	from     uint64 // the client has everything up to here
	upTo     uint64 // the log has everything after this
	answered bool
	reading  bool
}

// recover answers a subscribe that asks for what was missed.
func (ln *lane) recover(sub *subscription, op *opening, room *fanout.Room, position uint64) {
	cu := &catchUp{
		lane: ln, sub: sub, op: op, room: room, from: op.req.Offset, upTo: position,
	}
	sub.Pause()
	// To recover is to read history: from offset 0 it would be all there is. It
	// is asked now because the member may do what subscribers may.
	_, denied := op.session.authorize(channels.History, op.channel)
	if e := op.req.Epoch; !op.rules.Recovery || denied != nil || e != "" && e != sub.Epoch() || cu.from > cu.upTo {
		cu.unrecoverable()
		return
	}
	ln.catching[sub] = cu
	op.session.catchUp()
}

// catchUp goes on with what the session has to catch up with: one page at a
// time, and no faster than the connection takes them. A client that comes back
// to a hundred rooms at once would otherwise be sent more than a peer may leave
// untaken, and be closed as slow for what it asked for. Rooms that have yet to
// be answered come first.
func (s *session) catchUp() {
	ln := s.lane()
	for sub := s.subs; sub != nil; sub = sub.next {
		if cu := ln.catching[sub]; cu != nil && cu.reading {
			return // it goes on here
		}
	}
	for _, answered := range []bool{false, true} {
		for sub := s.subs; sub != nil; sub = sub.next {
			cu := ln.catching[sub]
			if cu == nil || cu.answered != answered {
				continue
			}
			if s.conn.Queued() > pageBytes {
				if !s.conn.Blocked() {
					ln.loop.Post(s.catchUp) // when this turn's replies have been written
				}
				return // or Drained goes on
			}
			if cu.proceed(); cu.reading {
				return
			}
		}
	}
}

func size(list []*schema.Message) (n int) {
	for _, m := range list {
		n += m.Size()
	}
	return n
}

// recent reports whether the oldest missed message is young enough.
func (cu *catchUp) recent(list []*schema.Message) bool {
	return len(list) == 0 ||
		time.Since(schema.OffsetTime(list[0].Offset)) <= time.Duration(cu.op.rules.HistoryTTL)
}

// answer is the reply of a recovery, with its first page.
func (cu *catchUp) answer(list []*schema.Message) {
	cu.answered = true
	pubs := make([]*protocol.Publication, len(list))
	for i, m := range list {
		pubs[i] = schema.Publication(m)
	}
	cu.lane.subscribed(cu.sub, cu.op, &protocol.SubscribeResult{
		Recovered: true, WasRecovering: true, Offset: cu.op.req.Offset, Publications: pubs,
	})
}

// unrecoverable answers that the position cannot be recovered from: the
// client begins at the top.
func (cu *catchUp) unrecoverable() {
	delete(cu.lane.catching, cu.sub)
	if cu.op.req.Flag&flagRejectUnrecovered != 0 {
		cu.lane.refuse(cu.sub, cu.op, schema.ErrUnrecoverable)
		return
	}
	if !cu.goLive() {
		cu.goLive() // it stands at the end of the log: this time it is
	}
	cu.lane.subscribed(cu.sub, cu.op, &protocol.SubscribeResult{
		WasRecovering: true, Offset: cu.upTo,
	})
}

// read asks for the next page.
func (cu *catchUp) read() {
	ln, atMost := cu.lane, 0
	if !cu.answered {
		atMost = cu.op.rules.HistorySize
	}
	cu.reading = true
	ln.all.pages.read(missed{cu.room.Name(), cu.from, cu.upTo, atMost}, func(p page) {
		ln.loop.Post(func() {
			cu.reading = false
			if ln.catching[cu.sub] == cu {
				cu.page(p)
			}
			cu.op.session.catchUp()
		})
	})
}

// page takes a page that was read.
func (cu *catchUp) page(p page) {
	ln, s, list := cu.lane, cu.op.session, p.list
	switch {
	case p.err != nil && !cu.answered:
		ln.refuse(cu.sub, cu.op, schema.ErrInternal)
		return
	case p.err != nil:
		s.close(schema.CloseInsufficientState) // it reconnects and recovers from where it is
		return
	case p.tooMany, !cu.answered && !cu.recent(list), cu.op.connect != nil && (cu.partly(list) || !cu.goLive()):
		cu.unrecoverable()
		return
	}
	switch {
	case cu.op.connect != nil: // which goes live when it is answered: perhaps right now
		delete(ln.catching, cu.sub)
		cu.answer(list)
		return
	case cu.answered:
		ln.pushAll(s, list)
	default:
		cu.answer(list)
	}
	if len(list) > 0 {
		cu.from = list[len(list)-1].Offset
	} else {
		cu.from = cu.upTo // hidden rows may stand at the end
	}
	if ln.catching[cu.sub] == cu && cu.from >= cu.upTo && cu.goLive() { // the answer may have come too late
		delete(ln.catching, cu.sub)
	}
}

// partly reports whether a page is not all that was missed. The answer to a
// connect has no room for more.
func (cu *catchUp) partly(list []*schema.Message) bool {
	return len(list) > 0 && list[len(list)-1].Offset < cu.upTo
}

// proceed takes the first page from memory, if that has all there is, and reads
// on otherwise.
func (cu *catchUp) proceed() {
	if !cu.answered {
		if list, ok := cu.room.After(cu.from, cu.upTo); ok && size(list) <= pageBytes {
			cu.page(page{list: list, tooMany: len(list) > cu.op.rules.HistorySize})
			return
		}
	}
	cu.read()
}

// goLive ends the pause. It returns false when the log could not wait: then
// there is more to read, up to a new end. A connect that has yet to be
// answered holds the live messages back itself.
func (cu *catchUp) goLive() bool {
	position, live := cu.sub.Resume()
	if !live {
		cu.upTo = position
		return false
	}
	if cu.op.connect != nil {
		cu.sub.Pause()
	}
	return true
}
