package netpoll

import (
	"testing"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// Writing to a member costs no memory: neither a Send that the socket takes
// nor a reply that leaves at the end of the turn.
func TestSendAllocatesNothing(t *testing.T) {
	fds, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0]) //nolint:errcheck // the test is over
	defer unix.Close(fds[1]) //nolint:errcheck // the test is over
	e := &Engine{}
	e.cfg.setDefaults()
	c := bareConn(e, fds[0], discard{})
	payload := []byte(`{"push":{}}`)
	frame := append(AppendHeader(nil, 1, len(payload)), payload...)
	drained := make([]byte, 4096)
	step := func() {
		c.Send(frame)
		c.Reply(false, payload)
		c.loop.sendQueued()
		if n, err := unix.Read(fds[1], drained); err != nil || n != 2*len(frame) {
			t.Fatalf("read %d bytes, %v; want both frames", n, err)
		}
	}
	step()
	if n := testing.AllocsPerRun(100, step); n > 0 {
		t.Errorf("a Send and a Reply allocate %v times, want 0", n)
	}
}

// budget allows so many frames.
type budget struct {
	echo
	frames int
}

func (b *budget) Charge(*Conn, int) bool { b.frames--; return b.frames >= 0 }

func TestChargerEndsFloods(t *testing.T) {
	ended := make(chan uint16, 1)
	_, addr := start(t, Config{Flood: Close{3013, "too many requests"}}, func() Handler {
		return &budget{echo: echo{ended}, frames: 3}
	})
	p := handshake(t, addr)
	p.send(join(text("a"), frame(ws.OpPing, true, ""), text("b"), frame(ws.OpPing, true, ""), text("c")))
	p.expect(ws.OpText, "a")
	p.expect(ws.OpPong, "")
	p.expect(ws.OpText, "b")
	p.expectClose(3013)
	if code := <-ended; code != 3013 {
		t.Errorf("the handler was told %d", code)
	}
}
