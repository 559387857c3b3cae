package netpoll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listener accepts sockets and deals them to the loops. It bypasses
// net.Conn, which would cost each connection a descriptor twice, its
// addresses, and a place in the runtime's own epoll set.
type listener struct {
	engine *Engine
	tcp    *net.TCPListener
	file   *os.File // tcp's socket once more: a TCPListener lets nobody wait on its descriptor
	http   *httpListener

	accepted, refused atomic.Uint64
}

func newListener(e *Engine, addr string) (*listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		var err error
		if cerr := rc.Control(func(fd uintptr) {
			// Linux hands these down to accepted sockets: no call for each.
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		}); cerr != nil {
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
		return nil, fmt.Errorf("listen on %s: %w", addr, errNotTCP)
	}
	file, err := tcp.File()
	if err != nil {
		_ = tcp.Close()
		return nil, err
	}
	return &listener{engine: e, tcp: tcp, file: file, http: newHTTPListener(tcp.Addr())}, nil
}

// run accepts until the listener is closed. It waits in the runtime's poller
// and then takes all there are.
func (ln *listener) run() {
	rc, err := ln.file.SyscallConn()
	if err != nil {
		return // closed before it began
	}
	for {
		var errno error
		err := rc.Read(func(fd uintptr) bool {
			errno = ln.acceptAll(int(fd))
			return !errors.Is(errno, unix.EAGAIN)
		})
		if err != nil {
			return // closed
		}
		if errno != nil {
			// Out of descriptors or memory: the backlog can wait a little.
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func (ln *listener) acceptAll(fd int) error {
	for {
		s, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return err
		}
		if ln.engine.conns.Add(1) > int64(ln.engine.cfg.MaxConns) {
			ln.engine.conns.Add(-1)
			ln.refused.Add(1)
			_, _ = unix.Write(s, errorResponse(503, "server is full")) // best effort: it is new, so it has room
			_ = unix.Close(s)
			continue
		}
		ln.accepted.Add(1)
		ln.engine.pick().adopt(s)
	}
}

func (ln *listener) close() {
	_ = ln.tcp.Close()
	_ = ln.file.Close()
	_ = ln.http.Close()
}

// handOver gives a connection that does not speak WebSocket to the HTTP
// server, with what was read of it.
func (l *Loop) handOver(c *Conn, head []byte) {
	conn, err := c.detach(head)
	c.end(codeAbnormal)
	if err != nil {
		return // out of descriptors: the client sees a closed connection
	}
	l.engine.listen.http.deliver(conn)
}

// detach makes a net.Conn of the socket, which is then no longer the Conn's.
func (c *Conn) detach(head []byte) (*readConn, error) {
	fd := int(c.fd)
	_ = unix.EpollCtl(c.loop.epfd, unix.EPOLL_CTL_DEL, fd, nil)
	c.fd = -1
	f := os.NewFile(uintptr(fd), "http")
	defer f.Close() //nolint:errcheck // FileConn has made its own duplicate
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return &readConn{Conn: conn, read: append([]byte(nil), head...)}, nil
}

// maxHTTPConns bounds the connections of the HTTP server, each of which has a
// goroutine: pages, health checks and scrapes, not chat.
const maxHTTPConns = 1024

// readConn is a connection of which something has been read already.
type readConn struct {
	net.Conn
	read   []byte
	open   *atomic.Int64 // decremented once, on Close
	closed sync.Once
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

// httpListener is a net.Listener fed by the loops.
type httpListener struct {
	addr  net.Addr
	conns chan net.Conn
	open  atomic.Int64

	once sync.Once
	done chan struct{}
}

func newHTTPListener(addr net.Addr) *httpListener {
	return &httpListener{addr: addr, conns: make(chan net.Conn, maxHTTPConns), done: make(chan struct{})}
}

// deliver never blocks: when the HTTP server does not keep up, the connection
// is refused.
func (h *httpListener) deliver(c *readConn) {
	c.open = &h.open
	if h.open.Add(1) <= maxHTTPConns {
		select {
		case h.conns <- c:
			return
		case <-h.done:
		}
	}
	_, _ = c.Write(errorResponse(503, "too many requests at once")) // best effort
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

// Close implements net.Listener.
func (h *httpListener) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements net.Listener.
func (h *httpListener) Addr() net.Addr { return h.addr }
