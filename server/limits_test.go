package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"

	"github.com/hubbub-chat/hubbub/schema"
)

// What one connection may ask of a node. Whoever asks for more is told, or
// closed, and nobody else hears of it: every case has a bystander, whose
// command is answered afterwards.
func TestConnectionLimits(t *testing.T) {
	h := start(t, func(o *options) { o.Rate, o.Batch, o.Subscriptions = 200, 200, 3 })
	ping := ws.MustCompileFrame(ws.MaskFrameWith(ws.NewPingFrame(nil), [4]byte{1, 2, 3, 4}))
	pong := ws.MustCompileFrame(ws.MaskFrameWith(ws.NewPongFrame(nil), [4]byte{1, 2, 3, 4}))
	frame := func(payload string) []byte {
		return ws.MustCompileFrame(ws.MaskFrameWith(ws.NewTextFrame([]byte(payload)), [4]byte{1, 2, 3, 4}))
	}
	lines := func(n int) string { return strings.Repeat("{\"id\":7,\"ping\":{}}\n", n) }
	for _, c := range []struct {
		name string
		send []byte
		code uint16
	}{
		{"WebSocket pings", bytes.Repeat(ping, 100_000), 3013},
		{"WebSocket pongs", bytes.Repeat(pong, 100_000), 3013},
		{"pings", bytes.Repeat(frame(`{"id":7,"ping":{}}`), 20_000), 3013},
		{"empty frames", bytes.Repeat(frame(""), 100_000), 3013},
		{"answers to pings", bytes.Repeat(frame("{}"), 100_000), 3013},
		{"large frames", bytes.Repeat(frame(strings.Repeat(" ", 60_000)), 200), 3013},
		{"fragments of nothing", bytes.Repeat([]byte{0x00, 0x80, 1, 2, 3, 4}, 100_000), 1002},
		{"endless fragments", append([]byte{0x01, 0x80, 1, 2, 3, 4}, bytes.Repeat([]byte{0x00, 0x80, 1, 2, 3, 4}, 100_000)...), 3013},
		{"commands in frames", bytes.Repeat(frame(lines(200)), 100), 3013},
		{"commands in a frame", frame(lines(201)), 3501},
		{"answers to pings in a frame", frame(strings.Repeat("{}\n", 201)), 3501},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, bystander := h.client(schema.JSON), h.client(schema.JSON)
			p.t, bystander.t = t, t
			go func() { _, _ = p.conn.Write(c.send) }() // ends with the connection at the latest
			readToClose(t, p, c.code)
			bystander.ok(&command{Ping: &pingRequest{}})
		})
	}

	c := h.client(schema.JSON)
	c.sendRaw(false, strings.TrimSuffix(lines(200), "\n")) // as many as there may be
	for n := 0; n < 200; {
		f, err := readFrame(c.r)
		if err != nil || f.Header.OpCode != ws.OpText {
			t.Fatalf("%v %q, %v", f.Header, f.Payload, err)
		}
		n += bytes.Count(f.Payload, []byte(`{"id":7,"ping":{}}`))
	}
	for i := range 3 {
		c.subscribe(fmt.Sprint(i))
	}
	c.fails(subscribeTo("one more"), 106)
	c.ok(&command{Unsubscribe: &unsubscribeRequest{Channel: "0"}})
	c.subscribe("one more")
	c.fails(subscribeTo(strings.Repeat("x", 256)), 107)

	// Publishes above the rate are refused one by one, unless not even the
	// frame they came in is paid for.
	refused := func() bool {
		c := h.client(schema.JSON)
		for i := range 5_000 {
			r, err := c.tryCall(publishTo(c.id, fmt.Sprint(i)))
			if err != nil {
				if end := (closed{}); !errors.As(err, &end) || end.code != 3013 {
					t.Fatal(err)
				}
				return false
			}
			if r.Error != nil {
				return r.Error.Code == 111 && r.Error.Temporary
			}
		}
		t.Fatal("5,000 publishes at once were taken")
		return false
	}
	for range 20 {
		if refused() {
			return
		}
	}
	t.Error("no publish was refused by itself")
}

// Commands before more frames than one may send are answered before the close, in
// whatever they all come: a message that was stored does not look lost.
func TestAnsweredBeforeTooManyFrames(t *testing.T) {
	h := start(t, func(o *options) { o.Rate = 20 })
	p := h.client(schema.JSON)
	cmd := &command{Publish: &protocol.PublishRequest{Channel: "r", Data: []byte("1")}}
	frame := func(payload []byte) []byte { return ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame(payload))) }
	asked := p.encode(cmd)
	p.note(asked)
	sent := append(frame(asked), bytes.Repeat(frame([]byte("{}")), 5_000)...)
	if _, err := p.conn.Write(sent); err != nil {
		t.Fatal(err)
	}
	if r, err := p.tryReply(cmd.Id); err != nil || r.Error != nil {
		t.Fatalf("%v, %v", r, err)
	}
	readToClose(t, p, 3013)
}

// readToClose reads everything up to the close frame.
func readToClose(t *testing.T, c *client, code uint16) {
	t.Helper()
	for {
		f, err := readFrame(c.r)
		if err != nil {
			t.Fatalf("%v; want a close with %d", err, code)
		}
		if f.Header.OpCode == ws.OpClose {
			if got, reason := ws.ParseCloseFrameData(f.Payload); uint16(got) != code || reason == "" {
				t.Fatalf("closed with %d %q, want %d", got, reason, code)
			}
			return
		}
	}
}

// A user has so many connections, however many tokens; others are not
// concerned, and what is closed is not counted.
func TestConnectionsPerUser(t *testing.T) {
	h := start(t, withKey, func(o *options) { o.ConnsPerUser = 2 })
	connect := func(user string) *client {
		c := h.dial(schema.JSON)
		c.send(&command{Connect: &protocol.ConnectRequest{Token: tokenOf(t, user)}})
		return c
	}
	in := func(user string) *client {
		t.Helper()
		c := connect(user)
		if r, err := c.tryReply(1); err != nil || r.Error != nil {
			t.Fatalf("%s was answered %v, %v", user, r, err)
		}
		return c
	}
	first := in("alice")
	in("alice")
	connect("alice").expectClose(3504)
	in("bob")
	first.cut()
	eventually(t, "a connection of alice's is free", func() bool { return h.node.sessions.Connected() == 2 })
	in("alice")
	connect("alice").expectClose(3504)

	// A refused token costs nothing.
	c := h.dial(schema.JSON)
	c.send(&command{Connect: &protocol.ConnectRequest{Token: tokenOf(t, "bob") + "x"}})
	c.expectClose(3500)
	in("bob")
}

// A client network has so many connections. Who is behind a trusted proxy is
// counted by the address that the proxy names.
func TestConnectionsPerAddress(t *testing.T) {
	h := start(t, func(o *options) { o.ConnsPerIP, o.TrustedProxies = 2, []string{"127.0.0.0/8"} })
	for _, c := range []struct {
		forwarded string
		status    int
	}{
		{"203.0.113.7", 101}, {"203.0.113.7", 101}, {"203.0.113.7", 429},
		{"10.1.1.1, 203.0.113.7", 429}, // what stands in front was said by the client
		{"203.0.113.8", 101},
		{"2001:db8::1", 101}, {"2001:db8::2", 101}, {"2001:db8::3", 429}, // one /64
		{"", 101}, {"", 101}, {"", 101}, // loopback is not counted
		// Lines of proxies that add one each: together they are one list.
		{"203.0.113.9\r\nX-Forwarded-For:", 101}, {"203.0.113.9\r\nX-Forwarded-For: 127.0.0.2", 101},
		{"203.0.113.9\r\nX-Forwarded-For:", 429}, {"203.0.113.9\r\nX-Forwarded-For: 127.0.0.2", 429},
	} {
		if got := shake(t, h.addr(), "X-Forwarded-For: "+c.forwarded); got != c.status {
			t.Errorf("from %q: %d, want %d", c.forwarded, got, c.status)
		}
	}
}

// Behind a TCP proxy it is the PROXY header that names the client, and its
// word about further proxies counts as that of anybody.
func TestProxyProtocol(t *testing.T) {
	h := start(t, func(o *options) {
		o.ConnsPerIP, o.TrustedProxies, o.ProxyProtocol = 2, []string{"127.0.0.1", "203.0.113.0/24"}, true
	})
	for _, c := range []struct {
		client, forwarded string
		status            int
	}{
		{"198.51.100.7", "", 101}, {"198.51.100.7", "", 101}, {"198.51.100.7", "", 429},
		{"198.51.100.7", "198.51.100.8", 429}, // it is no proxy
		{"198.51.100.8", "", 101},
		{"203.0.113.7", "198.51.100.8", 101}, {"203.0.113.7", "198.51.100.8", 429},
		{"203.0.113.7", "", 101},
	} {
		conn, err := net.Dial("tcp", h.addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		fmt.Fprintf(conn, "PROXY TCP4 %s 192.0.2.1 50000 80\r\n", c.client)
		if got := shakeOn(t, conn, "X-Forwarded-For: "+c.forwarded); got != c.status {
			t.Errorf("from %s for %q: %d, want %d", c.client, c.forwarded, got, c.status)
		}
	}
	conn, err := net.Dial("tcp", h.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(conn); len(answer) > 0 {
		t.Errorf("without a header it was answered %q", answer)
	}
}

// Sockets that say nothing do not keep others out for long, and cost no more
// places than they may have.
func TestMaxHandshakes(t *testing.T) {
	h := start(t, func(o *options) { o.MaxHandshakes, o.MaxConns = 4, 100 })
	for range 4 {
		conn, err := net.Dial("tcp", h.addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	eventually(t, "they are accepted", func() bool { return h.node.engine.Conns() == 4 })
	if got := shake(t, h.addr()); got != 503 {
		t.Errorf("a handshake was answered %d, want 503", got)
	}
	eventually(t, "their time is up", func() bool { return h.node.engine.Conns() == 0 })
	if got := shake(t, h.addr()); got != 101 {
		t.Errorf("afterwards a handshake was answered %d", got)
	}
}

func TestHandshakeRate(t *testing.T) {
	h := start(t, func(o *options) { o.HandshakeRate, o.Loops = 3, 1 })
	counts := make(map[int]int)
	for range 20 {
		counts[shake(t, h.addr())]++
	}
	if counts[101] < 3 || counts[503] < 5 || counts[101]+counts[503] != 20 {
		t.Errorf("20 handshakes were answered %v", counts)
	}
}

// shake opens a WebSocket connection, which stays open until the test ends,
// and returns the status it was answered with.
func shake(t *testing.T, addr string, headers ...string) int {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return shakeOn(t, conn, headers...)
}

func shakeOn(t *testing.T, conn net.Conn, headers ...string) int {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	request := "GET " + webSocketPath + " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, line := range headers {
		request += line + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		t.Fatal(err)
	}
	var head [12]byte // HTTP/1.1 101
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		t.Fatal(err)
	}
	var status int
	if _, err := fmt.Sscanf(string(head[:]), "HTTP/1.1 %d", &status); err != nil || http.StatusText(status) == "" {
		t.Fatalf("answered %q", head)
	}
	return status
}
