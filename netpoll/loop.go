package netpoll

import (
	"math/rand/v2"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readBufferSize = 64 << 10
	maxEvents      = 512
	eventSlot      = 0  // the eventfd's place in epoll events
	ticksPerSecond = 20 // sweeps go through all connections once a second, in as many slices
)

// Loop is one event loop: an epoll set, the connections in it and the
// goroutine that serves them. A turn of the loop
//
//  1. waits for events, not at all when there is work left,
//  2. reads what came, which calls Handlers,
//  3. runs what other goroutines posted,
//  4. runs the turn hook, in which the room shard drains its inbox and writes
//     to its members,
//  5. writes the replies that were queued since 2, one write per connection,
//  6. tells the Handlers of ended connections.
//
// Rejected: a goroutine for reading and one for writing. It takes a lock per
// write and a hand-over per message, and on few cores the two starve each
// other (a poller returning from epoll_wait queues for a P).
type Loop struct {
	// Owner is whatever the layer above keeps for this loop. Set it before
	// Start.
	Owner any

	// immutable
	engine *Engine
	index  int
	epfd   int // epoll
	evfd   int // eventfd that ends the wait

	// owned by run
	slots    []*Conn  // connections by slot, nil where free
	free     []uint32 // free slots
	gen      uint32   // numbers the connections, to recognise stale events
	buf      []byte   // every read lands here; it is the Handler's until it returns
	unsent   []*Conn  // connections with replies queued in this turn
	ended    []*Conn  // connections whose Handler is to be told Closed
	spare    []*outbound
	onTurn   func() bool
	again    bool // the turn hook has work left: do not sleep
	now      time.Time
	second   uint32 // whole seconds since the loop began
	began    time.Time
	tickAt   time.Time
	sweep    int // the slot the next slice begins at
	upgrade  upgrader
	inflater inflater
	rng      *rand.ChaCha8 // masks of client frames
	stopped  bool

	// guarded by mu
	mu     sync.Mutex
	posts  []func()
	adopts []adopted // sockets that are to be added, counted already
	gone   bool      // the descriptors are closed

	// atomic
	woken  atomic.Bool
	asleep atomic.Bool
	stats  counters
}

func newLoop(e *Engine, index int) (*Loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	evfd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(epfd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	l := &Loop{
		engine: e, index: index, epfd: epfd, evfd: evfd,
		slots: make([]*Conn, 1), // slot 0 is the eventfd's
		buf:   make([]byte, readBufferSize),
		began: time.Now(),
		rng:   rand.NewChaCha8(seed()),
	}
	l.now, l.tickAt = l.began, l.began
	l.upgrade.init(l)
	// Edge-triggered, so that the eventfd never has to be read.
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, evfd, &ev); err != nil {
		l.closeDescriptors()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return l, nil
}

func seed() (s [32]byte) {
	for i := range s {
		s[i] = byte(rand.Uint32()) //nolint:gosec // masks are not secrets
	}
	return s
}

func (l *Loop) closeDescriptors() {
	_ = unix.Close(l.evfd)
	_ = unix.Close(l.epfd)
}

// Index is the loop's number in its engine.
func (l *Loop) Index() int { return l.index }

// Second is the loop's clock: whole seconds since it began. On the loop only.
func (l *Loop) Second() uint32 { return l.second }

// Elapsed is how long the loop has run, as of the current turn. On the loop
// only.
func (l *Loop) Elapsed() time.Duration { return l.now.Sub(l.began) }

// Now is the time the current turn began. On the loop only.
func (l *Loop) Now() time.Time { return l.now }

// OnTurn sets the hook that runs once a turn. It returns whether it has work
// left; the loop then comes back at once instead of sleeping. Set it before
// Start.
func (l *Loop) OnTurn(f func() bool) { l.onTurn = f }

// Post runs f on the loop, soon. Any goroutine may call it; after the loop
// has stopped f never runs.
func (l *Loop) Post(f func()) {
	l.mu.Lock()
	l.posts = append(l.posts, f)
	l.mu.Unlock()
	l.Wake()
}

// adopted is a socket on its way to a loop: an accepted one, or one that the HTTP
// server hands back. It is counted among the connections, and those in their handshake.
type adopted struct {
	fd   int32
	back *handedBack // nil for an accepted one
}

// adopt hands a socket to the loop. Any goroutine may call it.
func (l *Loop) adopt(a adopted) {
	l.mu.Lock()
	gone := l.gone
	if !gone {
		l.adopts = append(l.adopts, a)
	}
	l.mu.Unlock()
	if gone {
		l.engine.abandonSocket(int(a.fd))
		return
	}
	l.Wake()
}

// abandonSocket closes a counted socket that no loop has made a connection of.
func (e *Engine) abandonSocket(fd int) {
	_ = unix.Close(fd)
	e.conns.Add(-1)
	e.heads.Add(-1)
}

// Wake makes the loop take a turn. Any goroutine may call it; it costs a
// system call only while the loop sleeps. (Dekker: each side stores its own
// flag before it loads the other's, so one of them sees.)
func (l *Loop) Wake() {
	if l.woken.Swap(true) || !l.asleep.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.gone { // or this would write to somebody else's descriptor
		one := [8]byte{1}
		_, _ = unix.Write(l.evfd, one[:]) // EAGAIN: the counter is full, so it is awake
	}
}

// Each calls f for every open connection. On the loop only.
func (l *Loop) Each(f func(*Conn)) {
	for _, c := range l.slots {
		if c != nil && c.state == stateOpen {
			f(c)
		}
	}
}

func (l *Loop) run() {
	events := make([]unix.EpollEvent, maxEvents)
	for !l.stopped {
		n := l.wait(events)
		l.now = time.Now()
		l.second = uint32(l.now.Sub(l.began) / time.Second)
		for i := range events[:n] {
			l.dispatch(&events[i])
		}
		if l.woken.Swap(false) {
			l.runPosts()
		}
		if !l.now.Before(l.tickAt) {
			l.tick()
		}
		l.again = l.onTurn != nil && l.onTurn()
		l.sendQueued()
		l.reap()
	}
	l.shutdown()
}

// wait blocks until there is something to do and returns the number of
// events. While there is work left it only looks, and without the scheduler:
// a system call that cannot block need not announce itself to it.
func (l *Loop) wait(events []unix.EpollEvent) int {
	if l.again || len(l.ended) > 0 {
		return pollNow(l.epfd, events)
	}
	if n := pollNow(l.epfd, events); n > 0 {
		return n
	}
	timeout := -1
	if l.sweeping() {
		timeout = max(0, int(time.Until(l.tickAt)/time.Millisecond)+1)
	}
	l.asleep.Store(true)
	if l.woken.Load() {
		timeout = 0
	}
	n, err := unix.EpollWait(l.epfd, events, timeout)
	l.asleep.Store(false)
	if err != nil {
		return 0 // EINTR; every other errno is a bug that the next turn meets again
	}
	return n
}

// dispatch serves one event. A panic of the Handler ends the connection it
// came from and goes no further.
func (l *Loop) dispatch(ev *unix.EpollEvent) {
	switch ev.Fd {
	case eventSlot:
		return // it has woken the loop, that was all
	case listenSlot:
		if ln := l.engine.listen; ln.fd >= 0 {
			ln.accept(l)
		}
		return
	}
	c := l.slots[ev.Fd]
	if c == nil || c.gen != uint32(ev.Pad) || c.state == stateDone {
		return // an event of a connection that ended earlier in this turn
	}
	defer l.guard(c)
	if ev.Events&unix.EPOLLOUT != 0 {
		c.writable()
	}
	if ev.Events&^uint32(unix.EPOLLOUT) != 0 && c.state != stateDone {
		c.readable()
	}
}

func (l *Loop) guard(c *Conn) {
	if v := recover(); v != nil {
		l.stats.panics.Add(1)
		l.engine.cfg.Panicked(v, debug.Stack())
		c.fail(closeInternal)
	}
}

func (l *Loop) runPosts() {
	l.mu.Lock()
	posts, adopts := l.posts, l.adopts
	l.posts, l.adopts = nil, nil
	l.mu.Unlock()
	for _, a := range adopts {
		if c := l.add(int(a.fd), stateHead, nil); c != nil && a.back != nil {
			l.answerHandedBack(c, a.back)
		}
	}
	for _, f := range posts {
		f()
	}
}

func (l *Loop) answerHandedBack(c *Conn, b *handedBack) {
	defer l.guard(c)
	c.handshake(b.line, b.head, b.rest, b.client)
}

// add makes a connection of a socket. It returns nil when epoll has no room
// for it; the socket is then closed.
func (l *Loop) add(fd int, st state, h Handler) *Conn {
	var slot uint32
	if n := len(l.free); n > 0 {
		slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		slot = uint32(len(l.slots))
		l.slots = append(l.slots, nil)
	}
	l.gen++
	c := &Conn{loop: l, handler: h, fd: int32(fd), slot: slot, gen: l.gen, since: l.second, state: st}
	events := uint32(unix.EPOLLIN)
	if st == stateDial {
		events = unix.EPOLLOUT
	}
	ev := unix.EpollEvent{Events: events, Fd: int32(slot), Pad: int32(l.gen)}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		_ = unix.Close(fd)
		l.free = append(l.free, slot)
		l.engine.conns.Add(-1)
		c.headRead()
		return nil
	}
	l.slots[slot] = c
	return c
}

// sendQueued writes the replies of this turn.
func (l *Loop) sendQueued() {
	for i := 0; i < len(l.unsent); i++ { // Drained may queue more
		c := l.unsent[i]
		l.unsent[i] = nil
		c.queued = false
		if c.state != stateDone {
			c.flush()
		}
	}
	l.unsent = l.unsent[:0]
}

// reap tells Handlers of their connections' ends and frees the slots of those
// whose socket is gone.
func (l *Loop) reap() {
	for i := 0; i < len(l.ended); i++ {
		c := l.ended[i]
		l.ended[i] = nil
		if h := c.handler; h != nil {
			c.handler = nil
			l.tellClosed(h, c)
		}
		if c.state == stateDone && l.slots[c.slot] == c {
			l.slots[c.slot] = nil
			l.free = append(l.free, c.slot)
		}
	}
	if len(l.ended) > 0 {
		l.again = true // what Closed did may want to be written
		l.ended = l.ended[:0]
	}
}

func (l *Loop) tellClosed(h Handler, c *Conn) {
	defer l.guard(c)
	h.Closed(c, c.code)
}

// stop ends the loop after this turn.
func (l *Loop) stop() { l.stopped = true }

func (l *Loop) shutdown() {
	if ln := l.engine.listen; l.index == 0 && ln != nil {
		ln.close()
	}
	for _, c := range l.slots {
		if c != nil {
			c.end(codeAbnormal)
		}
	}
	l.reap()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.adopts {
		l.engine.abandonSocket(int(a.fd))
	}
	l.adopts = nil
	l.closeDescriptors()
	l.gone = true
}
