package netpoll

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/hubbub-chat/hubbub/internal/leaks"
)

// engineUnderTest is what HUBBUB_ENGINE says, as for the server: make engines. (Read by
// each test, so that go test does not take the result of one engine for the other's.)
func engineUnderTest() string { return cmp.Or(os.Getenv("HUBBUB_ENGINE"), Engines()[0]) }

func TestMain(m *testing.M) { leaks.Main(m) }

// newEngine is New, of the engine under test.
func newEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	cfg.Engine = engineUnderTest()
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// onNbio is for what is different there, and is meant to be.
func onNbio() bool { return engineUnderTest() == "nbio" }

// bare is a poller of sockets that nobody polls: a test moves things itself.
type bare struct{ poller }

func (bare) keep(*Conn) error      { return nil }
func (bare) fd(c *Conn) int        { return int(c.fd) }
func (bare) arm(*Conn, bool, bool) {}
func (bare) outlivesEOF() bool     { return true }
func (bare) closeConn(c *Conn)     { _ = unix.Close(int(c.fd)) }
func (bare) holds(*Conn) bool      { return false }
func (bare) write(c *Conn, b []byte) (int, syscall.Errno) {
	n, err := unix.Write(int(c.fd), b)
	return n, errno(err)
}

// bareConn is an open connection of a loop that does not run.
func bareConn(e *Engine, fd int, h Handler) *Conn {
	l := &Loop{engine: e, poll: bare{}, slots: make([]*Conn, 2)}
	c := &Conn{loop: l, handler: h, fd: int32(fd), slot: 1, state: stateOpen}
	l.slots[1] = c
	return c
}

// echo sends every message back, and records the end.
type echo struct {
	ended chan uint16
}

func (h *echo) Message(c *Conn, binary bool, payload []byte) {
	if string(payload) == "panic" {
		panic("told to")
	}
	c.Reply(binary, payload)
}
func (h *echo) Drained(*Conn)               {}
func (h *echo) Tick(*Conn)                  {}
func (h *echo) Closed(_ *Conn, code uint16) { h.ended <- code }

// start runs an engine whose /ws endpoint has the given handlers, with an
// HTTP server for the rest.
func start(t testing.TB, cfg Config, handler func() Handler) (*Engine, string) {
	t.Helper()
	return startWatched(t, cfg, handler, nil)
}

// startWatched tells of the HTTP server's connections.
func startWatched(t testing.TB, cfg Config, handler func() Handler, httpState func(net.Conn, http.ConnState)) (*Engine, string) {
	t.Helper()
	cfg.Addr = "127.0.0.1:0"
	cfg.WebSocket = func(path string) bool { return path == "/ws" }
	if cfg.Upgrade == nil {
		cfg.Upgrade = func(*Request) (Handler, *Reject) { return handler(), nil }
	}
	e := newEngine(t, cfg)
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/whoami":
			_, _ = io.WriteString(w, r.RemoteAddr)
		default:
			_, _ = io.WriteString(w, "page "+r.URL.Path)
		}
	}), ReadHeaderTimeout: 5 * time.Second, ConnState: httpState}
	e.ConfigureHTTP(web)
	served := make(chan struct{})
	go func() { // ends when the listener closes
		defer close(served)
		_ = web.Serve(e.HTTP())
	}()
	e.Start()
	t.Cleanup(func() {
		_ = web.Close()
		e.Stop()
		<-served
		if n := e.Conns(); n != 0 {
			t.Errorf("%d connections are counted after the end", n)
		}
		if n := e.heads.Load(); n != 0 {
			t.Errorf("%d connections are in their handshake after the end", n)
		}
	})
	return e, e.Addr().String()
}

// startEcho serves echo and returns the codes with which connections ended.
func startEcho(t testing.TB, cfg Config) (*Engine, string, chan uint16) {
	ended := make(chan uint16, 1024)
	e, addr := start(t, cfg, func() Handler { return &echo{ended} })
	return e, addr, ended
}

// peer is a blocking client that can misbehave.
type peer struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

// goodRequest is a handshake.
const goodRequest = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

func connect(t testing.TB, addr string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return &peer{t, c, bufio.NewReader(c)}
}

// handshake returns an open WebSocket connection.
func handshake(t testing.TB, addr string) *peer {
	t.Helper()
	p := connect(t, addr)
	p.send([]byte(goodRequest))
	resp, err := http.ReadResponse(p.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 {
		t.Fatalf("handshake answered %s", resp.Status)
	}
	return p
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// frame is a masked client frame.
func frame(op ws.OpCode, fin bool, payload string) []byte {
	f := ws.MaskFrameWith(ws.NewFrame(op, fin, []byte(payload)), [4]byte{1, 2, 3, 4})
	return ws.MustCompileFrame(f)
}

func text(payload string) []byte { return frame(ws.OpText, true, payload) }

func (p *peer) read() ws.Frame {
	p.t.Helper()
	f, err := readFrame(p.r)
	if err != nil {
		p.t.Fatalf("reading a frame: %v", err)
	}
	return f
}

func (p *peer) expect(op ws.OpCode, payload string) {
	p.t.Helper()
	f := p.read()
	if f.Header.OpCode != op || string(f.Payload) != payload {
		p.t.Fatalf("got frame %v %.100q, want %v %.100q", f.Header.OpCode, f.Payload, op, payload)
	}
}

// expectClose reads the server's close frame, answers it, and reads the end
// of the stream.
func (p *peer) expectClose(code uint16) {
	p.t.Helper()
	payload := p.readClose(code)
	_, _ = p.Write(frame(ws.OpClose, true, string(payload))) // the server may be gone
	p.expectEOF()
}

func (p *peer) readClose(code uint16) []byte {
	p.t.Helper()
	f := p.read()
	if f.Header.OpCode != ws.OpClose {
		p.t.Fatalf("got frame %v %.100q, want a close frame", f.Header.OpCode, f.Payload)
	}
	if got, reason := ws.ParseCloseFrameData(f.Payload); uint16(got) != code {
		p.t.Fatalf("closed with %d %q, want %d", got, reason, code)
	}
	return f.Payload
}

func (p *peer) expectEOF() {
	p.t.Helper()
	if rest, err := io.ReadAll(p.r); len(rest) > 0 || err != nil {
		p.t.Fatalf("after the close: %q, %v; want the end of the stream", rest, err)
	}
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func addrPort(t testing.TB, addr string) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// readFrame reads one frame of a server, in a test where its length can be
// believed.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(r, payload)
	return ws.Frame{Header: h, Payload: payload}, err
}
