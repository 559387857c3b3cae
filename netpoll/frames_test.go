package netpoll

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// Every case is sent whole, byte by byte, and in pieces of three: the two
// ways through the reader must agree.
var frameCases = []struct {
	name string
	send []byte
	echo []string // messages that come back, "pong:x" for a pong
	code uint16   // of the server's close frame, 0 for none
}{
	{"text", text("hello"), []string{"hello"}, 0},
	{"empty text", text(""), []string{""}, 0},
	{"two in one read", join(text("a"), text("b")), []string{"a", "b"}, 0},
	{"125", text(strings.Repeat("x", 125)), []string{strings.Repeat("x", 125)}, 0},
	{"126", text(strings.Repeat("x", 126)), []string{strings.Repeat("x", 126)}, 0},
	{"UTF-8", text("κόσμε \U0001F600"), []string{"κόσμε \U0001F600"}, 0},
	{"fragments", join(frame(ws.OpText, false, "a"), frame(ws.OpContinuation, false, ""), frame(ws.OpContinuation, true, "b")), []string{"ab"}, 0},
	{"a rune over two fragments", join(frame(ws.OpText, false, "\xe2\x82"), frame(ws.OpContinuation, true, "\xac")), []string{"€"}, 0},
	{"ping", frame(ws.OpPing, true, "x"), []string{"pong:x"}, 0},
	{"unsolicited pong", join(frame(ws.OpPong, true, "x"), text("a")), []string{"a"}, 0},
	{"ping between fragments", join(frame(ws.OpText, false, "a"), frame(ws.OpPing, true, "x"), frame(ws.OpContinuation, true, "b")), []string{"pong:x", "ab"}, 0},
	{"largest", text(strings.Repeat("x", 1000)), []string{strings.Repeat("x", 1000)}, 0},

	{"too big", text(strings.Repeat("x", 1001)), nil, 1009},
	{"too big in fragments", join(frame(ws.OpText, false, strings.Repeat("x", 600)), frame(ws.OpContinuation, true, strings.Repeat("x", 600))), nil, 1009},
	{"length 2^63-1", declared(ws.OpBinary, 1<<63-1), nil, 1009},
	{"length 2^63-1 after a fragment", join(frame(ws.OpText, false, "a"), declared(ws.OpContinuation, 1<<63-1)), nil, 1009},
	{"length with the top bit", declared(ws.OpBinary, 1<<63), nil, 1002},
	{"unmasked", ws.MustCompileFrame(ws.NewTextFrame([]byte("x"))), nil, 1002},
	{"RSV1", []byte{0xc1, 0x80, 1, 2, 3, 4}, nil, 1002},
	{"RSV3", []byte{0x91, 0x80, 1, 2, 3, 4}, nil, 1002},
	{"reserved opcode 3", frame(3, true, "x"), nil, 1002},
	{"reserved opcode 11", frame(11, true, "x"), nil, 1002},
	{"long ping", frame(ws.OpPing, true, strings.Repeat("x", 126)), nil, 1002},
	{"fragmented ping", frame(ws.OpPing, false, "x"), nil, 1002},
	{"continuation of nothing", frame(ws.OpContinuation, true, "x"), nil, 1002},
	{"text within fragments", join(frame(ws.OpText, false, "a"), text("b")), nil, 1002},
	{"invalid UTF-8", text("a\xff"), nil, 1007},
	{"surrogate", text("\xed\xa0\x80"), nil, 1007},
	{"cut rune at the end", text("\xe2\x82"), nil, 1007},
	{"invalid UTF-8 over fragments", join(frame(ws.OpText, false, "\xe2"), frame(ws.OpContinuation, true, "a")), nil, 1007},
	{"messages before the error count", join(text("a"), text("\xff")), []string{"a"}, 1007},

	{"close", frame(ws.OpClose, true, "\x03\xe8bye"), nil, 1000},
	{"close 3000", frame(ws.OpClose, true, "\x0b\xb8"), nil, 3000},
	{"close with one byte", frame(ws.OpClose, true, "\x03"), nil, 1002},
	{"close with code 1005", frame(ws.OpClose, true, "\x03\xed"), nil, 1002},
	{"close with code 999", frame(ws.OpClose, true, "\x03\xe7"), nil, 1002},
	{"close with bad UTF-8", frame(ws.OpClose, true, "\x03\xe8\xff"), nil, 1002},
}

// declared is a frame header with a length and nothing behind it.
func declared(op ws.OpCode, length uint64) []byte {
	b := []byte{0x80 | byte(op), 0xff}
	b = binary.BigEndian.AppendUint64(b, length)
	return append(b, 1, 2, 3, 4)
}

func TestFrames(t *testing.T) {
	_, addr, _ := startEcho(t, Config{MaxMessage: 1000})
	for _, c := range frameCases {
		for _, step := range []int{len(c.send), 1, 3} {
			if step == 1 && len(c.send) > 200 {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				p := handshake(t, addr)
				for b := c.send; len(b) > 0; {
					n := min(step, len(b))
					if _, err := p.Write(b[:n]); err != nil {
						break // the server has seen enough
					}
					if b = b[n:]; step == 1 {
						time.Sleep(50 * time.Microsecond) // so that the server reads each alone
					}
				}
				for _, want := range c.echo {
					if pong, ok := strings.CutPrefix(want, "pong:"); ok {
						p.expect(ws.OpPong, pong)
					} else {
						p.expect(ws.OpText, want)
					}
				}
				switch {
				case strings.HasPrefix(c.name, "close"): // ours was first
					p.readClose(c.code)
					p.expectEOF()
					return
				case c.code != 0:
					p.expectClose(c.code)
					return
				}
				p.send(text("still here"))
				p.expect(ws.OpText, "still here")
			})
		}
	}
}

func TestEmptyClose(t *testing.T) {
	_, addr, ended := startEcho(t, Config{})
	p := handshake(t, addr)
	p.send(frame(ws.OpClose, true, ""))
	p.expect(ws.OpClose, "")
	p.expectEOF()
	if code := <-ended; code != codeNoStatus {
		t.Errorf("the handler was told %d, want 1005", code)
	}
}

// A declared length must not be allocated: 200 connections that each promise
// 16 MiB and send 10 bytes cost next to nothing.
func TestDeclaredLengthIsNotAllocated(t *testing.T) {
	e, addr, _ := startEcho(t, Config{MaxMessage: 16 << 20})
	before := heapInUse()
	for range 200 {
		p := handshake(t, addr)
		p.send(append(declared(ws.OpText, 16<<20), "0123456789"...))
	}
	for e.Stats().Reads < 400 {
		time.Sleep(time.Millisecond)
	}
	if grown := heapInUse() - before; grown > 20<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// recorder collects what a Conn without a socket makes of its input.
type recorder struct {
	messages []string
	code     uint16
}

func (r *recorder) Message(_ *Conn, binary bool, p []byte) {
	if binary {
		r.messages = append(r.messages, "b:"+string(p))
	} else {
		r.messages = append(r.messages, "t:"+string(p))
	}
}
func (r *recorder) Drained(*Conn)               {}
func (r *recorder) Tick(*Conn)                  {}
func (r *recorder) Closed(_ *Conn, code uint16) { r.code = code }

// feed runs the reader over the pieces of input, without a socket.
func feed(input []byte, step int) (*recorder, uint16) {
	e := &Engine{}
	e.cfg.setDefaults()
	e.cfg.MaxMessage = 300
	r := &recorder{}
	c := bareConn(e, -1, r)
	for b := append([]byte(nil), input...); len(b) > 0 && c.state.reading(); {
		n := min(step, len(b))
		c.readFrames(b[:n])
		b = b[n:]
	}
	return r, c.code
}

// However the bytes are cut, the messages and the end are the same.
func FuzzReadFrames(f *testing.F) {
	for _, c := range frameCases {
		f.Add(c.send, uint8(3))
	}
	f.Fuzz(func(t *testing.T, input []byte, step uint8) {
		whole, code := feed(input, max(len(input), 1))
		parts, partCode := feed(input, int(step)+1)
		if code != partCode {
			t.Fatalf("read whole it ends with %d, in pieces of %d with %d", code, int(step)+1, partCode)
		}
		if strings.Join(whole.messages, "\n") != strings.Join(parts.messages, "\n") {
			t.Fatalf("read whole: %q\nin pieces of %d: %q", whole.messages, int(step)+1, parts.messages)
		}
	})
}

func BenchmarkReadWhole(b *testing.B) {
	e := &Engine{}
	e.cfg.setDefaults()
	c := bareConn(e, -1, discard{})
	in := text(strings.Repeat("x", 200))
	buf := make([]byte, len(in))
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, in)
		c.readFrames(buf)
	}
}

type discard struct{}

func (discard) Message(*Conn, bool, []byte) {}
func (discard) Drained(*Conn)               {}
func (discard) Tick(*Conn)                  {}
func (discard) Closed(*Conn, uint16)        {}
