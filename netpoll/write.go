package netpoll

import (
	"encoding/binary"
	"os"
	"syscall"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// outbound is the bytes a peer has yet to take. It exists only while there
// are some, and goes back to the loop's spares.
type outbound struct {
	buf []byte
	off int // bytes of buf already written
}

func (o *outbound) rest() []byte { return o.buf[o.off:] }

// compact drops what was written once it is the larger part, so that a queue
// which is never empty does not keep all it ever held.
func (o *outbound) compact() {
	if o.off > len(o.buf)/2 {
		o.buf, o.off = o.buf[:copy(o.buf, o.rest())], 0
	}
}

// maxMerge is how much a Send is copied to leave in one write with replies
// queued in the same turn. Above it a second write costs less than the copy.
const maxMerge = 16 << 10

// Queued is the number of bytes accepted for the peer that the socket has
// not taken yet.
func (c *Conn) Queued() int {
	if c.out == nil {
		return 0
	}
	return len(c.out.rest())
}

// Reply queues one message. What is queued in a turn leaves at its end in one
// write. A peer that leaves more than MaxQueue bytes untaken is closed.
func (c *Conn) Reply(binary bool, payload []byte) {
	op := ws.OpText
	if binary {
		op = ws.OpBinary
	}
	c.queueFrame(op, payload)
}

// Ping queues a WebSocket ping without payload.
func (c *Conn) Ping() { c.queueFrame(ws.OpPing, nil) }

func (c *Conn) queueFrame(op ws.OpCode, payload []byte) {
	if c.state != stateOpen {
		return
	}
	if c.Queued()+len(payload) > c.loop.engine.cfg.MaxQueue {
		c.Close(c.loop.engine.cfg.Overflow)
		return
	}
	o := c.queue()
	o.buf = c.appendFrame(o.buf, op, payload)
}

// queue returns the buffer to append to and sees to it that it leaves.
func (c *Conn) queue() *outbound {
	l := c.loop
	if c.out == nil {
		if n := len(l.spare); n > 0 {
			c.out, l.spare = l.spare[n-1], l.spare[:n-1]
		} else {
			c.out = new(outbound)
		}
	}
	if !c.queued && !c.blocked {
		c.queued = true
		l.unsent = append(l.unsent, c)
	}
	return c.out
}

func (c *Conn) appendFrame(b []byte, op ws.OpCode, payload []byte) []byte {
	if c.mode&modeClient == 0 {
		b = AppendHeader(b, op, len(payload))
		return append(b, payload...)
	}
	var mask [4]byte
	binary.LittleEndian.PutUint32(mask[:], uint32(c.loop.rng.Uint64()))
	b = appendMaskedHeader(b, op, len(payload), mask)
	from := len(b)
	b = append(b, payload...)
	ws.Cipher(b[from:], mask, 0)
	return b
}

// Send offers whole server frames to the socket, at once and without copying
// them, and returns how many bytes it took: a number that ends on a frame.
// Of the frame the socket took a part of, the rest is kept. When it took less
// than all, Drained follows. A connection that is not open takes everything
// and sends nothing.
func (c *Conn) Send(frames []byte) int {
	switch {
	case c.state != stateOpen || len(frames) == 0:
		return len(frames)
	case c.blocked:
		return 0
	case c.out != nil && len(c.out.buf)+len(frames) <= maxMerge:
		c.out.buf = append(c.out.buf, frames...)
		return len(frames)
	case c.out != nil:
		if c.flush(); c.blocked {
			return 0
		}
		if c.state != stateOpen {
			return len(frames)
		}
	}
	n, err := c.write(frames)
	if err != 0 {
		c.failed(os.NewSyscallError("write", err))
		c.end(codeAbnormal)
		return len(frames)
	}
	if n == len(frames) {
		if c.loop.poll.holds(c) {
			c.block()
		}
		return n
	}
	taken := frameEnd(frames, n)
	if taken > n {
		o := c.queue()
		o.buf = append(o.buf, frames[n:taken]...)
	}
	c.block()
	return taken
}

// Cork makes what is sent in the rest of this turn leave in one write: Sends
// that are small enough are queued as replies are.
func (c *Conn) Cork() {
	if c.state == stateOpen {
		c.queue()
	}
}

// write is poller.write without EAGAIN and EINTR, which are zero bytes.
func (c *Conn) write(b []byte) (int, syscall.Errno) {
	n, errno := c.loop.poll.write(c, b)
	switch errno {
	case 0:
		c.loop.stats.bytesOut.Add(uint64(n))
		c.loop.stats.writes.Add(1)
		return n, 0
	case unix.EAGAIN, unix.EINTR:
		return 0, 0
	}
	return 0, errno
}

// flush writes what is queued.
func (c *Conn) flush() {
	if c.blocked {
		return // writable will
	}
	switch c.push() {
	case pushedPart:
		c.block()
	case pushedAll:
		if c.state.ending() {
			c.flushed()
		}
	}
}

// allTaken reports whether the socket has all that was to be written.
func (c *Conn) allTaken() bool { return c.out == nil && !c.loop.poll.holds(c) }

type pushed uint8

const (
	pushedAll  pushed = iota
	pushedPart        // writable follows when the rest can be, or has been
	pushFailed        // the connection has ended
)

// push writes what is queued as far as the socket takes it.
func (c *Conn) push() pushed {
	if c.allTaken() {
		return pushedAll
	}
	if c.out == nil {
		return pushedPart
	}
	if b := c.out.rest(); len(b) > 0 {
		n, err := c.write(b)
		if err != 0 {
			c.failed(os.NewSyscallError("write", err))
			c.end(codeAbnormal)
			return pushFailed
		}
		if c.out.off += n; n < len(b) {
			c.out.compact()
			return pushedPart
		}
	}
	c.release()
	if c.loop.poll.holds(c) {
		return pushedPart
	}
	return pushedAll
}

// release gives the empty out buffer back. The loop keeps some, of a size
// that fits replies; history pages and floods are not kept.
func (c *Conn) release() {
	o := c.out
	c.out = nil
	if l := c.loop; cap(o.buf) <= maxMerge && len(l.spare) < 64 {
		o.buf, o.off = o.buf[:0], 0
		l.spare = append(l.spare, o)
	}
}

// block waits for the socket to take more.
func (c *Conn) block() {
	if c.blocked {
		return
	}
	c.blocked = true
	c.loop.stats.blocked.Add(1)
	c.arm(true)
}

// arm says what to wait for: something to read, unless paused or at its end, and, where
// out says so, room to write.
func (c *Conn) arm(out bool) {
	if c.state == stateDone {
		return
	}
	c.loop.poll.arm(c, !c.paused && c.mode&modeEOF == 0, out)
}

// writable is called when a blocked socket has room again.
func (c *Conn) writable() {
	if c.push() != pushedAll {
		return
	}
	c.blocked = false
	c.arm(false)
	if c.state.ending() {
		c.flushed()
	} else if c.state == stateOpen {
		c.handler.Drained(c)
	}
}
