package netpoll

import (
	"syscall"
	"testing"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// TestQueueThatNeverEmpties: a peer that reads as fast as we write, and is
// always a little behind, costs what it is behind and not what it ever got.
func TestQueueThatNeverEmpties(t *testing.T) {
	ends, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ends[1]) //nolint:errcheck // a test's
	e := &Engine{}
	e.cfg.setDefaults()
	c := bareConn(e, ends[0], &echo{make(chan uint16, 1)})
	defer c.end(codeAbnormal)

	piece := make([]byte, 32<<10)
	for c.push() == pushedAll {
		c.Reply(true, piece)
	}
	c.blocked = true
	for range 1000 {
		c.Reply(true, piece)
		if n, err := unix.Read(ends[1], piece); n <= 0 || err != nil {
			t.Fatalf("reading the peer's end: %d, %v", n, err)
		}
		if c.push() != pushedPart {
			t.Fatal("the queue has emptied")
		}
	}
	if kept, behind := cap(c.out.buf), c.Queued(); kept > 4*behind+maxMerge {
		t.Fatalf("%d bytes are kept for %d that are behind", kept, behind)
	}
}

// holding is a poller that takes everything, and keeps it until the socket does.
type holding struct {
	bare
	held, closed bool
}

func (p *holding) write(_ *Conn, b []byte) (int, syscall.Errno) { p.held = true; return len(b), 0 }
func (p *holding) holds(*Conn) bool                             { return p.held }
func (p *holding) closeConn(*Conn)                              { p.closed = true }

// A connection does not end before the poller has given its last bytes to the socket,
// whichever way it ends, and does not wait for more than that.
func TestEndWaitsForThePoller(t *testing.T) {
	for name, end := range map[string]func(*Conn){
		"the peer's close frame": func(c *Conn) { c.feed(frame(ws.OpClose, true, "")) },
		"ours and the peer's":    func(c *Conn) { c.Close(Close{3001, "over"}); c.flush(); c.feed(frame(ws.OpClose, true, "")) },
		"Finish":                 func(c *Conn) { c.Finish() },
		"a frame that is wrong":  func(c *Conn) { c.Close(Close{3001, "over"}); c.flush(); c.feed([]byte{0xff, 0x80, 1, 2, 3, 4}) },
	} {
		t.Run(name, func(t *testing.T) {
			e := &Engine{}
			e.cfg.setDefaults()
			c := bareConn(e, -1, &echo{make(chan uint16, 1)})
			p := &holding{}
			c.loop.poll = p
			c.Reply(false, []byte("last words"))
			c.loop.sendQueued()
			if !c.Blocked() {
				t.Fatal("not blocked, and something is held")
			}
			end(c)
			c.loop.sendQueued()
			if p.closed {
				t.Fatal("closed with something held")
			}
			for range 2 { // what was held, and what was queued behind it
				p.held = false
				c.writable()
			}
			if !p.closed && c.state != stateDeaf {
				t.Fatalf("not closed, in state %d, and nothing is held", c.state)
			}
		})
	}
}
