package netpoll

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestQueueThatNeverEmpties: a peer that reads as fast as we write, and is
// always a little behind, costs what it is behind and not what it ever got.
func TestQueueThatNeverEmpties(t *testing.T) {
	e, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.abandon()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1]) //nolint:errcheck // a test's
	e.conns.Add(1)
	c := e.loops[0].add(fds[0], stateOpen, &echo{make(chan uint16, 1)})
	defer c.end(codeAbnormal)

	piece := make([]byte, 32<<10)
	for c.push() == pushedAll {
		c.Reply(true, piece)
	}
	c.blocked = true
	for range 1000 {
		c.Reply(true, piece)
		if n, err := unix.Read(fds[1], piece); n <= 0 || err != nil {
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
