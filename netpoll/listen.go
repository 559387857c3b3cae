package netpoll

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listener deals the sockets that its acceptor takes to the loops, in turn, or turns
// them away.
type listener struct {
	engine   *Engine
	acceptor acceptor
	addr     net.Addr
	http     *httpListener
	full     []byte // the answer when it is

	away   atomic.Bool   // connections are turned away, Config.TurnedAway has been told
	awayAt atomic.Uint32 // when one was last, loop seconds

	accepted, refused atomic.Uint64
}

const (
	// headsAbove is how many sockets above MaxConns may say what they want: a
	// server that is full refuses WebSockets, and goes on answering health
	// checks and scrapes, which cost the loops nothing once their head is read.
	headsAbove = 64
)

func newListener(e *Engine, addr string) (*listener, error) {
	lc := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, rc syscall.RawConn) error {
		var err error
		if cerr := rc.Control(func(fd uintptr) { err = setSocketOptions(int(fd)) }); cerr != nil {
			return cerr
		}
		return err
	}}
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		_ = ln.Close()
		return nil, fmt.Errorf("listen on %s: %w", addr, errNotTCP)
	}
	l := &listener{
		engine: e, addr: tcp.Addr(), http: newHTTPListener(tcp.Addr()),
		full: errorResponse(http.StatusServiceUnavailable, "server is full"),
	}
	if l.acceptor, err = e.newAcceptor(l, tcp); err != nil {
		return nil, err
	}
	return l, nil
}

// notSentLowat is how many bytes the kernel takes beyond what is on its way.
// Without it a reader that stops fills megabytes of kernel memory first.
const notSentLowat = 128 << 10

// setSocketOptions sets what a listener hands down to the sockets it accepts: that saves
// the calls for each.
func setSocketOptions(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("setsockopt", setLowat(fd, notSentLowat))
}

// deal gives a new socket to a loop, or refuses it. l is the loop that this runs on, nil
// where it is another goroutine.
func (ln *listener) deal(l *Loop, s socket) {
	e := ln.engine
	conns, heads := e.conns.Add(1), e.heads.Add(1)
	if full := conns > int64(e.cfg.MaxConns)+headsAbove; full || heads > int64(e.cfg.MaxHeads) {
		e.conns.Add(-1)
		e.heads.Add(-1)
		ln.refused.Add(1)
		if full {
			ln.turnedAway("connections")
		} else {
			ln.turnedAway("connections without a request")
		}
		e.refuse(s, ln.full)
		return
	}
	ln.accepted.Add(1)
	switch to := e.pick(); {
	case e.receive != nil:
		e.receive(to, s)
	case to != l:
		to.adopt(adopted{socket: s})
	default:
		l.add(s, false)
	}
}

// turnAway refuses a WebSocket, whose request has been read, where the server is full,
// and reports whether it did.
func (c *Conn) turnAway() bool {
	e := c.loop.engine
	if e.conns.Load() <= int64(e.cfg.MaxConns) {
		return false
	}
	e.listen.refused.Add(1)
	_, _ = c.write(e.listen.full) // best effort: nothing was sent, so it has room
	c.end(codeAbnormal)
	e.listen.turnedAway("connections") // it is not counted any more
	return true
}

// openFiles is the limit that is named when descriptors have run out.
const openFiles = "open files"

// turnedAway notes that there is no room, and tells once, on the first loop. Any
// goroutine may call it.
func (ln *listener) turnedAway(limit string) {
	first := ln.engine.loops[0]
	ln.awayAt.Store(uint32(time.Since(first.began) / time.Second))
	if !ln.away.Swap(true) {
		first.Post(func() { ln.engine.cfg.TurnedAway(limit) })
	}
}

// quietAfter is for how many seconds nobody has been turned away when there is room again.
const quietAfter = 10

// tick tries again what failed for want of descriptors, and tells when there is room.
// On the first loop only.
func (ln *listener) tick(l *Loop) {
	ln.acceptor.tick()
	if ln.away.Load() && int32(l.second-ln.awayAt.Load()) >= quietAfter { // a turn's second may be the older one
		ln.away.Store(false)
		ln.engine.cfg.TurnedAway("")
	}
}

// close ends listening; on the first loop, or before it runs.
func (ln *listener) close() {
	_ = ln.acceptor.close()
	_ = ln.http.Close()
}

// handOver gives a connection that does not speak WebSocket to the HTTP
// server, with what was read of it.
func (l *Loop) handOver(c *Conn, head []byte, client netip.AddrPort) {
	conn, err := c.detach(head, client)
	c.end(codeAbnormal)
	if err != nil {
		return // out of descriptors: the client sees a closed connection
	}
	l.engine.listen.http.deliver(conn)
}

// detach makes a net.Conn of the socket, which is then no longer the Conn's.
func (c *Conn) detach(head []byte, client netip.AddrPort) (*readConn, error) {
	conn, err := c.loop.poll.detach(c)
	if err != nil {
		return nil, err
	}
	return &readConn{Conn: conn, read: append([]byte(nil), head...), client: client}, nil
}

// maxHTTPConns bounds the connections of the HTTP server, each of which has a
// goroutine: pages, health checks and scrapes, not chat.
const maxHTTPConns = 1024

// readConn is a connection of which something has been read already.
type readConn struct {
	net.Conn
	read   []byte
	client netip.AddrPort // whom a proxy connects for; not valid for the socket's peer
	open   *atomic.Int64  // decremented once, on Close
	closed sync.Once

	served bool // a request has been; owned by the HTTP server's goroutine
}

func (c *readConn) Read(b []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(b, c.read)
		if c.read = c.read[n:]; len(c.read) == 0 {
			c.read = nil
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

func (c *readConn) Close() error { return c.release().Close() }

// release takes the connection off those of the HTTP server, and returns it as it is.
func (c *readConn) release() net.Conn {
	c.closed.Do(func() { c.open.Add(-1) })
	return c.Conn
}

// CloseWrite lets net/http end an answer before it closes the connection with
// unread bytes, which the client would have as a reset in the answer's place.
func (c *readConn) CloseWrite() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.CloseWrite()
	}
	return nil
}

// RemoteAddr is the client's address.
func (c *readConn) RemoteAddr() net.Addr {
	if c.client.IsValid() {
		return net.TCPAddrFromAddrPort(c.client)
	}
	return c.Conn.RemoteAddr()
}

// httpListener is a net.Listener fed by the loops.
type httpListener struct {
	addr  net.Addr
	conns chan net.Conn // has room for as many as may be open
	open  atomic.Int64

	done   chan struct{}
	mu     sync.Mutex
	closed bool // guarded by mu: nothing is put into conns any more
}

func newHTTPListener(addr net.Addr) *httpListener {
	return &httpListener{addr: addr, conns: make(chan net.Conn, maxHTTPConns), done: make(chan struct{})}
}

// deliver never blocks: when the HTTP server does not keep up, or has been shut down,
// the connection is refused.
func (h *httpListener) deliver(c *readConn) {
	c.open = &h.open
	if h.open.Add(1) <= maxHTTPConns && h.put(c) {
		return
	}
	turnAway(c)
}

func (h *httpListener) put(c *readConn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	select {
	case h.conns <- c:
		return true
	default:
		return false
	}
}

func turnAway(c net.Conn) {
	_, _ = c.Write(errorResponse(http.StatusServiceUnavailable, "too many requests at once, or stopping")) // best effort
	_ = c.Close()
}

// Accept implements net.Listener.
func (h *httpListener) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Connections that wait to be accepted are turned away.
func (h *httpListener) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	close(h.done)
	for {
		select {
		case c := <-h.conns:
			turnAway(c)
		default:
			return nil
		}
	}
}

// Addr implements net.Listener.
func (h *httpListener) Addr() net.Addr { return h.addr }
