package netpoll

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
	"golang.org/x/sys/unix"
)

var nbioEngine = engine{
	newPoller:   newNbio,
	newAcceptor: newNetAcceptor,
	receive:     func(l *Loop, s socket) { l.poll.(*nbioPoller).receive(s.conn) }, //nolint:forcetypeassert // one engine makes both
	take:        func(conn *net.TCPConn) (socket, error) { return socket{conn: conn}, nil },
	refuse: func(s socket, answer []byte) {
		if len(answer) > 0 {
			_ = s.conn.SetWriteDeadline(time.Now().Add(time.Second)) // it is new, so it has room
			_, _ = s.conn.Write(answer)                              // best effort
		}
		_ = s.conn.Close()
	},
}

// nbioPoller is the poller for systems without epoll: the raw engine of
// github.com/lesismal/nbio, which knows kqueue as well. There is one nbio.Engine with one
// poller for each Loop, and that poller's goroutine is the loop's: nbio calls onRead on
// it. Its properties are met so:
//
//   - There is no call behind the events that came together, and no time-out. So a socket
//     pair is among the sockets: a byte in it, written with the first event, or by wake,
//     or by a timer for the ticks, comes back behind those events as one more, and with
//     that one the turn is taken.
//   - Until its first request is known to be for a loop, a socket is not nbio's but is
//     read by goroutines, each of which ends with one read (nbio_heads.go): nbio takes no
//     socket out of its poller but by closing it, and one that went to the HTTP server by
//     way of a duplicate would go on to be told of, by a number that is somebody else's by
//     then.
//   - nbio keeps what a socket does not take, without a bound, and drops it on Close.
//     OnWrittenSize counts it (held). While there is any, the connection is blocked as it
//     is with epoll, so that it is at most what one write was given, and does not end.
//   - nbio closes a socket when its peer has ended the other direction (on Linux), behind
//     the event: so outlivesEOF is false, and onRead reads until there is no more.
//   - OnClose comes from another goroutine, of sockets closed on either side: it only
//     posts, and for those that nbio has closed, which still have their session.
//   - Writev, deadlines and nbio's own accepting and dialling are not used.
type nbioPoller struct {
	loop      *Loop
	engine    *nbio.Engine
	wakeConn  *nbio.Conn  // the end of the socket pair that is polled
	wakeFD    int         // the other end
	signalled atomic.Bool // a byte is in it
	started   atomic.Bool
	stopped   chan struct{} // closed when the loop has shut down
	wg        sync.WaitGroup

	mu     sync.Mutex
	silent map[*net.TCPConn]struct{} // accepted, nothing read yet; nil: the loop is shutting down

	// the loop's
	socks   []nbioSocket // by slot
	heads   map[*Conn]*head
	events  bool    // some have come since the last turn
	writing bool    // in nbio.Conn.Write, of whose bytes OnWrittenSize is told as well
	unread  []*Conn // of which more may be read
	drained []*Conn // of whom nothing is held any more
	ticker  *time.Timer
	done    bool
}

// nbioSocket is what is kept of a connection; zero while it is in heads.
type nbioSocket struct {
	conn *nbio.Conn
	held int // bytes that nbio keeps
}

// maxHeld bounds what nbio keeps of a connection, bytes.
const maxHeld = 64 << 10

// readsAtOnce bounds what one connection may bring before others have their turn.
const readsAtOnce = 16

var nbioStart sync.Mutex // of the package's variables

func newNbio(l *Loop) (poller, error) {
	ends, err := socketPair()
	if err != nil {
		return nil, err
	}
	p := &nbioPoller{loop: l, wakeFD: ends[1], stopped: make(chan struct{}), socks: make([]nbioSocket, 1),
		heads: make(map[*Conn]*head), silent: make(map[*net.TCPConn]struct{})}
	p.ticker = time.AfterFunc(time.Hour, p.wake)
	p.ticker.Stop()
	f := os.NewFile(uintptr(ends[0]), "wake")
	wake, err := net.FileConn(f)
	_ = f.Close() // FileConn has its own
	if err != nil {
		_ = unix.Close(p.wakeFD)
		return nil, err
	}
	p.engine = nbio.NewEngine(nbio.Config{Name: "hubbub", NPoller: 1, EpollMod: nbio.EPOLLET, ReadBufferSize: 1})
	p.engine.OnRead(p.onRead)
	p.engine.OnWrittenSize(p.onWritten)
	p.engine.OnClose(p.onClose)
	if err := p.start(); err != nil {
		_ = wake.Close()
		_ = unix.Close(p.wakeFD)
		return nil, err
	}
	if p.wakeConn, err = p.engine.AddConn(wake); err != nil {
		_ = wake.Close()
		p.close()
		return nil, err
	}
	return p, nil
}

// start makes nbio's table of connections, by descriptor, no larger than it can get: the
// collector goes through it.
func (p *nbioPoller) start() error {
	nbioStart.Lock()
	defer nbioStart.Unlock()
	logging.SetLevel(logging.LevelNone) // it would write to stdout
	most := nbio.MaxOpenFiles
	defer func() { nbio.MaxOpenFiles = most }()
	const others = 64 << 10 // descriptors of connections have numbers behind them
	nbio.MaxOpenFiles = min(most, p.loop.engine.cfg.MaxConns+others)
	return p.engine.Start()
}

func (p *nbioPoller) close() {
	p.engine.Stop()
	p.loop.mu.Lock()
	defer p.loop.mu.Unlock()
	p.loop.gone = true
	_ = unix.Close(p.wakeFD)
}

func (p *nbioPoller) run() {
	p.started.Store(true)
	p.wake()
	<-p.stopped
	p.ticker.Stop()
	p.wg.Wait() // they are told by ended
	p.close()
}

// wake puts a byte into the pair, unless there is one.
func (p *nbioPoller) wake() {
	if p.signalled.Swap(true) {
		return
	}
	p.loop.mu.Lock()
	defer p.loop.mu.Unlock()
	if !p.loop.gone { // or this would write to somebody else's descriptor
		_, _ = unix.Write(p.wakeFD, []byte{1}) // there is room for one
	}
}

// onRead is nbio's event: there is something to be read, or an end.
func (p *nbioPoller) onRead(conn *nbio.Conn) {
	if !p.started.Load() || conn == p.wakeConn { // until it has begun there is no other
		var b [16]byte
		_, _ = conn.Read(b[:]) // all that wake has written
		p.signalled.Store(false)
		if p.started.Load() && !p.done {
			p.turn()
		}
		return
	}
	if c, _ := conn.Session().(*Conn); c != nil && !p.done {
		p.begin()
		p.serve(c)
		p.wake()
	}
}

func (p *nbioPoller) begin() {
	if !p.events {
		p.events = true
		p.loop.begin()
	}
}

// serve reads what has come for a connection.
func (p *nbioPoller) serve(c *Conn) {
	defer p.loop.guard(c)
	for range readsAtOnce {
		if c.state == stateDone || c.paused || !c.readable() {
			return
		}
	}
	p.unread = append(p.unread, c)
}

// turn is the loop's, with what nbio does not tell as an event of its own.
func (p *nbioPoller) turn() {
	l := p.loop
	p.begin()
	for _, c := range p.take(&p.drained) {
		if c.state != stateDone && c.blocked && !p.holds(c) {
			p.writable(c)
		}
	}
	for _, c := range p.take(&p.unread) {
		p.serve(c)
	}
	l.turn()
	p.events = false
	switch {
	case l.stopped:
		p.done = true
		p.closeSilent()
		l.shutdown()
		close(p.stopped)
	case l.again, len(p.unread) > 0, len(p.drained) > 0:
		p.wake()
	case l.sweeping():
		p.ticker.Reset(max(time.Millisecond, time.Until(l.tickAt)))
	}
}

func (p *nbioPoller) take(list *[]*Conn) []*Conn {
	conns := *list
	*list = nil
	return conns
}

func (p *nbioPoller) writable(c *Conn) {
	defer p.loop.guard(c)
	c.writable()
}

// onWritten is told of bytes that a socket has taken, with its nbio.Conn locked: in
// nbio's flush, on this goroutine, or in a write of ours.
func (p *nbioPoller) onWritten(conn *nbio.Conn, _ []byte, n int) {
	c, _ := conn.Session().(*Conn)
	if c == nil || p.done {
		return
	}
	s := &p.socks[c.slot]
	s.held -= n
	if s.held == 0 && !p.writing {
		p.drained = append(p.drained, c)
		p.wake()
	}
}

// onClose is told of every end, on another goroutine.
func (p *nbioPoller) onClose(conn *nbio.Conn, _ error) {
	if c, _ := conn.Session().(*Conn); c != nil {
		p.loop.Post(func() {
			defer p.loop.guard(c)
			if c.state != stateDone {
				c.inputEnded(0)
			}
		})
	}
}

func (p *nbioPoller) add(c *Conn, s socket, keep bool) error {
	p.grow(c)
	if keep {
		return p.attach(c, s.conn)
	}
	c.fd = int32(descriptor(s.conn))
	p.heads[c] = &head{conn: s.conn}
	return nil
}

func (p *nbioPoller) grow(c *Conn) {
	for int(c.slot) >= len(p.socks) {
		p.socks = append(p.socks, nbioSocket{})
	}
}

// attach gives a socket to nbio.
func (p *nbioPoller) attach(c *Conn, conn *net.TCPConn) error {
	nb, err := p.engine.AddConn(conn) // a duplicate; conn is closed
	if err != nil {
		_ = conn.Close()
		return err
	}
	// Its addresses are not asked for, and would keep 64 bytes of a connection.
	for _, a := range []net.Addr{nb.LocalAddr(), nb.RemoteAddr()} {
		if tcp, ok := a.(*net.TCPAddr); ok {
			tcp.IP = nil
		}
	}
	nb.SetSession(c)
	p.socks[c.slot] = nbioSocket{conn: nb}
	c.fd = int32(descriptor(nb))
	unix.CloseOnExec(int(c.fd))
	return nil
}

func (p *nbioPoller) arm(c *Conn, in, _ bool) {
	h := p.heads[c]
	switch {
	case h != nil && h.conn != nil:
		p.readHead(c, h)
	case in: // events are told once: what came meanwhile has been
		p.unread = append(p.unread, c)
		p.wake()
	}
}

func (p *nbioPoller) fd(c *Conn) int {
	if conn := p.socks[c.slot].conn; conn != nil {
		if closed, _ := conn.IsClosed(); closed {
			return -1
		}
	}
	return int(c.fd)
}

func (p *nbioPoller) outlivesEOF() bool { return false }

func (p *nbioPoller) read(c *Conn, b []byte) (int, syscall.Errno) {
	conn := p.socks[c.slot].conn
	if conn == nil {
		return 0, unix.EAGAIN // its goroutine does
	}
	n, err := conn.Read(b)
	return n, errno(err)
}

func (p *nbioPoller) write(c *Conn, b []byte) (int, syscall.Errno) {
	s := &p.socks[c.slot]
	if s.conn == nil {
		return 0, unix.ENOTCONN
	}
	n := 0
	for n < len(b) && s.held == 0 {
		piece := b[n:min(len(b), n+maxHeld)]
		s.held = len(piece)
		p.writing = true
		_, err := s.conn.Write(piece)
		p.writing = false
		if err != nil {
			return 0, errno(err)
		}
		n += len(piece)
	}
	return n, 0
}

func (p *nbioPoller) holds(c *Conn) bool { return p.socks[c.slot].held > 0 }

func (p *nbioPoller) closeConn(c *Conn) {
	if h := p.heads[c]; h != nil {
		delete(p.heads, c)
		if h.conn != nil {
			_ = h.conn.Close() // ends its goroutine
		} else {
			h.stop()
		}
	}
	s := &p.socks[c.slot]
	if s.conn != nil {
		if closed, _ := s.conn.IsClosed(); !closed {
			s.conn.SetSession(nil) // nobody is to be told
			_ = s.conn.Close()
		}
	}
	*s = nbioSocket{}
}
