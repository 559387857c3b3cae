package sessions

import (
	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
)

// departing are a lane's sessions that end when all their commands are answered: those
// whose client has ended its side of the connection, or has sent what ends it behind
// commands that have taken effect, and those of a node that stops. Owned by the loop; it is empty nearly always, and
// then costs a look at the length of a map for each answer.
type departing struct {
	open    map[*session]departure
	recount bool       // sessions have come that were not counted
	settled []*session // that may have nothing open any more
}

// departure is how a session ends.
type departure struct {
	open int          // commands that have yet to be answered, as counted
	with schema.Close // zero: the client has ended it, and needs no reason
}

// HalfClosed implements netpoll.HalfCloser.
func (s *session) HalfClosed(*netpoll.Conn) { s.lane().waits.departing.add(s, schema.Close{}) }

// depart closes a connection when the commands before are answered, and takes no more of
// them: what has been stored is not to look lost. Each is answered in time, see await.
func (s *session) depart(with schema.Close) {
	if !s.connected() { // nothing has been asked
		s.close(with)
		return
	}
	s.flags |= flagLeaving
	s.lane().waits.departing.add(s, with)
}

// add notes how a session will end. The first reason stays.
func (d *departing) add(s *session, with schema.Close) {
	if d.open == nil {
		d.open = make(map[*session]departure)
	}
	if before := d.open[s]; before.with.Code != 0 {
		with = before.with
	}
	d.open[s] = departure{with: with}
	d.recount = true
	d.settled = append(d.settled, s)
}

// change counts n commands more that are open.
func (d *departing) change(s *session, n int) {
	if len(d.open) == 0 {
		return
	}
	if x, ok := d.open[s]; ok {
		x.open += n
		d.open[s] = x
		d.settled = append(d.settled, s)
	}
}

// forget is for a session that has ended.
func (d *departing) forget(s *session) {
	if delete(d.open, s); len(d.open) == 0 {
		*d = departing{}
	}
}

// finishDeparting ends the sessions that owe their clients nothing more. Called once a
// turn, when what was answered in it has been given to the connections.
func (ln *lane) finishDeparting() {
	d := &ln.waits.departing
	if len(d.settled) == 0 {
		return
	}
	if d.recount { // all, in one look at the list: many may have come in this turn
		d.recount = false
		for s, x := range d.open {
			x.open = 0
			d.open[s] = x
		}
		for i := range ln.waits.list {
			w := &ln.waits.list[i]
			if x, ok := d.open[w.session]; ok && !w.answered {
				x.open++
				d.open[w.session] = x
			}
		}
	}
	settled := d.settled
	d.settled = nil
	for _, s := range settled {
		x, ok := d.open[s]
		switch {
		case !ok || x.open > 0 || ln.connecting[s] != nil || ln.replaying[s]:
		case x.with.Code != 0:
			s.close(x.with) // and Closed forgets it
		default:
			s.conn.Finish()
		}
	}
}
