package hostile

import (
	"bytes"
	"compress/flate"
	"context"
	"math"
	"sync"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/blocking"
)

// soon is the pause of attackers that send little; those that send megabytes
// wait longer, for through a loopback interface they could send gigabytes, and
// what is measured is not what the memory bus bears.
const (
	soon  = 20 * time.Millisecond
	later = 200 * time.Millisecond
)

// All are the attacks, in the order in which they are made.
func All() []Attack {
	framing := []Ending{protocolError, tooBig}
	flood := []Ending{"close 3013", "close 1008"}
	bomb, small := newBomb(200<<20), newBomb(58<<20)
	return []Attack{
		{Name: "length", Help: "a frame that claims 2^63-1 bytes", Conns: 4, Pause: soon, Ends: framing, act: writes(endless(0x80 | blocking.Text))},
		{Name: "length-fragment", Help: "a fragment, and a second that claims 2^63-1 bytes", Conns: 4, Pause: soon, Ends: framing,
			act: writes(append(blocking.Frame(nil, blocking.Text, []byte("a")), endless(blocking.Fin|blocking.Continuation)...))},
		{Name: "unmasked", Help: "a frame without a mask", Conns: 4, Pause: soon, Ends: framing, act: writes([]byte{blocking.Fin | blocking.Text, 2, '{', '}'})},
		{Name: "rsv", Help: "reserved bits set", Conns: 4, Pause: soon, Ends: framing,
			act: writes(blocking.Frame(nil, blocking.Fin|blocking.RSV2|blocking.RSV3|blocking.Text, []byte("{}")))},
		{Name: "deflate-empty", Help: "a compressed frame without a payload, by the thousand", Conns: 4, Pause: soon, Deflate: true,
			Ends: append([]Ending{answered, unanswered, "close 3501", "close 1007"}, append(framing, flood...)...),
			act:  writes(bytes.Repeat(blocking.Frame(nil, blocking.Fin|blocking.RSV1|blocking.Text, nil), 1000))},
		{Name: "bomb", Help: "a frame of 204 KB that inflates to 200 MB", Conns: 2, Pause: later, Deflate: true, Ends: framing, act: bomb.throw, prepare: bomb.make},
		{Name: "bomb-small", Help: "a frame of 60 KB that inflates to 58 MB", Conns: 2, Pause: later, Deflate: true, Ends: framing, act: small.throw, prepare: small.make},
		{Name: "headers", Help: "a handshake with 10 MB of headers", Conns: 2, Pause: later, Ends: []Ending{"HTTP 431", "HTTP 400", "HTTP 413", Reset, Hung}, act: headers},
		{Name: "pings", AtLeast: 2 * time.Second, Help: "100,000 pings a second from one connection", Conns: 1, Pause: soon, Ends: append(flood, Reset), act: pings},
		{Name: "pings-many", AtLeast: 2 * time.Second, Help: "100,000 pings a second from each of 4 connections", Conns: 4, Pause: soon, Ends: append(flood, Reset), act: pings},
		{Name: "slowloris", Help: "500 handshakes that come a byte at a time", Conns: 500, Pause: soon, AtLeast: slowlorisEnds,
			Ends: []Ending{Hung, Reset, "HTTP 408", "HTTP 503", "HTTP 429", NotConnected}, act: slowloris},
		conversations("requests", "odd requests: encoded paths, whole URLs, methods, lists of headers, offers of compression", 2, requests()),
		conversations("commands", "data of many levels, types that are not published, names that are no text; in JSON and Protobuf", 2, commands()),
		conversations("half-pairs", "half a surrogate pair in a channel's name", 1, halfPairs()),
		conversations("half-closed", "a FIN behind the last command", 2, []halfClosed{{false}, {true}}),
	}
}

// writes is an attack of so many bytes behind an ordinary handshake.
func writes(b []byte) func(context.Context, *attacker) Ending {
	return func(ctx context.Context, t *attacker) Ending {
		c, end := t.open(ctx)
		if c == nil {
			return end
		}
		defer c.Close() //nolint:errcheck // nothing is left to be done
		defer context.AfterFunc(ctx, func() { _ = c.Close() })()
		t.sent.Add(1)
		if _, err := c.Write(b); err != nil {
			return writeFailed(ctx, c, err)
		}
		return outcome(ctx, c)
	}
}

// writeFailed is the ending of a connection that could not be written to: what
// the server said before it stopped listening, if it said something.
func writeFailed(ctx context.Context, c *blocking.Conn, err error) Ending {
	if end := outcome(ctx, c); end != Hung && end != Garbled {
		return end
	}
	return ending(ctx, err)
}

// endless is the head of a frame of the greatest length there is.
func endless(first byte) []byte {
	head := []byte{first, 0x80 | 127}
	for shift := 56; shift >= 0; shift -= 8 {
		head = append(head, byte(uint64(math.MaxInt64)>>shift))
	}
	return append(head, 0, 0, 0, 0, '{')
}

// bomb is a frame that inflates to a thousand times its size. It is made once,
// when it is first wanted: that takes a second.
type bomb struct{ frame func() []byte }

func newBomb(size int) bomb {
	return bomb{sync.OnceValue(func() []byte { return blocking.Frame(nil, blocking.Fin|blocking.RSV1|blocking.Text, deflated(size)) })}
}

func (b bomb) make() { b.frame() }

func (b bomb) throw(ctx context.Context, t *attacker) Ending { return writes(b.frame())(ctx, t) }

// deflated is a message of size blanks as permessage-deflate has it.
func deflated(size int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	block := bytes.Repeat([]byte{' '}, 1<<20)
	for ; size > 0; size -= len(block) {
		_, _ = w.Write(block[:min(size, len(block))]) // into memory
	}
	_ = w.Flush() // into memory
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}
