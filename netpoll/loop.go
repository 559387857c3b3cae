package netpoll

import (
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

const (
	readBufferSize = 64 << 10
	ticksPerSecond = 20 // sweeps go through all connections once a second, in as many slices
)

// Loop is one event loop: a poller, the connections in it and the
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
	poll   poller

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
	gone   bool      // the loop has shut down

	// atomic
	woken atomic.Bool
	stats counters
}

func newLoop(e *Engine, index int) (*Loop, error) {
	l := &Loop{
		engine: e, index: index,
		slots: make([]*Conn, 1), // slot 0 is the poller's own
		buf:   make([]byte, readBufferSize),
		began: time.Now(),
		rng:   rand.NewChaCha8(seed()),
	}
	l.now, l.tickAt = l.began, l.began
	l.upgrade.init(l)
	var err error
	l.poll, err = e.newPoller(l)
	return l, err
}

func seed() (s [32]byte) {
	for i := range s {
		s[i] = byte(rand.Uint32()) //nolint:gosec // masks are not secrets
	}
	return s
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
	socket
	back  *handedBack // nil for an accepted one
	first []byte      // what was read of that already, and
	since uint32      // when it came, loop seconds
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
		l.engine.abandonSocket(a.socket)
		return
	}
	l.Wake()
}

// abandonSocket closes a counted socket that no loop has made a connection of.
func (e *Engine) abandonSocket(s socket) {
	e.refuse(s, nil)
	e.conns.Add(-1)
	e.heads.Add(-1)
}

// Wake makes the loop take a turn. Any goroutine may call it; it costs little
// while the loop is awake.
func (l *Loop) Wake() {
	if !l.woken.Swap(true) {
		l.poll.wake()
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

// begin is the first part of a turn, before what came is read.
func (l *Loop) begin() {
	l.now = time.Now()
	l.second = uint32(l.now.Sub(l.began) / time.Second)
}

// turn is the other parts. again then says whether there is work left.
func (l *Loop) turn() {
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
		c := l.add(a.socket, a.back != nil)
		switch {
		case c == nil:
		case a.back != nil:
			l.answerHandedBack(c, a.back)
		case len(a.first) > 0:
			c.since = a.since
			l.feedHead(c, a.first)
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

// feedHead takes in what a poller's own goroutine has read, and asks for more of a head.
func (l *Loop) feedHead(c *Conn, b []byte) {
	defer l.guard(c)
	c.feed(b)
	if c.state == stateHead {
		c.arm(false)
	}
}

// add makes a connection of a socket that has come, for poller.add. It returns nil when
// the poller has no room for it.
func (l *Loop) add(s socket, keep bool) *Conn {
	c := l.newConn(stateHead, nil)
	if err := l.poll.add(c, s, keep); err != nil {
		l.forget(c)
		return nil
	}
	return c
}

// newConn makes a connection that has no socket yet, but is counted.
func (l *Loop) newConn(st state, h Handler) *Conn {
	var slot uint32
	if n := len(l.free); n > 0 {
		slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		slot = uint32(len(l.slots))
		l.slots = append(l.slots, nil)
	}
	l.gen++
	c := &Conn{loop: l, handler: h, fd: -1, slot: slot, gen: l.gen, since: l.second, state: st}
	l.slots[slot] = c
	return c
}

// forget takes back newConn.
func (l *Loop) forget(c *Conn) {
	l.slots[c.slot] = nil
	l.free = append(l.free, c.slot)
	l.engine.conns.Add(-1)
	c.headRead()
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

// shutdown ends the connections, behind the last turn.
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
		l.engine.abandonSocket(a.socket)
	}
	l.adopts = nil
	l.gone = true
}
