package netpoll

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Dial describes a client connection to open.
type Dial struct {
	Addr        netip.AddrPort // of the server
	Host        string         // in the request; Addr when empty
	Local       netip.Addr     // source address; the kernel's choice when zero
	URI         string         // request target, "/connection/websocket"
	Subprotocol string         // offered when not empty
	Header      string         // further header lines, each ended by \r\n
}

// Dial opens a client connection on this loop; on the loop only. The Handler
// hears Opened when the handshake is through (if it is an Opener) and Closed
// when the connection ends, a failed attempt included. An error means that
// there was no socket to try with, and no call follows.
func (l *Loop) Dial(d *Dial, h Handler) (*Conn, error) {
	l.engine.conns.Add(1)
	c := l.newConn(stateDial, h)
	c.mode = modeClient
	c.in = &inbound{msg: d.request(l)} // until it can be sent
	if err := l.poll.dial(c, d); err != nil {
		l.forget(c)
		return nil, err
	}
	return c, nil
}

// local is the address to connect from. The port is chosen at connect, so that one
// source address serves as many connections as there are free 4-tuples.
func (d *Dial) local() netip.AddrPort { return netip.AddrPortFrom(d.Local, 0) }

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

func (d *Dial) request(l *Loop) []byte {
	host := d.Host
	if host == "" {
		host = d.Addr.String()
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", d.URI, host, l.key())
	if d.Subprotocol != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", d.Subprotocol)
	}
	b.WriteString(d.Header)
	b.WriteString("\r\n")
	return b.Bytes()
}

// key is the Sec-WebSocket-Key of every handshake of this loop. It proves
// that the answer is a WebSocket server's, for which one is as good as many.
func (l *Loop) key() string {
	var k [16]byte
	binary.LittleEndian.PutUint64(k[:], uint64(l.began.UnixNano()))
	binary.LittleEndian.PutUint64(k[8:], uint64(l.index))
	return base64.StdEncoding.EncodeToString(k[:])
}

// appendAcceptKey appends the Sec-WebSocket-Accept that answers a key.
func appendAcceptKey(b []byte, key string) []byte {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	var text [24 + len(guid)]byte                              // of a key in its only length
	sum := sha1.Sum(append(append(text[:0], key...), guid...)) //nolint:gosec // RFC 6455
	return base64.StdEncoding.AppendEncode(b, sum[:])
}

// dialled goes on with a socket that has connected, or ends one that has failed to.
func (c *Conn) dialled(err error) {
	if err != nil {
		c.failed(err)
		c.end(codeAbnormal)
		return
	}
	c.state = stateDialHead
	if d, ok := c.handler.(Dialler); ok {
		d.Dialled(c)
	}
	request := c.in.msg
	c.in = nil
	c.arm(false)
	n, errno := c.write(request)
	if errno == 0 && (n < len(request) || c.loop.poll.holds(c)) {
		errno = unix.ENOBUFS // a new socket has room for a request
	}
	if errno != 0 {
		c.failed(os.NewSyscallError("write", errno))
		c.end(codeAbnormal)
	}
}
