package main

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/hubbub-chat/hubbub/schema"
)

// bystanders are honest members of a room. What others do to the server costs
// them nothing: no connection, no message, no order.
type bystanders struct {
	list []*client
	room string
	sent int
}

func (h *harness) bystanders() *bystanders {
	h.t.Helper()
	b := &bystanders{room: "bystanders"}
	for range 4 { // on both loops
		c := h.client(codecs[len(b.list)%len(codecs)])
		c.subscribe(b.room)
		b.list = append(b.list, c)
	}
	return b
}

func (b *bystanders) check(t *testing.T) {
	t.Helper()
	b.sent++
	data := fmt.Sprintf(`{"n":%d}`, b.sent)
	b.list[b.sent%len(b.list)].publish(b.room, data)
	for _, c := range b.list {
		if got := c.push(b.room); string(got.Data) != data {
			t.Fatalf("a bystander received %s, want %s", got.Data, data)
		}
	}
}

// What comes instead of a handshake.
func TestHostileHandshakes(t *testing.T) {
	h := start(t)
	b := h.bystanders()
	const upgrade = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	huge := strings.Repeat("X: "+strings.Repeat("y", 1020)+"\r\n", 10<<10) // 10 MiB
	ws := "GET " + webSocketPath
	for _, c := range []struct {
		name, send string
		status     int // 0: any error, or none
	}{
		{"10 MiB of headers", ws + " HTTP/1.1\r\n" + upgrade + huge + "\r\n", 431},
		{"10 MiB of headers for a page", "GET / HTTP/1.1\r\nHost: x\r\n" + huge + "\r\n", 431},
		{"one header of 10 MiB", ws + " HTTP/1.1\r\nX: " + strings.Repeat("y", 10<<20), 431},
		{"a path of 10 MiB", "GET /" + strings.Repeat("y", 10<<20), 0},
		{"a query of 10 MiB", ws + "?" + strings.Repeat("y", 10<<20), 431},
		{"a method of 10 MiB", strings.Repeat("G", 10<<20), 0},
		{"10,000 headers", ws + " HTTP/1.1\r\n" + upgrade + strings.Repeat("X:\r\n", 10_000) + "\r\n", 431},
		{"as many headers as fit", ws + " HTTP/1.1\r\n" + upgrade + strings.Repeat("X:\r\n", 3_000) + "\r\n", 101},
		{"zeros", strings.Repeat("\x00", 1<<20), 400},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 500), 400},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0},
		{"PROXY header of nobody", "PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n" + ws + " HTTP/1.1\r\n" + upgrade + "\r\n", 400},
		{"two lengths of a body", "POST /api/info HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400},
		{"a negative length", "POST /api/info HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400},
		{"length and chunks", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 0},
		{"a key that is none", strings.Replace(ws+" HTTP/1.1\r\n"+upgrade+"\r\n", "dGhl", "!!!", 1), 400},
		{"no host", ws + " HTTP/1.1\r\n" + strings.TrimPrefix(upgrade, "Host: x\r\n") + "\r\n", 400},
		{"a foreign page", ws + " HTTP/1.1\r\n" + upgrade + "Origin: https://evil.example\r\n\r\n", 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := heapInUse()
			conn := dialRaw(t, h)
			go func() { _, _ = io.Copy(conn, piecewise{strings.NewReader(c.send)}) }() // ends with the connection at the latest
			status, err := firstLine(conn)
			if c.status != 0 && status != c.status && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("answered %d, %v; want %d", status, err, c.status)
			}
			b.check(t)
			if grown := heapInUse() - before; grown > 4<<20 && !raceEnabled {
				t.Errorf("the heap has grown by %d bytes", grown)
			}
		})
	}
}

func dialRaw(t *testing.T, h *harness) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", h.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn
}

// firstLine reads the status of an HTTP response. A server that has answered
// and closes while more comes may be heard as a reset.
func firstLine(conn net.Conn) (status int, err error) {
	var head [12]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return 0, err
	}
	if _, err := fmt.Sscanf(string(head[:]), "HTTP/1.1 %d", &status); err != nil || http.StatusText(status) == "" {
		return 0, fmt.Errorf("answered %q", head)
	}
	return status, nil
}

// What comes instead of frames, on a connection that has connected.
func TestHostileFrames(t *testing.T) {
	h := start(t, func(o *options) { o.Compression, o.MaxSize = true, 300<<10 })
	masked := func(f ws.Frame, rsv byte) []byte {
		f = ws.MaskFrameWith(f, [4]byte{1, 2, 3, 4})
		f.Header.Rsv = rsv
		return ws.MustCompileFrame(f)
	}
	first := masked(ws.NewFrame(ws.OpText, false, []byte("a")), 0)
	declared := func(op ws.OpCode, length uint64) []byte {
		head := binary.BigEndian.AppendUint64([]byte{0x80 | byte(op), 0xff}, length)
		return append(head, 1, 2, 3, 4)
	}
	const rsv1 = 0b100
	cases := []struct {
		name string
		send []byte
		code uint16
	}{
		{"length 2^63-1", declared(ws.OpText, 1<<63-1), 1009},
		{"length 2^63-1 after a fragment", append(bytes.Clone(first), declared(ws.OpContinuation, 1<<63-1)...), 1009},
		{"length 2^64-1", declared(ws.OpText, 1<<64-1), 1002},
		{"unmasked", ws.MustCompileFrame(ws.NewTextFrame([]byte(`{}`))), 1002},
		{"RSV2", masked(ws.NewTextFrame([]byte(`{}`)), 0b010), 1002},
		{"RSV3", masked(ws.NewTextFrame([]byte(`{}`)), 0b001), 1002},
		{"RSV1 on a continuation", append(bytes.Clone(first), masked(ws.NewFrame(ws.OpContinuation, true, nil), rsv1)...), 1002},
		{"RSV1 on a ping", masked(ws.NewPingFrame(nil), rsv1), 1002},
		{"reserved opcode", masked(ws.NewFrame(7, true, nil), 0), 1002},
		{"empty and compressed", masked(ws.NewTextFrame(nil), rsv1), 1002},
		{"compressed, and no deflate", masked(ws.NewTextFrame([]byte("\xff\xff\xff")), rsv1), 1002},
		{"200 MB in a frame of 204 KB", masked(ws.NewTextFrame(deflate(t, make([]byte, 200<<20))), rsv1), 1009},
		{"1 MB in a small frame", masked(ws.NewTextFrame(deflate(t, make([]byte, 1<<20))), rsv1), 1009},
		{"fragments without an end", append(bytes.Clone(first), bytes.Repeat(masked(ws.NewFrame(ws.OpContinuation, false, make([]byte, 1000)), 0), 400)...), 1009},
		{"not UTF-8", masked(ws.NewTextFrame([]byte("\xff")), 0), 1007},
		{"a long ping", masked(ws.NewPingFrame(make([]byte, 126)), 0), 1002},
		{"HTTP again", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 1002},
	}
	b := h.bystanders() // who would be silent for too long while 200 MB are deflated
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			conn := dialRaw(t, h)
			p, err := offerDeflate(t, h, conn)
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = conn.Write(c.send) }() // ends with the connection at the latest
			readToClose(t, p, c.code)
			b.check(t)
		})
	}
}

// offerDeflate opens a connection on which frames may be compressed, and
// connects.
func offerDeflate(t *testing.T, h *harness, conn net.Conn) (*client, error) {
	c, err := handshake(t, h.ledger, deflating{conn}, schema.JSON, "x=y")
	if err != nil {
		return nil, err
	}
	c.conn = conn
	c.connect()
	return c, nil
}

// deflating adds an extension to the first thing written.
type deflating struct{ net.Conn }

func (d deflating) Write(b []byte) (int, error) {
	b = bytes.Replace(b, []byte("\r\n\r\n"), []byte("\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"), 1)
	return d.Conn.Write(b)
}

// deflate compresses as the extension does: without the tail.
func deflate(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// piecewise hides that a Reader can write itself at once, which makes a copy
// of all of it.
type piecewise struct{ io.Reader }
