package sessions

import (
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
)

// catchUp brings a subscription from the client's position to the live log.
// The member joined at position upTo and is paused, so the log keeps what
// comes after; (from, upTo] is read in pages. The first goes into the reply,
// the others are pushed, each when the one before has left the connection. A
// member the log could not wait for stands at a new position and reads on.
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
	if e := op.req.Epoch; !op.rules.Recovery || e != "" && e != ln.all.cfg.Epoch || cu.from > cu.upTo {
		cu.unrecoverable()
		return
	}
	if list, ok := room.After(cu.from, cu.upTo); ok && size(list) <= pageBytes {
		if !cu.recent(list) || len(list) > cu.op.rules.HistorySize {
			cu.unrecoverable()
			return
		}
		cu.goLive() // nothing can have been published since: the log is the loop's
		cu.answer(list)
		return
	}
	ln.catching[sub] = cu
	cu.read()
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
			if ln.catching[cu.sub] == cu {
				cu.reading = false
				cu.page(p)
			}
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
	case p.tooMany, !cu.answered && !cu.recent(list), cu.op.connect != nil && cu.partly(list):
		cu.unrecoverable()
		return
	}
	if cu.answered {
		ln.pushAll(s, list)
	} else {
		cu.answer(list)
	}
	if len(list) > 0 {
		cu.from = list[len(list)-1].Offset
	} else {
		cu.from = cu.upTo // hidden rows may stand at the end
	}
	if ln.catching[cu.sub] == cu { // the answer may have come too late
		cu.proceed()
	}
}

// partly reports whether a page is not all that was missed. The answer to a
// connect has no room for more.
func (cu *catchUp) partly(list []*schema.Message) bool {
	return len(list) > 0 && list[len(list)-1].Offset < cu.upTo
}

// proceed reads on, or goes live.
func (cu *catchUp) proceed() {
	if cu.op.session.conn.Queued() > 0 && cu.op.session.conn.Blocked() {
		return // drained goes on
	}
	if cu.from >= cu.upTo && cu.goLive() {
		delete(cu.lane.catching, cu.sub)
		return
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

// drained is called when the connection has taken what was sent.
func (cu *catchUp) drained() {
	if cu.answered && !cu.reading {
		cu.proceed()
	}
}
