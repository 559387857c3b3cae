package main

import (
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/netpoll"
)

// spell is a time in which a connection is not read, so that its window closes
// when its buffer is full, and in which nothing is said over it. In a stall the
// client's process stands still: when it goes on, it reads what is there. In a
// silence the network has lost the connection: the client notices when pings stay
// away, comes back over another one, and the old one is left to the server to
// find. It is held until the spell is over, to see how the server has ended it.
//
// Rejected: a client that reads and only keeps its pongs back. The server's writes
// to it succeed, which is no half-open connection.
type spell struct {
	client *client
	what   choreKind // stalls or silences
	anew   bool      // the member was told to begin anew
	looks  int       // how often it was judged
}

const (
	stallBuffer = 16 << 10 // receive buffer in a stall: a phone's, and not loopback's megabytes
	wokenBuffer = 1 << 20  // otherwise: it has the server's last word, when the network is back

	judgement  = time.Second            // after which it is looked at how a spell was come through
	patience   = 15                     // how often, while what was missed still comes
	caughtUpAt = 500 * time.Millisecond // a delivery that is no later ends what the spell has delayed
)

// fall begins a spell of a client's connection.
func (w *worker) fall(c *client, what choreKind, until int64) {
	if w.spells[c.conn] != nil {
		return // one is enough
	}
	c.conn.Pause()
	if c.conn.SetReceiveBuffer(wokenBuffer); what == stalls {
		c.conn.SetReceiveBuffer(stallBuffer)
	}
	c.spell = what
	c.part.Live-- // others are not late for it
	w.spells[c.conn] = &spell{client: c, what: what}
	w.rec.struck(what).Members++
	w.plan(chore{at: until, client: c, what: wakes, conn: c.conn})
}

// wake ends it.
func (w *worker) wake(conn *netpoll.Conn, now int64) {
	s := w.spells[conn]
	if s == nil {
		return // the connection has ended
	}
	if c := s.client; c.conn == conn && c.state == joined {
		c.spell = wakes
		c.part.Live++
	}
	conn.Ping() // a server that has forgotten the connection resets it
	conn.SetReceiveBuffer(wokenBuffer)
	conn.Resume()
	w.plan(chore{at: now + int64(judgement), client: s.client, what: judges, conn: conn})
}

// judge counts a spell that did not end its connection. One that was left behind is
// nobody's now.
func (w *worker) judge(conn *netpoll.Conn, now int64) {
	s := w.spells[conn]
	if s == nil {
		return
	}
	c := s.client
	if s.looks++; c.conn == conn && c.spell == wakes {
		if !w.over && s.looks < patience && c.behind() {
			w.plan(chore{at: now + int64(judgement), client: c, what: judges, conn: conn})
			return
		}
		c.spell = dials
	}
	delete(w.spells, conn)
	if r := w.rec.struck(s.what); s.anew {
		r.Anew++
	} else {
		r.Kept++
	}
	if c.conn != conn {
		conn.Drop()
	}
}

// behind reports whether there is something that the client has yet to get.
func (c *client) behind() bool {
	missing, _ := c.missing()
	return missing > 0
}

// delayed reports whether a delivery is late for a spell of its member, which is no
// matter of how fast the server is. The first that is not ends that.
func (c *client) delayed(late time.Duration) bool {
	if c.spell == wakes && late <= caughtUpAt {
		c.spell = dials
	}
	return c.spell != dials
}

// deaf reports whether the client is under a spell.
func (c *client) deaf() bool { return c.spell == stalls || c.spell == silences }

// broken counts a spell whose connection was ended.
func (w *worker) broken(conn *netpoll.Conn, code uint16) {
	if s := w.spells[conn]; s != nil {
		delete(w.spells, conn)
		w.rec.struck(s.what).Closes[uint32(code)]++
	}
}

// anew notes that a member was told to begin anew.
func (w *worker) anew(conn *netpoll.Conn) {
	if s := w.spells[conn]; s != nil {
		s.anew = true
	}
}

// struck are the counts of one kind of spells.
type struck struct {
	report.Struck
	Closes map[uint32]uint64
}

// struck are the recorder's own of one kind.
func (r *recorder) struck(what choreKind) *struck {
	if what == stalls {
		return &r.stalled
	}
	return &r.silenced
}

func (s *struck) merge(o *struck) {
	s.Add(&o.Struck)
	for code, n := range o.Closes {
		s.Closes[code] += n
	}
}

// report is what is said of it; nil when there was nothing.
func (s *struck) report() *report.Struck {
	if s.Members == 0 {
		return nil
	}
	all := s.Struck
	all.Closes = report.NewCodes(s.Closes)
	return &all
}
