package netpoll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// listener accepts sockets and deals them to the loops. It bypasses
// net.Conn, which would cost each connection a descriptor twice, its
// addresses, and a place in the runtime's own epoll set.
//
// The first loop accepts, between its other events, and deals the sockets out
// in turn. (Rejected: a goroutine that accepts, which costs a wake-up of
// itself and one of the loop for every connection; a listener per loop with
// SO_REUSEPORT, which lets a second server bind the same address unnoticed;
// the listener in every loop's set, which wakes them all or always the same.)
type listener struct {
	engine *Engine
	addr   net.Addr
	http   *httpListener
	full   []byte // the answer when it is

	// owned by the first loop once that runs
	fd     int  // -1 when closed
	paused bool // out of descriptors: not in the epoll set until the next tick

	away   atomic.Bool   // connections are turned away, Config.TurnedAway has been told
	awayAt atomic.Uint32 // when one was last, loop seconds

	accepted, refused atomic.Uint64
}

const (
	listenSlot    = -1 // the listener's place in epoll events
	acceptAtOnce  = 64 // then the loop looks after its connections
	listenBacklog = 4096

	// headsAbove is how many sockets above MaxConns may say what they want: a
	// server that is full refuses WebSockets, and goes on answering health
	// checks and scrapes, which cost the loops nothing once their head is read.
	headsAbove = 64
)

func newListener(e *Engine, addr string) (*listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
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
	defer ln.Close() //nolint:errcheck // the duplicate goes on listening
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("listen on %s: %w", addr, errNotTCP)
	}
	rc, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if cerr := rc.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil || err != nil {
		return nil, errors.Join(cerr, err)
	}
	// The backlog may be set again; the kernel cuts it to somaxconn.
	if err := unix.Listen(fd, listenBacklog); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("listen", err)
	}
	return &listener{
		engine: e, addr: tcp.Addr(), fd: fd, http: newHTTPListener(tcp.Addr()),
		full: errorResponse(http.StatusServiceUnavailable, "server is full"),
	}, nil
}

// notSentLowat is how many bytes the kernel takes beyond what is on its way.
// Without it a reader that stops fills megabytes of kernel memory first.
const notSentLowat = 128 << 10

// setSocketOptions sets what Linux hands down from a listener to the sockets
// it accepts: that saves the calls for each.
func setSocketOptions(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLowat))
}

// watch puts the listener into the first loop's set.
func (ln *listener) watch(l *Loop) {
	slot := int32(listenSlot)
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: slot}
	if ln.fd >= 0 && unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, ln.fd, &ev) == nil {
		ln.paused = false
	}
}

// accept takes what is waiting. On the first loop only.
func (ln *listener) accept(l *Loop) {
	for range acceptAtOnce {
		fd, errno := acceptNow(ln.fd)
		switch errno {
		case 0:
			ln.deal(l, fd)
		case unix.EINTR, unix.ECONNABORTED:
		case unix.EAGAIN:
			return
		default:
			// Out of descriptors or memory: the backlog waits until the next
			// tick, instead of waking the loop again and again.
			_ = unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, ln.fd, nil)
			ln.paused = true
			ln.turnedAway(l, "open files")
			return
		}
	}
}

// deal gives a new socket to a loop, or refuses it.
func (ln *listener) deal(l *Loop, fd int) {
	e := ln.engine
	conns, heads := e.conns.Add(1), e.heads.Add(1)
	if full := conns > int64(e.cfg.MaxConns)+headsAbove; full || heads > int64(e.cfg.MaxHeads) {
		e.conns.Add(-1)
		e.heads.Add(-1)
		ln.refused.Add(1)
		if full {
			ln.turnedAway(l, "connections")
		} else {
			ln.turnedAway(l, "connections without a request")
		}
		_, _ = unix.Write(fd, ln.full) // best effort: it is new, so it has room
		_ = unix.Close(fd)
		return
	}
	ln.accepted.Add(1)
	if to := e.pick(); to != l {
		to.adopt(adopted{fd: int32(fd)})
	} else {
		l.add(fd, stateHead, nil)
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
	_, _ = unix.Write(int(c.fd), e.listen.full) // best effort: nothing was sent, so it has room
	c.end(codeAbnormal)
	e.listen.turnedAway(c.loop, "connections") // it is not counted any more
	return true
}

// turnedAway notes that there is no room, and tells once. On any loop.
func (ln *listener) turnedAway(l *Loop, limit string) {
	ln.awayAt.Store(l.second)
	if !ln.away.Swap(true) {
		ln.engine.cfg.TurnedAway(limit)
		ln.engine.loops[0].Wake() // it has to look when it is over
	}
}

// quietAfter is for how many seconds nobody has been turned away when there is room again.
const quietAfter = 10

// tick tries again what failed for want of descriptors, and tells when there is room.
// On the first loop only.
func (ln *listener) tick(l *Loop) {
	if ln.paused {
		ln.watch(l)
	}
	if ln.away.Load() && int32(l.second-ln.awayAt.Load()) >= quietAfter { // loops' seconds differ a little
		ln.away.Store(false)
		ln.engine.cfg.TurnedAway("")
	}
}

// close ends listening; on the first loop, or before it runs.
func (ln *listener) close() {
	if ln.fd >= 0 {
		_ = unix.Close(ln.fd)
		ln.fd = -1
	}
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
	fd := int(c.fd)
	_ = unix.EpollCtl(c.loop.epfd, unix.EPOLL_CTL_DEL, fd, nil)
	c.fd = -1
	f := os.NewFile(uintptr(fd), "http")
	defer f.Close() //nolint:errcheck // FileConn has made its own duplicate
	conn, err := net.FileConn(f)
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

func (c *readConn) Close() error {
	c.closed.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
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
