package netpoll

import (
	"testing"

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
