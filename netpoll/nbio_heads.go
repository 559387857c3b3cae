package netpoll

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// What a socket goes through before it is nbio's: it is accepted, or connects, and what
// comes first is read, by goroutines that wait for package net and end with that.

// netAcceptor accepts on a goroutine, with package net.
type netAcceptor struct {
	listener *listener
	tcp      *net.TCPListener
	closed   chan struct{}
	once     sync.Once
}

func newNetAcceptor(ln *listener, tcp *net.TCPListener) (acceptor, error) {
	return &netAcceptor{listener: ln, tcp: tcp, closed: make(chan struct{})}, nil
}

func (a *netAcceptor) start() { a.listener.engine.wg.Go(a.run) } // ends by close

func (a *netAcceptor) run() {
	for {
		conn, err := a.tcp.AcceptTCP()
		switch {
		case err == nil:
			a.listener.deal(nil, socket{conn: conn})
		case errors.Is(err, net.ErrClosed):
			return
		default: // out of descriptors, or memory: the backlog waits
			a.listener.turnedAway(openFiles)
			select {
			case <-a.closed:
			case <-time.After(time.Second / ticksPerSecond):
			}
		}
	}
}

func (a *netAcceptor) tick()       {}
func (a *netAcceptor) ticks() bool { return false }

func (a *netAcceptor) close() (err error) {
	a.once.Do(func() {
		close(a.closed)
		err = a.tcp.Close()
	})
	return err
}

// head is a socket that is not nbio's yet: it connects, or its first request is read.
type head struct {
	conn *net.TCPConn // nil while it connects
	stop context.CancelFunc
}

// heads' buffers, of which there are as many as connections that say what they want.
var headBuffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// receive reads once from an accepted socket, and brings it to the loop with what came.
func (p *nbioPoller) receive(conn *net.TCPConn) {
	l := p.loop
	p.mu.Lock()
	open := p.silent != nil
	if open {
		p.silent[conn] = struct{}{}
		p.wg.Add(1)
	}
	p.mu.Unlock()
	if !open {
		l.engine.abandonSocket(socket{conn: conn})
		return
	}
	since := time.Since(l.began)
	go func() { // ends with the read, its deadline, or the loop
		defer p.wg.Done()
		buf := headBuffers.Get().(*[4 << 10]byte) //nolint:forcetypeassert // its New
		defer headBuffers.Put(buf)
		_ = conn.SetReadDeadline(time.Now().Add(l.engine.cfg.HandshakeTimeout))
		n, err := conn.Read(buf[:])
		p.mu.Lock()
		delete(p.silent, conn)
		p.mu.Unlock()
		if err != nil {
			l.stats.badHandshakes.Add(1)
			l.engine.abandonSocket(socket{conn: conn})
			return
		}
		_ = conn.SetReadDeadline(time.Time{}) // the loop sweeps
		l.adopt(adopted{socket: socket{conn: conn}, first: bytes.Clone(buf[:n]), since: uint32(since / time.Second)})
	}()
}

// closeSilent closes what receive waits for.
func (p *nbioPoller) closeSilent() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.silent {
		_ = conn.Close()
	}
	p.silent = nil
}

// readHead reads once more of a head.
func (p *nbioPoller) readHead(c *Conn, h *head) {
	p.wg.Go(func() { // ends with the read, or when the connection does
		buf := headBuffers.Get().(*[4 << 10]byte) //nolint:forcetypeassert // its New
		defer headBuffers.Put(buf)
		n, err := h.conn.Read(buf[:])
		b := bytes.Clone(buf[:n])
		p.loop.Post(func() { p.headRead(c, h, b, err) })
	})
}

// call runs f on the loop and returns what f does; false when the loop has ended.
func (p *nbioPoller) call(f func() bool) bool {
	answer := make(chan bool, 1)
	p.loop.Post(func() { answer <- f() })
	select {
	case ok := <-answer:
		return ok
	case <-p.stopped:
		return false
	}
}

func (p *nbioPoller) headRead(c *Conn, h *head, b []byte, err error) {
	switch {
	case p.heads[c] != h: // it has ended
	case err != nil:
		c.inputEnded(errno(err))
	default:
		p.loop.feedHead(c, b)
	}
}

func (p *nbioPoller) dial(c *Conn, d *Dial) error {
	p.grow(c)
	ctx, stop := context.WithCancel(context.Background())
	h := &head{stop: stop}
	p.heads[c] = h
	p.wg.Go(func() { // ends when connected or not, or with the connection
		defer stop()
		dialer := net.Dialer{KeepAlive: -1, Control: func(_, _ string, rc syscall.RawConn) error {
			return rc.Control(func(fd uintptr) { bindLate(int(fd)) })
		}}
		if d.Local.IsValid() {
			dialer.LocalAddr = net.TCPAddrFromAddrPort(d.local())
		}
		conn, err := dialer.DialContext(ctx, "tcp", d.Addr.String())
		if !p.call(func() bool { return p.connected(c, h, conn, err) }) && conn != nil {
			_ = conn.Close()
		}
	})
	return nil
}

// connected returns whether the socket is nbio's, or closed.
func (p *nbioPoller) connected(c *Conn, h *head, conn net.Conn, err error) bool {
	if p.heads[c] != h {
		return false
	}
	delete(p.heads, c)
	defer p.loop.guard(c)
	tcp, ok := conn.(*net.TCPConn)
	if err == nil && ok {
		err = p.attach(c, tcp)
	}
	if call := (*os.SyscallError)(nil); errors.As(err, &call) {
		err = call // without net's words around it
	}
	c.dialled(err)
	return true
}

func (p *nbioPoller) detach(c *Conn) (net.Conn, error) {
	h := p.heads[c]
	if h == nil {
		return nil, errNotTCP // only heads are detached
	}
	delete(p.heads, c)
	c.fd = -1
	return h.conn, nil
}

func (p *nbioPoller) keep(c *Conn) error {
	h := p.heads[c]
	if h == nil {
		return nil // it is nbio's
	}
	delete(p.heads, c)
	return p.attach(c, h.conn) // closes it for its goroutine
}
