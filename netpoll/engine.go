package netpoll

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what an Engine is made of. Zero values mean the defaults named.
type Config struct {
	Loops  int    // event loops; default 1
	Engine string // what they stand on, one of Engines; default the first of these

	// Listen side. An Engine without Addr only dials.
	Addr         string                            // TCP address to listen on, "host:port"
	WebSocket    func(path string) bool            // which request paths, in normal form, are WebSocket endpoints; any goroutine calls it
	Upgrade      func(*Request) (Handler, *Reject) // decides on a handshake, on the connection's loop
	Subprotocols []string                          // supported, the most preferred first
	MaxConns     int                               // connections at once, above it WebSockets are answered 503; default 1<<20
	MaxHeads     int                               // of these, whose first request is not complete, above it 503; default MaxConns
	MaxHead      int                               // bytes of a request's head, above it 431; at least, and by default, 16 KiB

	// Proxied reports whether connections of this peer begin with a PROXY
	// header: then they must, and are taken for whose it names. Who writes one
	// without being asked speaks no HTTP. nil: nobody's do.
	Proxied func(peer netip.Addr) bool

	Compression bool // accept permessage-deflate where it is offered

	MaxMessage int // bytes of one message, above it close 1009; default 64 KiB
	MaxQueue   int // bytes of replies a peer may leave untaken, above it Overflow; default 2 MiB

	HandshakeTimeout time.Duration // default 5 s
	CloseTimeout     time.Duration // how long the peer's close frame is waited for; default 5 s

	Overflow Close // sent to a peer that exceeds MaxQueue; default 1008
	Flood    Close // sent to a peer that a Charger refuses; default 1008

	// TurnedAway is told on a loop, which it must not block, when the server begins to
	// turn connections away, with what there is too little of, and with "" when none has
	// been for ten seconds. Default: nothing is told.
	TurnedAway func(limit string)

	// Panicked is told of a panic in a Handler. The panic has cost its
	// connection and nothing else. Default: nothing is told.
	Panicked func(v any, stack []byte)
}

// minHead is what browsers that have collected cookies need.
const minHead = 16 << 10

// Close is a WebSocket close code with its reason.
type Close struct {
	Code   uint16
	Reason string
}

func (c *Config) setDefaults() {
	def := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	def(&c.Loops, 1)
	def(&c.MaxConns, 1<<20)
	def(&c.MaxHeads, c.MaxConns)
	c.MaxHead = max(c.MaxHead, minHead)
	def(&c.MaxMessage, 64<<10)
	def(&c.MaxQueue, 2<<20)
	if c.HandshakeTimeout <= 0 {
		c.HandshakeTimeout = 5 * time.Second
	}
	if c.CloseTimeout <= 0 {
		c.CloseTimeout = 5 * time.Second
	}
	if c.Overflow.Code == 0 {
		c.Overflow = Close{1008, "too much unread data"}
	}
	if c.Flood.Code == 0 {
		c.Flood = Close{1008, "too many frames"}
	}
	if c.TurnedAway == nil {
		c.TurnedAway = func(string) {}
	}
	if c.Panicked == nil {
		c.Panicked = func(any, []byte) {}
	}
}

// Engine is a set of event loops and, when it has an address, the listener
// that feeds them.
type Engine struct {
	namedEngine
	cfg    Config
	loops  []*Loop
	listen *listener // nil when the engine only dials
	next   atomic.Uint32
	conns  atomic.Int64 // open sockets of all loops
	heads  atomic.Int64 // of these, in stateHead

	started  bool
	wg       sync.WaitGroup
	stopOnce sync.Once
}

// New makes an engine and binds its address. Nothing runs before Start.
func New(cfg Config) (*Engine, error) {
	cfg.setDefaults()
	kind, err := engineNamed(cfg.Engine)
	if err != nil {
		return nil, err
	}
	e := &Engine{namedEngine: kind, cfg: cfg}
	for i := range cfg.Loops {
		l, err := newLoop(e, i)
		if err != nil {
			e.abandon()
			return nil, fmt.Errorf("event loop: %w", err)
		}
		e.loops = append(e.loops, l)
	}
	if cfg.Addr != "" {
		if e.listen, err = newListener(e, cfg.Addr); err != nil {
			e.abandon()
			return nil, err
		}
	}
	return e, nil
}

func (e *Engine) abandon() {
	if e.listen != nil {
		e.listen.close()
	}
	for _, l := range e.loops {
		l.poll.close()
	}
}

// Start runs the loops and begins to accept.
func (e *Engine) Start() {
	e.started = true
	if e.listen != nil {
		e.listen.acceptor.start()
	}
	for _, l := range e.loops {
		e.wg.Go(l.poll.run) // stopped by Stop
	}
}

// Addr is the address listened on, with the port the kernel chose if the
// configured one was 0. It is nil for an engine that only dials.
func (e *Engine) Addr() net.Addr {
	if e.listen == nil {
		return nil
	}
	return e.listen.addr
}

// HTTP is the listener of everything that is not a WebSocket: give it to an
// http.Server that ConfigureHTTP has seen. It is nil for an engine that only dials.
func (e *Engine) HTTP() net.Listener {
	if e.listen == nil {
		return nil
	}
	return e.listen.http
}

// Loops returns the engine's loops. The slice is not to be changed.
func (e *Engine) Loops() []*Loop { return e.loops }

// Conns is the number of open sockets, those in their handshake included.
func (e *Engine) Conns() int { return int(e.conns.Load()) }

// MaxConns is how many sockets may be open: above it new ones are turned away.
func (e *Engine) MaxConns() int { return e.cfg.MaxConns }

// Stats sums the counters of all loops.
func (e *Engine) Stats() Stats {
	var s Stats
	for _, l := range e.loops {
		l.stats.addTo(&s)
	}
	if e.listen != nil {
		s.Accepted, s.Refused = e.listen.accepted.Load(), e.listen.refused.Load()
	}
	return s
}

// StopAccepting closes the listener, soon; connections stay.
func (e *Engine) StopAccepting() {
	if e.listen != nil {
		e.loops[0].Post(e.listen.close)
	}
}

// Stop ends the engine: it stops accepting, drops the connections there still
// are without a close frame (their Handlers are told), and returns when every
// goroutine is gone. An engine that was never started is given up.
func (e *Engine) Stop() {
	e.stopOnce.Do(func() {
		if !e.started {
			e.abandon()
			return
		}
		e.StopAccepting()
		for _, l := range e.loops {
			l.Post(l.stop)
		}
	})
	e.wg.Wait()
}

// pick chooses the loop of the next connection, in turn: loops stay even
// without knowing of one another's load.
func (e *Engine) pick() *Loop {
	return e.loops[int(e.next.Add(1))%len(e.loops)]
}

var errNotTCP = errors.New("not TCP")
