// Package blocking is a WebSocket client over a plain net.Conn, for those few
// clients that must do what an event loop's never would: wait for an answer, or send
// what is no frame.
package blocking

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Conn is one connection. Reading and writing may be two goroutines' work.
type Conn struct {
	net.Conn
	r *bufio.Reader

	Deflate bool // permessage-deflate was asked for and granted
}

// Dial describes a connection to open.
type Dial struct {
	Addr    netip.AddrPort
	Host    string // in the request; Addr when empty
	URI     string
	Header  string        // further header lines, each ended by \r\n
	Timeout time.Duration // for connecting and the handshake each; default 10 s
}

// maxMessage is the largest frame in bytes taken from a server.
const maxMessage = 8 << 20

// The opcodes it knows, and the bits beside them.
const (
	Continuation = 0
	Text         = 1
	Binary       = 2
	opClose      = 8
	Ping         = 9
	opPong       = 10

	Fin  = 0x80
	RSV1 = 0x40
	RSV2 = 0x20
	RSV3 = 0x10
)

// TCP connects, and leaves the handshake to the caller.
func (d *Dial) TCP(ctx context.Context) (*Conn, error) {
	nd := net.Dialer{Timeout: d.timeout()}
	conn, err := nd.DialContext(ctx, "tcp", d.Addr.String())
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: conn, r: bufio.NewReaderSize(conn, 4<<10)}, nil
}

func (d *Dial) timeout() time.Duration {
	if d.Timeout > 0 {
		return d.Timeout
	}
	return 10 * time.Second
}

// Open connects and completes the handshake. The error is a StatusError when
// the server answered with anything but 101.
func (d *Dial) Open(ctx context.Context) (*Conn, error) {
	c, err := d.TCP(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.handshake(d); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Request is the handshake's request head.
func (d *Dial) Request() string {
	host := d.Host
	if host == "" {
		host = d.Addr.String()
	}
	return "GET " + d.URI + " HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + d.Header + "\r\n"
}

func (c *Conn) handshake(d *Dial) error {
	_ = c.SetDeadline(time.Now().Add(d.timeout())) // a failure shows in what follows
	if _, err := io.WriteString(c, d.Request()); err != nil {
		return err
	}
	if err := c.ReadResponse(); err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}

// StatusError is an answer to a handshake that is not 101.
type StatusError struct{ Code int }

func (e StatusError) Error() string {
	return fmt.Sprintf("handshake answered %d %s", e.Code, http.StatusText(e.Code))
}

// ReadResponse reads the answer to a handshake.
func (c *Conn) ReadResponse() error {
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // a 101 has none
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return StatusError{resp.StatusCode}
	}
	c.Deflate = strings.Contains(resp.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate")
	return nil
}

// Send writes one whole frame.
func (c *Conn) Send(op byte, payload []byte) error {
	_, err := c.Write(Frame(nil, Fin|op, payload))
	return err
}

// CloseWrite ends this direction alone: the peer reads to the end, and may answer.
func (c *Conn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// Frame appends one frame, masked. The mask is zero: RFC 6455 wants it
// unpredictable to protect proxies from scripts, and here is neither.
func Frame(b []byte, first byte, payload []byte) []byte {
	b = append(b, first)
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// ClosedError is the peer's close frame.
type ClosedError struct {
	Code   uint16
	Reason string
}

func (e ClosedError) Error() string {
	return strings.TrimSpace(fmt.Sprint("closed ", e.Code, " ", e.Reason))
}

// ReadMessage returns the next text message. The end is a ClosedError when there was
// a close frame, which is answered.
func (c *Conn) ReadMessage() ([]byte, error) {
	var msg []byte
	for {
		op, fin, payload, err := c.frame()
		if err != nil {
			return nil, err
		}
		switch op {
		case opClose:
			_ = c.Send(opClose, payload) // the peer may be gone
			e := ClosedError{Code: 1005}
			if len(payload) >= 2 {
				e = ClosedError{binary.BigEndian.Uint16(payload), string(payload[2:])}
			}
			return nil, e
		case Ping:
			if err := c.Send(opPong, payload); err != nil {
				return nil, err
			}
		case opPong:
		default:
			if msg = append(msg, payload...); fin {
				return msg, nil
			}
		}
	}
}

func (c *Conn) frame() (op byte, fin bool, payload []byte, err error) {
	var head [8]byte
	if _, err = io.ReadFull(c.r, head[:2]); err != nil {
		return 0, false, nil, err
	}
	op, fin = head[0]&15, head[0]&0x80 != 0
	size := uint64(head[1] & 0x7f)
	switch {
	case head[1]&0x80 != 0:
		return 0, false, nil, fmt.Errorf("the server sent a masked frame")
	case size == 126:
		_, err = io.ReadFull(c.r, head[:2])
		size = uint64(binary.BigEndian.Uint16(head[:]))
	case size == 127:
		_, err = io.ReadFull(c.r, head[:8])
		size = binary.BigEndian.Uint64(head[:])
	}
	if err == nil && size > maxMessage {
		err = fmt.Errorf("a frame of %d bytes", size)
	}
	if err != nil {
		return 0, false, nil, err
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(c.r, payload)
	return op, fin, payload, err
}
