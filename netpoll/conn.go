package netpoll

import (
	"math"
	"net/netip"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// Handler is what the layer above makes of a connection. All calls come on
// the connection's loop and never overlap; none may block.
type Handler interface {
	// Message is one whole data message. The payload is the loop's buffer:
	// it is dead when Message returns.
	Message(c *Conn, binary bool, payload []byte)
	// Drained says that a connection whose Send came up short can be
	// written to again.
	Drained(c *Conn)
	// Tick comes about once a second, for the Handler's own deadlines.
	Tick(c *Conn)
	// Closed is the last call, once for every connection that was open. The
	// code is that of the close frame sent or received, 1006 without one.
	Closed(c *Conn, code uint16)
}

// Opener is a Handler that wants to know when its connection has opened:
// after the handshake's answer was queued, before any message.
type Opener interface{ Opened(c *Conn) }

// Dialler is a Handler that wants to know when its socket has connected: before
// the handshake.
type Dialler interface{ Dialled(c *Conn) }

// Failer is a Handler that wants to know why a connection that it dialled has ended,
// before Closed: not where it ended the connection itself. The error is a StatusError
// when a handshake was answered with anything but 101, and a CloseError when there
// was a close frame.
type Failer interface{ Failed(c *Conn, err error) }

// Ponger is a Handler that wants to know of the answers to its Pings: what the peer
// had sent before has come by then.
type Ponger interface{ Ponged(c *Conn) }

// Charger is a Handler that limits what its peer may send.
type Charger interface {
	// Charge is asked for every frame, control frames included, before it is
	// handled, with the bytes of its payload. When it returns false the
	// connection is closed with Config.Flood.
	Charge(c *Conn, bytes int) bool
}

// HalfCloser is a Handler that may owe its peer something when that ends its side of the
// connection. Without it what is queued is written, and the connection ends.
type HalfCloser interface {
	// HalfClosed says that the peer sends nothing more, and may still read. It is
	// called once, without a close frame before it. Finish is to follow when
	// everything is answered; after Config.CloseTimeout it is as if it had.
	HalfClosed(c *Conn)
}

type state uint8

const (
	stateHead     state = iota // reading the request head
	stateDial                  // connecting
	stateDialHead              // reading the response head
	stateOpen
	stateClosing // our close frame is on its way; waiting for the peer's
	stateParting // both close frames have been; the socket ends when out is empty
	stateDeaf    // what still comes is not looked at; our end closes when out is empty
	stateDone    // socket closed
)

func (s state) handshaking() bool { return s < stateOpen }
func (s state) ending() bool      { return s > stateOpen && s < stateDone }
func (s state) reading() bool     { return s == stateOpen || s == stateClosing }

const (
	codeNormal   = 1000
	codeNoStatus = 1005 // a close frame without a code
	codeAbnormal = 1006 // no close frame
)

var (
	closeProtocol = Close{1002, "protocol error"}
	closeUTF8     = Close{1007, "invalid UTF-8"}
	closeTooBig   = Close{1009, "message too big"}
	closeInternal = Close{1011, "internal error"}
)

// mode is what a connection is for as long as it is open.
type mode uint8

const (
	modeClient  mode = 1 << iota // we dialled: our frames are masked, the peer's are not
	modeDeflate                  // permessage-deflate was negotiated
	modeEOF                      // the peer has ended its side; nothing is read any more
)

// Conn is one connection. All its methods are the loop's alone.
type Conn struct {
	loop    *Loop
	handler Handler   // nil once it has been told Closed
	in      *inbound  // what was read of an unfinished message; nil between messages
	out     *outbound // what the peer has yet to take; nil when nothing
	fd      int32
	slot    uint32 // its place in loop.slots
	gen     uint32 // tells it from an earlier connection of the same slot
	since   uint32 // when the state began, or, while open, when anything was last read; loop seconds
	code    uint16 // how it ended
	state   state
	mode    mode
	paused  bool // the peer is not read
	queued  bool // in loop.unsent
	blocked bool // the socket's buffer is full; writable follows
	told    bool // in loop.ended
}

// Loop is the loop the connection lives on.
func (c *Conn) Loop() *Loop { return c.loop }

// Handler is whose the connection is; nil once that has been told Closed.
func (c *Conn) Handler() Handler { return c.handler }

// Open reports whether messages can still be sent.
func (c *Conn) Open() bool { return c.state == stateOpen }

// Deflate reports whether permessage-deflate was negotiated: frames sent to the
// peer may have RSV1 set and a compressed payload.
func (c *Conn) Deflate() bool { return c.mode&modeDeflate != 0 }

// Blocked reports whether the socket's buffer is full: Drained will follow.
func (c *Conn) Blocked() bool { return c.blocked }

// Heard is when anything was last read from an open connection, in the loop's
// seconds.
func (c *Conn) Heard() uint32 { return c.since }

// RemoteAddr asks the kernel for the peer's address, so that no connection
// has to remember it. The zero AddrPort when the socket is gone.
func (c *Conn) RemoteAddr() netip.AddrPort {
	if c.state == stateDone {
		return netip.AddrPort{}
	}
	return peerNow(c.loop.poll.fd(c))
}

// readable reads once; there may be nothing, or an end of some kind. It returns whether
// there may be more.
func (c *Conn) readable() bool {
	l := c.loop
	n, errno := l.poll.read(c, l.buf)
	if errno == unix.EAGAIN || errno == unix.EINTR {
		return false
	}
	if errno != 0 || n == 0 {
		c.inputEnded(errno)
		return false
	}
	c.feed(l.buf[:n])
	return n == len(l.buf)
}

// feed takes in what was read. b is the loop's buffer, or as good, and is changed.
func (c *Conn) feed(b []byte) {
	l := c.loop
	l.stats.reads.Add(1)
	l.stats.bytesIn.Add(uint64(len(b)))
	switch c.state {
	case stateParting, stateDeaf:
	case stateHead:
		c.readRequest(b)
	case stateDialHead:
		c.readResponse(b)
	case stateOpen:
		c.since = l.second
		c.readFrames(b)
	default:
		c.readFrames(b)
	}
}

// inputEnded is called when there is nothing more to read: the peer has ended its side,
// or the connection is broken.
func (c *Conn) inputEnded(errno unix.Errno) {
	switch {
	case c.state.handshaking():
		c.loop.stats.badHandshakes.Add(1)
		c.cutOff(errno)
	case errno != 0, c.mode&(modeEOF|modeClient) != 0:
		// Of a server nothing more is to be had; with modeEOF both sides have ended.
		c.cutOff(errno)
	case !c.loop.poll.outlivesEOF():
		if c.flush(); c.state != stateDone { // what is queued has only now
			c.cutOff(errno)
		}
	case c.state == stateOpen:
		c.mode |= modeEOF
		c.since = c.loop.second
		c.arm(c.blocked)
		if h, ok := c.handler.(HalfCloser); ok {
			h.HalfClosed(c)
		} else {
			c.Finish()
		}
	case c.allTaken():
		c.end(codeAbnormal)
	default: // the last frame has yet to leave, and no answer to it will come
		c.mode |= modeEOF
		c.state = stateParting
		c.arm(c.blocked)
	}
}

// Finish ends the connection without a close frame when what is queued is written, or
// after CloseTimeout. The Handler hears Closed at the end of this turn.
func (c *Conn) Finish() {
	if c.state != stateOpen {
		return
	}
	if c.allTaken() {
		c.end(codeAbnormal)
		return
	}
	c.close(codeAbnormal)
	c.state = stateParting
}

// Pause stops reading. What comes stays with the kernel, which closes the peer's
// window when it has no more room; that the peer has ended the connection is noticed
// when Resume reads on, or by a reset.
func (c *Conn) Pause() {
	c.paused = true
	c.arm(c.blocked)
}

// Resume ends a Pause. Until now nothing could be heard, which Heard forgets.
func (c *Conn) Resume() {
	c.paused = false
	if c.state == stateOpen {
		c.since = c.loop.second
	}
	c.arm(c.blocked)
}

// SetReceiveBuffer asks the kernel to keep about so many bytes that were not read
// (SO_RCVBUF), instead of what it finds right.
func (c *Conn) SetReceiveBuffer(bytes int) {
	if c.state != stateDone {
		_ = unix.SetsockoptInt(c.loop.poll.fd(c), unix.SOL_SOCKET, unix.SO_RCVBUF, bytes) // a wish
	}
}

// Close sends a close frame behind what is queued and ends the connection
// when the peer's comes, or after CloseTimeout. The Handler hears Closed at
// the end of this turn.
func (c *Conn) Close(cl Close) {
	if c.state != stateOpen {
		return
	}
	o := c.queue()
	o.buf = c.appendFrame(o.buf, ws.OpClose, ws.NewCloseFrameBody(ws.StatusCode(cl.Code), cl.Reason))
	c.close(cl.Code)
	if c.mode&modeEOF != 0 {
		c.state = stateParting // there will be no answer to wait for
	}
	if c.blocked {
		c.hasten()
	}
}

// Drop ends the connection without a word, as a broken network does.
func (c *Conn) Drop() { c.end(codeAbnormal) }

// hasten gives the last bytes of a peer that does not read to the kernel: it
// keeps them when the socket is closed, so the peer finds the close frame
// whenever it comes back. The socket is full, so it gets more room first; the
// kernel cuts that to wmem_max. Where it refuses, the bytes wait as others do.
func (c *Conn) hasten() {
	fd := c.loop.poll.fd(c)
	_ = setLowat(fd, math.MaxInt32)
	if size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF); err == nil && c.out != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, size+4*len(c.out.rest()))
	}
	c.push()
}

// close enters stateClosing; the last frame is queued.
func (c *Conn) close(code uint16) {
	c.state = stateClosing
	c.since = c.loop.second
	c.code = code
	c.tell()
}

// fail closes with a frame, or without one where none can be sent.
func (c *Conn) fail(cl Close) {
	if c.state == stateOpen {
		c.Close(cl)
		return
	}
	c.end(cl.Code)
}

// flushed is called in an ending state when everything is with the kernel. A
// deaf connection only ends its own direction: closing a socket with unread
// bytes would reset it, and the peer might lose our last frame.
func (c *Conn) flushed() {
	switch c.state {
	case stateParting:
		c.end(c.code)
	case stateDeaf:
		_ = unix.Shutdown(c.loop.poll.fd(c), unix.SHUT_WR)
	}
}

// end closes the socket.
func (c *Conn) end(code uint16) {
	if c.state == stateDone {
		return
	}
	if c.code == 0 {
		c.code = code
	}
	c.headRead()
	c.state = stateDone
	c.in = nil
	if c.out != nil {
		c.release()
	}
	c.loop.poll.closeConn(c)
	c.loop.engine.conns.Add(-1)
	c.told = false // once more, to free the slot
	c.tell()
}

// headRead takes an accepted connection off those whose first request is not
// complete. Called when its state changes.
func (c *Conn) headRead() {
	if c.state == stateHead {
		c.loop.engine.heads.Add(-1)
	}
}

// tell puts the connection on the list that reap goes through.
func (c *Conn) tell() {
	if !c.told {
		c.told = true
		c.loop.ended = append(c.loop.ended, c)
	}
}
