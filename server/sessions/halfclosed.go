package sessions

import "github.com/hubbub-chat/hubbub/netpoll"

// halfClosed are a lane's sessions whose client has ended its side of the connection:
// each is ended when all its commands are answered. Owned by the loop; it is empty
// nearly always, and then costs a look at the length of a map for each answer.
type halfClosed struct {
	open    map[*session]int // commands that have yet to be answered, as counted
	recount bool             // sessions have come that were not counted
	settled []*session       // that may have nothing open any more
}

// HalfClosed implements netpoll.HalfCloser.
func (s *session) HalfClosed(*netpoll.Conn) {
	h := &s.lane().waits.half
	if h.open == nil {
		h.open = make(map[*session]int)
	}
	h.open[s] = 0
	h.recount = true
	h.settled = append(h.settled, s)
}

// change counts n commands more that are open.
func (h *halfClosed) change(s *session, n int) {
	if len(h.open) == 0 {
		return
	}
	if open, ok := h.open[s]; ok {
		h.open[s] = open + n
		h.settled = append(h.settled, s)
	}
}

// forget is for a session that has ended.
func (h *halfClosed) forget(s *session) {
	if delete(h.open, s); len(h.open) == 0 {
		*h = halfClosed{}
	}
}

// finishHalfClosed ends the sessions that owe their clients nothing more. Called once a
// turn, when what was answered in it has been given to the connections.
func (ln *lane) finishHalfClosed() {
	h := &ln.waits.half
	if len(h.settled) == 0 {
		return
	}
	if h.recount { // all, in one look at the list: many may have come in this turn
		h.recount = false
		for s := range h.open {
			h.open[s] = 0
		}
		for i := range ln.waits.list {
			w := &ln.waits.list[i]
			if _, ok := h.open[w.session]; ok && !w.answered {
				h.open[w.session]++
			}
		}
	}
	settled := h.settled
	h.settled = nil
	for _, s := range settled {
		if n, ok := h.open[s]; ok && n == 0 && ln.connecting[s] == nil && !ln.replaying[s] {
			s.conn.Finish() // and Closed forgets it
		}
	}
}
