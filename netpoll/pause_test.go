package netpoll

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// pausing stops reading when it is told to.
type pausing struct {
	echo
	conn chan *Conn
}

func (h *pausing) Message(c *Conn, binary bool, payload []byte) {
	if string(payload) == "pause" {
		c.Pause()
		h.conn <- c
		return
	}
	h.echo.Message(c, binary, payload)
}

// TestPause: what is sent to a paused connection waits with the kernel until that is
// full and the sender is held up; once resumed, it is read from where it stood.
func TestPause(t *testing.T) {
	h := &pausing{echo{make(chan uint16, 1)}, make(chan *Conn, 1)}
	_, addr := start(t, Config{}, func() Handler { return h })
	p := handshake(t, addr)
	p.send(text("pause"))
	c := <-h.conn
	p.send(text("first"))

	pong := make([]byte, 0, 1<<20) // that nobody asked for, and nobody answers
	for len(pong) < 1<<20 {
		pong = append(pong, frame(ws.OpPong, true, "nobody asked")...)
	}
	var left []byte
	_ = p.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	for {
		n, err := p.Write(pong)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			left = pong[n:]
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	c.Loop().Post(c.Resume)
	_ = p.SetWriteDeadline(time.Now().Add(time.Minute))
	p.send(left)
	p.send(text("last"))
	p.expect(ws.OpText, "first")
	p.expect(ws.OpText, "last")
}

// TestPausedEnd: a paused connection hears of the peer's close frame when it reads
// on, and its own end does not wait for that.
func TestPausedEnd(t *testing.T) {
	h := &pausing{echo{make(chan uint16, 1)}, make(chan *Conn, 1)}
	_, addr := start(t, Config{CloseTimeout: time.Second}, func() Handler { return h })
	p := handshake(t, addr)
	p.send(text("pause"))
	c := <-h.conn
	p.send(frame(ws.OpClose, true, "\x03\xe8"))
	select {
	case code := <-h.ended:
		t.Fatalf("it ended with %d while nothing was read", code)
	case <-time.After(100 * time.Millisecond):
	}
	c.Loop().Post(c.Resume)
	if code := <-h.ended; code != 1000 {
		t.Fatalf("it ended with %d", code)
	}

	p = handshake(t, addr)
	p.send(text("pause"))
	c = <-h.conn
	c.Loop().Post(func() { c.Close(Close{3000, "closed"}) })
	if code := <-h.ended; code != 3000 {
		t.Fatalf("it ended with %d", code)
	}
	if f := p.read(); f.Header.OpCode != ws.OpClose {
		t.Fatalf("the peer got %v", f.Header)
	}
}
