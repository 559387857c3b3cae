package netpoll

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

func needsHalfClose(t *testing.T) {
	if onNbio() {
		t.Skip("nbio closes a socket when its peer has ended the other direction")
	}
}

// Where a connection does not outlive the end of its input, what came before is read and
// answered, as far as the answers are there at once.
func TestEndOfInput(t *testing.T) {
	_, addr, ended := startEcho(t, Config{})
	p := handshake(t, addr)
	p.send(join(text("a"), text(strings.Repeat("x", 60_000)), text("b")))
	_ = p.Conn.(*net.TCPConn).CloseWrite()
	if !onNbio() {
		p.expect(ws.OpText, "a")
		p.expect(ws.OpText, strings.Repeat("x", 60_000))
		p.expect(ws.OpText, "b")
	}
	if code := <-ended; code != codeAbnormal {
		t.Errorf("the handler was told %d", code)
	}
}

// A peer that ends its side of the connection and still reads gets what is queued for
// it, however much more than its socket takes, and then the end.
func TestHalfClosedPeerReadsOn(t *testing.T) {
	needsHalfClose(t)
	_, addr, ended := startEcho(t, Config{MaxQueue: 64 << 20})
	p := handshake(t, addr)
	message := strings.Repeat("x", 60_000)
	const n = 200 // 12 MB: more than kernels keep
	sent := make(chan struct{})
	go func() { // ends when the server has read all of it
		defer close(sent)
		for range n {
			_, _ = p.Write(text(message))
		}
		_ = p.Conn.(*net.TCPConn).CloseWrite()
	}()
	<-sent
	for range n {
		p.expect(ws.OpText, message)
	}
	p.expectEOF()
	if code := <-ended; code != codeAbnormal {
		t.Errorf("the handler was told %d", code)
	}
}

// owing never has its answers.
type owing struct {
	echo
	halfClosed chan *Conn
}

func (h *owing) HalfClosed(c *Conn) { h.halfClosed <- c }

// A connection whose peer has ended its side is not kept for longer than a close takes,
// whatever its Handler waits for; and it does not keep its loop busy meanwhile.
func TestHalfClosedIsBounded(t *testing.T) {
	needsHalfClose(t)
	h := &owing{echo{make(chan uint16, 1)}, make(chan *Conn, 1)}
	e, addr := start(t, Config{CloseTimeout: 2 * time.Second}, func() Handler { return h })
	p := handshake(t, addr)
	_ = p.Conn.(*net.TCPConn).CloseWrite()
	c := <-h.halfClosed
	turns := make(chan int)
	c.loop.Post(func() {
		n := 0
		c.loop.onTurn = func() bool { n++; return false }
		time.AfterFunc(500*time.Millisecond, func() { c.loop.Post(func() { turns <- n }) })
	})
	if n := <-turns; n > 1000 { // it ticks 20 times a second
		t.Errorf("%d turns in half a second", n)
	}
	if code := <-h.ended; code != codeAbnormal {
		t.Errorf("the handler was told %d", code)
	}
	p.expectEOF()
	if n := e.Conns(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// A connection whose peer has ended its side can be closed like any other: the close
// frame is not waited to be answered.
func TestHalfClosedIsClosed(t *testing.T) {
	needsHalfClose(t)
	h := &owing{echo{make(chan uint16, 1)}, make(chan *Conn, 1)}
	_, addr := start(t, Config{CloseTimeout: time.Hour}, func() Handler { return h })
	p := handshake(t, addr)
	_ = p.Conn.(*net.TCPConn).CloseWrite()
	c := <-h.halfClosed
	c.loop.Post(func() { c.Close(Close{3001, "shutdown"}) })
	p.readClose(3001)
	p.expectEOF()
	if code := <-h.ended; code != 3001 {
		t.Errorf("the handler was told %d", code)
	}
}

// Sockets that wait to be taken over by a loop when it ends are closed, and count no
// more: accepted ones and handed back ones, before its end and after.
func TestAdoptionAtTheEnd(t *testing.T) {
	e := newEngine(t, Config{Loops: 1})
	defer e.abandon()
	l := e.loops[0]
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // a test's
	socket := func(back *handedBack) io.Reader {
		p := connect(t, ln.Addr().String())
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		s, err := e.take(conn.(*net.TCPConn))
		if err != nil {
			t.Fatal(err)
		}
		e.conns.Add(1)
		e.heads.Add(1)
		l.adopt(adopted{socket: s, back: back})
		return p
	}
	others := []io.Reader{socket(nil), socket(&handedBack{head: bareRequest})}
	l.shutdown()
	others = append(others, socket(nil), socket(&handedBack{head: bareRequest}))
	for i, r := range others {
		if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
			t.Errorf("socket %d: %q, %v", i, rest, err)
		}
	}
	if conns, heads := e.Conns(), e.heads.Load(); conns != 0 || heads != 0 {
		t.Errorf("%d connections are counted, %d of them in their handshake", conns, heads)
	}
}

// Connections that the HTTP server has not accepted when it is shut down are answered,
// and closed, and count no more; so are those that come later.
func TestHTTPListenerAtTheEnd(t *testing.T) {
	h := newHTTPListener(nil)
	var peers []net.Conn
	deliver := func() {
		ours, theirs := net.Pipe()
		peers = append(peers, theirs)
		go h.deliver(&readConn{Conn: ours}) // ends when it is put, or answered
	}
	deliver()
	for len(h.conns) == 0 {
		time.Sleep(time.Millisecond)
	}
	closed := make(chan struct{})
	go func() { defer close(closed); _ = h.Close() }() // ends when the answer is read
	for i := range 2 {
		if text, err := io.ReadAll(peers[i]); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 503 ") {
			t.Errorf("connection %d: %q, %v", i, text, err)
		}
		if i == 0 {
			<-closed
			deliver()
		}
	}
	for end := time.Now().Add(time.Minute); h.open.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are counted", h.open.Load())
		}
	}
	if _, err := h.Accept(); err == nil {
		t.Error("a connection was accepted")
	}
}
