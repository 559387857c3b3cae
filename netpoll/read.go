package netpoll

import (
	"errors"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// inbound is an unfinished message: a frame header of which a part has come,
// a payload of which a part has come, or a fragmented message between its
// frames. Payload is unmasked, bounded and checked as it arrives, so nothing
// is ever allocated from a declared length and bad UTF-8 ends a message
// early. (Rejected: collect a whole frame and then look at it. It reads
// large frames twice and finds errors late.)
type inbound struct {
	head    [ws.MaxHeaderSize]byte // the header so far
	nhead   int
	h       ws.Header
	inFrame bool  // h is complete, its payload is not
	got     int64 // bytes of h's payload that have come

	op      ws.OpCode // of the message, OpContinuation when there is none
	deflate bool      // the message is compressed
	msg     []byte    // its payload so far
	checked int       // bytes of msg known to be UTF-8

	control []byte // payload of a control frame so far
}

// readFrames takes in what was read. b is the loop's buffer and is changed.
func (c *Conn) readFrames(b []byte) {
	for len(b) > 0 && c.state.reading() {
		if c.in == nil {
			n := c.readWhole(b)
			if n > 0 {
				b = b[n:]
				continue
			}
			c.in = new(inbound)
		}
		b = c.readPart(b)
		if in := c.in; in != nil && in.idle() {
			c.in = nil
		}
	}
}

func (in *inbound) idle() bool {
	return in.nhead == 0 && !in.inFrame && in.op == ws.OpContinuation
}

// readWhole is the usual case: a whole, unfragmented message in b. It is
// handled where it lies. It returns the bytes used, 0 when b begins with
// anything else.
func (c *Conn) readWhole(b []byte) int {
	h, n, err := parseHeader(b)
	if n == 0 || err != nil || !h.Fin || h.Length > int64(len(b)-n) {
		return 0
	}
	if !c.checkHeader(h, ws.OpContinuation, 0) {
		return len(b)
	}
	payload := b[n : n+int(h.Length)]
	if h.Masked {
		ws.Cipher(payload, h.Mask, 0)
	}
	switch {
	case h.OpCode.IsControl():
		c.control(h.OpCode, payload)
	case h.Rsv1():
		c.inflate(h.OpCode, payload)
	case h.OpCode == ws.OpText && !utf8.Valid(payload):
		c.violated(closeUTF8)
	default:
		c.message(h.OpCode, payload)
	}
	return n + int(h.Length)
}

// checkHeader applies RFC 6455's rules and our limit; op is the message the
// frame would continue and have its size so far. It fails the connection.
func (c *Conn) checkHeader(h ws.Header, op ws.OpCode, have int) bool {
	st := ws.StateServerSide
	if c.mode&modeClient != 0 {
		st = ws.StateClientSide
	}
	if op != ws.OpContinuation {
		st = st.Set(ws.StateFragmented)
	}
	if c.Deflate() && h.Rsv1() && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary) {
		h.Rsv &^= ws.Rsv(true, false, false) // RFC 7692 allows it there and nowhere else
	}
	if ws.CheckHeader(h, st) != nil {
		c.violated(closeProtocol)
		return false
	}
	// Compared this way round because have+h.Length overflows at 2^63-1.
	if !h.OpCode.IsControl() && h.Length > int64(c.loop.engine.cfg.MaxMessage-have) {
		c.violated(closeTooBig)
		return false
	}
	if ch, ok := c.handler.(Charger); ok && !ch.Charge(c, int(h.Length)) {
		c.violated(c.loop.engine.cfg.Flood)
		return false
	}
	return true
}

// violated ends a connection whose framing cannot be followed further.
func (c *Conn) violated(cl Close) {
	if c.state == stateClosing {
		// Its close frame will not be found any more; ours may still be on
		// its way, and would be lost if the socket were closed now.
		if c.state = stateDeaf; c.allTaken() {
			c.flushed()
		}
		return
	}
	if c.fail(cl); c.state != stateDone {
		c.state = stateDeaf
	}
}

// readPart takes the next piece of an unfinished message and returns what is
// left of b.
func (c *Conn) readPart(b []byte) []byte {
	in := c.in
	if !in.inFrame {
		k := copy(in.head[in.nhead:], b)
		h, n, err := parseHeader(in.head[:in.nhead+k])
		if err != nil {
			c.violated(closeProtocol)
			return nil
		}
		if n == 0 {
			in.nhead += k
			return b[k:]
		}
		b = b[n-in.nhead:]
		if !c.checkHeader(h, in.op, len(in.msg)) {
			return nil
		}
		in.h, in.nhead, in.inFrame, in.got = h, 0, true, 0
		if !h.OpCode.IsControl() && h.OpCode != ws.OpContinuation {
			in.op, in.deflate = h.OpCode, h.Rsv1()
		}
	}
	k := min(int64(len(b)), in.h.Length-in.got)
	piece := b[:k]
	if in.h.Masked {
		ws.Cipher(piece, in.h.Mask, int(in.got%4))
	}
	in.got += k
	if in.h.OpCode.IsControl() {
		in.control = append(in.control, piece...)
	} else {
		in.msg = append(in.msg, piece...)
	}
	if in.got == in.h.Length {
		in.inFrame = false
		c.frameRead(in)
	} else if in.op == ws.OpText && !in.deflate && !in.h.OpCode.IsControl() && !in.checkUTF8(false) {
		c.violated(closeUTF8)
	}
	return b[k:]
}

// frameRead is called when a frame of an unfinished message is complete.
func (c *Conn) frameRead(in *inbound) {
	if in.h.OpCode.IsControl() {
		payload := in.control
		in.control = nil
		c.control(in.h.OpCode, payload)
		return
	}
	if in.op == ws.OpText && !in.deflate && !in.checkUTF8(in.h.Fin) {
		c.violated(closeUTF8)
		return
	}
	if in.h.Fin {
		op, msg, deflated := in.op, in.msg, in.deflate
		in.op, in.deflate, in.msg, in.checked = ws.OpContinuation, false, nil, 0
		if deflated {
			c.inflate(op, msg)
		} else {
			c.message(op, msg)
		}
	}
}

// inflate handles a compressed message.
func (c *Conn) inflate(op ws.OpCode, payload []byte) {
	f := &c.loop.inflater
	msg, err := f.inflate(payload, c.loop.engine.cfg.MaxMessage)
	switch {
	case errors.Is(err, errInflatedTooBig):
		c.violated(closeTooBig)
	case err != nil:
		c.violated(closeProtocol)
	case op == ws.OpText && !utf8.Valid(msg):
		c.violated(closeUTF8)
	default:
		c.message(op, msg)
	}
	f.shrink()
}

// checkUTF8 reports whether the message can still become valid UTF-8, or,
// when it is final, whether it is.
func (in *inbound) checkUTF8(final bool) bool {
	b := in.msg[in.checked:]
	tail := 0 // bytes of a rune that is not complete yet
	if !final {
		for i := 1; i <= min(len(b), utf8.UTFMax-1); i++ {
			if end := b[len(b)-i:]; utf8.RuneStart(end[0]) {
				if !utf8.FullRune(end) {
					tail = i
				}
				break
			}
		}
	}
	if !utf8.Valid(b[:len(b)-tail]) {
		return false
	}
	in.checked = len(in.msg) - tail
	return true
}

func (c *Conn) message(op ws.OpCode, payload []byte) {
	if c.state == stateOpen { // while closing, what still comes is dropped
		c.loop.stats.messagesIn.Add(1)
		c.handler.Message(c, op == ws.OpBinary, payload)
	}
}

func (c *Conn) control(op ws.OpCode, payload []byte) {
	switch op {
	case ws.OpPing:
		c.queueFrame(ws.OpPong, payload)
	case ws.OpPong:
		if p, ok := c.handler.(Ponger); ok && c.state == stateOpen {
			p.Ponged(c)
		}
	case ws.OpClose:
		c.peerClosed(payload)
	}
}

// peerClosed answers a close frame, or takes it as the answer to ours.
func (c *Conn) peerClosed(payload []byte) {
	if c.state == stateClosing {
		if c.state = stateParting; c.allTaken() {
			c.end(c.code)
		}
		return
	}
	code := ws.StatusCode(codeNoStatus)
	var echo []byte
	if len(payload) > 0 {
		var reason string
		code, reason = ws.ParseCloseFrameData(payload)
		if len(payload) == 1 || ws.CheckCloseFrameData(code, reason) != nil {
			code = ws.StatusCode(closeProtocol.Code)
			echo = ws.NewCloseFrameBody(code, closeProtocol.Reason)
		} else {
			echo = ws.NewCloseFrameBody(code, "")
			c.failed(CloseError{Close{uint16(code), reason}})
		}
	}
	o := c.queue()
	o.buf = c.appendFrame(o.buf, ws.OpClose, echo)
	c.close(uint16(code))
	c.state = stateParting
}
