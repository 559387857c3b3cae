package main

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
	"syscall"
	"time"
)

// blocking is a WebSocket client over a plain net.Conn, for the one client
// that must be able to stop reading: an event loop always reads.
type blocking struct {
	conn net.Conn
	r    *bufio.Reader
}

// The opcodes it knows.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// dialBlocking connects with a receive buffer of so many bytes (the kernel
// doubles it).
func dialBlocking(ctx context.Context, addr netip.AddrPort, uri string, receive int) (*blocking, error) {
	d := net.Dialer{Timeout: 10 * time.Second, Control: func(_, _ string, rc syscall.RawConn) error {
		var err error
		if cerr := rc.Control(func(fd uintptr) {
			// Before the connection is made, for the window is agreed on then.
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receive)
		}); cerr != nil {
			return cerr
		}
		return err
	}}
	conn, err := d.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err
	}
	b := &blocking{conn, bufio.NewReaderSize(conn, 4<<10)}
	if err := b.handshake(addr.String(), uri); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return b, nil
}

func (b *blocking) handshake(host, uri string) error {
	_ = b.conn.SetDeadline(time.Now().Add(10 * time.Second)) // a failure shows in what follows
	_, err := io.WriteString(b.conn, "GET "+uri+" HTTP/1.1\r\nHost: "+host+"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		return err
	}
	resp, err := http.ReadResponse(b.r, nil)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // a 101 has none
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("handshake answered %s", resp.Status)
	}
	return b.conn.SetDeadline(time.Time{})
}

// send writes one frame. The mask is zero: RFC 6455 wants it unpredictable to
// protect proxies from scripts, and here is neither.
func (b *blocking) send(op byte, payload []byte) error {
	head := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		head = append(head, 0x80|byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 0x80|126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 0x80|127), uint64(n))
	}
	head = append(head, 0, 0, 0, 0)
	_, err := b.conn.Write(append(head, payload...))
	return err
}

// closedError is the peer's close frame.
type closedError struct {
	code   uint16
	reason string
}

func (e closedError) Error() string {
	return strings.TrimSpace(fmt.Sprint("closed ", e.code, " ", e.reason))
}

// read returns the next text message. The end is a closedError when there was
// a close frame, which is answered.
func (b *blocking) read() ([]byte, error) {
	var msg []byte
	for {
		op, fin, payload, err := b.frame()
		if err != nil {
			return nil, err
		}
		switch op {
		case opClose:
			_ = b.send(opClose, payload) // the peer may be gone
			e := closedError{code: 1005}
			if len(payload) >= 2 {
				e = closedError{binary.BigEndian.Uint16(payload), string(payload[2:])}
			}
			return nil, e
		case opPing:
			if err := b.send(opPong, payload); err != nil {
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

func (b *blocking) frame() (op byte, fin bool, payload []byte, err error) {
	var head [8]byte
	if _, err = io.ReadFull(b.r, head[:2]); err != nil {
		return 0, false, nil, err
	}
	op, fin = head[0]&15, head[0]&0x80 != 0
	size := uint64(head[1] & 0x7f)
	switch {
	case head[1]&0x80 != 0:
		return 0, false, nil, fmt.Errorf("the server sent a masked frame")
	case size == 126:
		_, err = io.ReadFull(b.r, head[:2])
		size = uint64(binary.BigEndian.Uint16(head[:]))
	case size == 127:
		_, err = io.ReadFull(b.r, head[:8])
		size = binary.BigEndian.Uint64(head[:])
	}
	if err == nil && size > maxMessage {
		err = fmt.Errorf("a frame of %d bytes", size)
	}
	if err != nil {
		return 0, false, nil, err
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(b.r, payload)
	return op, fin, payload, err
}
