package netpoll

import (
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxEvents  = 512
	eventSlot  = 0  // the eventfd's place in epoll events
	listenSlot = -1 // and the listener's
)

var epollEngine = engine{
	newPoller:   newEpoll,
	newAcceptor: newEpollAcceptor,
	take: func(conn *net.TCPConn) (socket, error) {
		defer conn.Close() //nolint:errcheck // the duplicate lives
		fd, err := duplicate(conn)
		return socket{fd: fd}, err
	},
	refuse: func(s socket, answer []byte) {
		if len(answer) > 0 {
			_, _ = writeNow(s.fd, answer) // best effort: it is new, so it has room
		}
		_ = unix.Close(s.fd)
	},
}

// epoll is the poller of Linux: a level-triggered epoll set, and system calls on the
// sockets themselves. It keeps nothing of a connection.
type epoll struct {
	loop   *Loop
	epfd   int
	evfd   int // eventfd that ends the wait
	asleep atomic.Bool
}

func newEpoll(l *Loop) (poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	evfd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(epfd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	p := &epoll{loop: l, epfd: epfd, evfd: evfd}
	// Edge-triggered, so that the eventfd never has to be read.
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: eventSlot}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, evfd, &ev); err != nil {
		p.close()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return p, nil
}

func (p *epoll) close() {
	p.loop.mu.Lock()
	defer p.loop.mu.Unlock()
	_ = unix.Close(p.evfd)
	_ = unix.Close(p.epfd)
	p.loop.gone = true
}

func (p *epoll) run() {
	l := p.loop
	events := make([]unix.EpollEvent, maxEvents)
	for !l.stopped {
		n := p.wait(events)
		l.begin()
		for i := range events[:n] {
			p.dispatch(&events[i])
		}
		l.turn()
	}
	l.shutdown()
	p.close()
}

// wait blocks until there is something to do and returns the number of
// events. While there is work left it only looks, and without the scheduler:
// a system call that cannot block need not announce itself to it.
func (p *epoll) wait(events []unix.EpollEvent) int {
	l := p.loop
	if l.again {
		return pollNow(p.epfd, events)
	}
	if n := pollNow(p.epfd, events); n > 0 {
		return n
	}
	timeout := -1
	if l.sweeping() {
		timeout = max(0, int(time.Until(l.tickAt)/time.Millisecond)+1)
	}
	p.asleep.Store(true)
	if l.woken.Load() {
		timeout = 0
	}
	n, err := unix.EpollWait(p.epfd, events, timeout)
	p.asleep.Store(false)
	if err != nil {
		return 0 // EINTR; every other errno is a bug that the next turn meets again
	}
	return n
}

// wake costs a system call only while the loop sleeps. (Dekker: each side stores its own
// flag, Loop.woken and asleep, before it loads the other's, so one of them sees.)
func (p *epoll) wake() {
	if !p.asleep.Load() {
		return
	}
	p.loop.mu.Lock()
	defer p.loop.mu.Unlock()
	if !p.loop.gone { // or this would write to somebody else's descriptor
		one := [8]byte{1}
		_, _ = unix.Write(p.evfd, one[:]) // EAGAIN: the counter is full, so it is awake
	}
}

// dispatch serves one event. A panic of the Handler ends the connection it
// came from and goes no further.
func (p *epoll) dispatch(ev *unix.EpollEvent) {
	l := p.loop
	switch ev.Fd {
	case eventSlot:
		return // it has woken the loop, that was all
	case listenSlot:
		if a, ok := l.engine.listen.acceptor.(*epollAcceptor); ok {
			a.accept()
		}
		return
	}
	c := l.slots[ev.Fd]
	if c == nil || c.gen != uint32(ev.Pad) || c.state == stateDone {
		return // an event of a connection that ended earlier in this turn
	}
	defer l.guard(c)
	if ev.Events&unix.EPOLLOUT != 0 {
		if c.state == stateDial {
			c.dialled(connectError(int(c.fd)))
		} else {
			c.writable()
		}
	}
	if ev.Events&^uint32(unix.EPOLLOUT) != 0 && c.state != stateDone {
		c.readable()
	}
}

// connectError is how an attempt to connect has ended.
func connectError(fd int) error {
	e, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && e != 0 {
		err = unix.Errno(e)
	}
	return os.NewSyscallError("connect", err)
}

func (p *epoll) add(c *Conn, s socket, _ bool) error {
	c.fd = int32(s.fd)
	events := uint32(unix.EPOLLIN)
	if c.state == stateDial {
		events = unix.EPOLLOUT
	}
	ev := unix.EpollEvent{Events: events, Fd: int32(c.slot), Pad: int32(c.gen)}
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, s.fd, &ev); err != nil {
		_ = unix.Close(s.fd)
		return os.NewSyscallError("epoll_ctl", err)
	}
	return nil
}

func (p *epoll) keep(*Conn) error { return nil }

func (p *epoll) arm(c *Conn, in, out bool) {
	var events uint32
	if in {
		events |= unix.EPOLLIN
	}
	if out {
		events |= unix.EPOLLOUT
	}
	ev := unix.EpollEvent{Events: events, Fd: int32(c.slot), Pad: int32(c.gen)}
	// It can only fail for a descriptor that is not in the set: ours is.
	_ = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_MOD, int(c.fd), &ev)
}

func (p *epoll) fd(c *Conn) int { return int(c.fd) }

func (p *epoll) outlivesEOF() bool { return true }

func (p *epoll) read(c *Conn, b []byte) (int, syscall.Errno) { return readNow(int(c.fd), b) }

func (p *epoll) write(c *Conn, b []byte) (int, syscall.Errno) { return writeNow(int(c.fd), b) }

func (p *epoll) holds(*Conn) bool { return false }

func (p *epoll) detach(c *Conn) (net.Conn, error) {
	fd := int(c.fd)
	_ = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, fd, nil)
	c.fd = -1
	f := os.NewFile(uintptr(fd), "http")
	defer f.Close() //nolint:errcheck // FileConn has made its own duplicate
	return net.FileConn(f)
}

func (p *epoll) closeConn(c *Conn) {
	_ = unix.Close(int(c.fd)) // leaves the epoll set by this
}

func (p *epoll) dial(c *Conn, d *Dial) error {
	domain := unix.AF_INET
	if d.Addr.Addr().Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	fail := func(call string, err error) error {
		_ = unix.Close(fd)
		return os.NewSyscallError(call, err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fail("setsockopt", err)
	}
	if d.Local.IsValid() {
		bindLate(fd)
		if err := unix.Bind(fd, sockaddr(d.local())); err != nil {
			return fail("bind", err)
		}
	}
	if err := unix.Connect(fd, sockaddr(d.Addr)); err != nil && err != unix.EINPROGRESS { //nolint:errorlint // an errno
		return fail("connect", err)
	}
	return p.add(c, socket{fd: fd}, true)
}

// epollAcceptor has the listener in the first loop's set: that loop accepts, between its
// other events, and deals the sockets out in turn. It bypasses net.Conn, which would cost
// each connection a descriptor twice, its addresses, and a place in the runtime's own
// epoll set. (Rejected: a goroutine that accepts, which costs a wake-up of itself and one
// of the loop for every connection; a listener per loop with SO_REUSEPORT, which lets a
// second server bind the same address unnoticed; the listener in every loop's set, which
// wakes them all or always the same.)
type epollAcceptor struct {
	listener *listener
	fd       int  // -1 when closed
	paused   bool // out of descriptors: not in the epoll set until the next tick
}

const (
	acceptAtOnce  = 64 // then the loop looks after its connections
	listenBacklog = 4096
)

func newEpollAcceptor(ln *listener, tcp *net.TCPListener) (acceptor, error) {
	defer tcp.Close() //nolint:errcheck // the duplicate goes on listening
	fd, err := duplicate(tcp)
	if err != nil {
		return nil, err
	}
	// The backlog may be set again; the kernel cuts it to somaxconn.
	if err := unix.Listen(fd, listenBacklog); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("listen", err)
	}
	return &epollAcceptor{listener: ln, fd: fd}, nil
}

// set is the one that the listener is in.
func (a *epollAcceptor) set() (*Loop, int) {
	l := a.listener.engine.loops[0]
	return l, l.poll.(*epoll).epfd //nolint:forcetypeassert // one engine makes both
}

func (a *epollAcceptor) start() {
	_, epfd := a.set()
	slot := int32(listenSlot)
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: slot}
	a.paused = a.fd >= 0 && unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, a.fd, &ev) != nil
}

func (a *epollAcceptor) ticks() bool { return a.paused }

func (a *epollAcceptor) tick() {
	if a.paused {
		a.start()
	}
}

// accept takes what is waiting.
func (a *epollAcceptor) accept() {
	if a.fd < 0 {
		return
	}
	l, epfd := a.set()
	for range acceptAtOnce {
		fd, errno := acceptNow(a.fd)
		switch errno {
		case 0:
			a.listener.deal(l, socket{fd: fd})
		case unix.EINTR, unix.ECONNABORTED:
		case unix.EAGAIN:
			return
		default:
			// Out of descriptors or memory: the backlog waits until the next
			// tick, instead of waking the loop again and again.
			_ = unix.EpollCtl(epfd, unix.EPOLL_CTL_DEL, a.fd, nil)
			a.paused = true
			a.listener.turnedAway(openFiles)
			return
		}
	}
}

func (a *epollAcceptor) close() error {
	if a.fd < 0 {
		return nil
	}
	err := unix.Close(a.fd)
	a.fd = -1
	return err
}
