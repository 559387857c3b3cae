package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/sessions"
)

const handshakeFields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// ask writes a request head and reads the answer's status and body.
func ask(t *testing.T, conn net.Conn, head string) (status int, body string) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, head); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.80q: %v", head, err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp.StatusCode, ""
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%.80q: %v", head, err)
	}
	return resp.StatusCode, string(text)
}

// Targets and methods in all forms that they may have reach whom they are for, and are
// answered once: with the first request of a connection, and with a later one.
func TestTargets(t *testing.T) {
	h := start(t)
	for _, c := range []struct {
		line   string
		status int
	}{
		{"GET /connection/websocket", 101},
		{"GET /connection/websocket?cf_protocol=protobuf", 101},
		{"GET /connection/%77ebsocket", 101},
		{"GET http://example.org/connection/websocket", 101},
		{"GET HTTPS://example.org/connection/websocket", 101},
		{"GET wss://example.org/%63onnection/websocket", 101},
		{"GET //connection/websocket", 101},
		{"GET /x/../connection/websocket", 101},
		{"GET /connection/websocket/", 404},
		{"GET /connection%2fwebsocket", 404},
		{"GET /connection/websocket%00", 404},
		{"GET /connection/websocket#x", 404},
		{"GET /connection", 404},
		{"GET http://example.org/healthz", 200},
		{"GET /health%7a", 200},
		{"GET *", 400},
		{"get /connection/websocket", 405},
		{"G3T /connection/%77ebsocket", 405},
		{strings.Repeat("A", 5000) + " http://example.org/connection/websocket", 405},
		{strings.Repeat("A", 5000) + " /", 405},
		{"CONNECT example.org:443", 404},
		{"CONNECT example.org/connection/websocket", 404},
		{"CONNECT /connection/websocket", 404},
		{"GET /connection/%zz", 400},
	} {
		for _, used := range []bool{false, true} {
			conn := dialRaw(t, h)
			if used {
				if status, _ := ask(t, conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); status != http.StatusOK {
					t.Fatalf("healthz: %d", status)
				}
			}
			if status, body := ask(t, conn, c.line+" HTTP/1.1\r\nHost: x\r\n"+handshakeFields+"\r\n"); status != c.status {
				t.Errorf("%.80s (connection used: %v): %d %.80q, want %d", c.line, used, status, body, c.status)
			}
			_ = conn.Close()
		}
	}
}

// Heads with as many cookies as browsers send are read, by loops and HTTP server alike,
// and the limit is the same for both, to the byte.
func TestHeadLimit(t *testing.T) {
	h := start(t)
	larger := start(t, func(o *options) { o.MaxHead = 32 << 10 })
	head := func(path string, size int) string {
		b := "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + handshakeFields + "Cookie: a="
		return b + strings.Repeat("x", size-len(b)-4) + "\r\n\r\n"
	}
	for _, c := range []struct {
		h      *harness
		path   string
		size   int
		status int
	}{
		{h, webSocketPath, 10 << 10, 101},
		{h, "/healthz", 10 << 10, 200},
		{h, webSocketPath, 16 << 10, 101},
		{h, "/healthz", 16 << 10, 200},
		{h, webSocketPath, 16<<10 + 1, 431},
		{h, "/healthz", 16<<10 + 1, 431},
		{h, webSocketPath, 200 << 10, 431},
		{h, "/healthz", 200 << 10, 431}, // most of it is not read, and the answer is not lost for that
		{larger, webSocketPath, 32 << 10, 101},
		{larger, "/healthz", 32 << 10, 200},
		{larger, webSocketPath, 32<<10 + 1, 431},
		{larger, "/healthz", 32<<10 + 1, 431},
	} {
		conn := dialRaw(t, c.h)
		if status, _ := ask(t, conn, head(c.path, c.size)); status != c.status {
			t.Errorf("%s with a head of %d bytes: %d, want %d", c.path, c.size, status, c.status)
		}
		_ = conn.Close()
	}
}

// finished ends this side of a connection.
func finished(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// lastReplies reads everything to the end of the stream, behind which there is no close
// frame.
func (c *client) lastReplies(t *testing.T) map[uint32]*protocol.Reply {
	t.Helper()
	replies := make(map[uint32]*protocol.Reply)
	for {
		_, r, err := c.next()
		if end := (closed{}); errors.As(err, &end) && end == (closed{1006, "EOF"}) {
			return replies
		}
		if err != nil {
			t.Fatalf("it ended with %v", err)
		}
		if r.Id != 0 {
			replies[r.Id] = r
		}
	}
}

// A client that ends its side of the connection behind its last commands has the
// answers, and then the end.
func TestHalfClosed(t *testing.T) {
	held := &heldReads{free: make(chan struct{})}
	h := start(t, func(o *options) {
		o.sessions = func(c *sessions.Config) { held.Reads, c.Reads = c.Reads, held }
	})
	h.needsHalfClose()
	free := sync.OnceFunc(func() { close(held.free) })
	t.Cleanup(free)
	room := roomOf(t)
	h.client(schema.JSON).publishAll(room, numbered("p", 150, 20))
	history := func() *command { return &command{History: &historyRequest{Channel: room, Limit: 120}} }
	last := func(cmds ...*command) *client {
		c := h.client(schema.JSON)
		c.send(cmds...)
		finished(t, c.conn)
		return c
	}

	idle, publisher, reader := last(), last(publishTo(room, `"last words"`)), last(history())
	idle.lastReplies(t)
	if r := publisher.lastReplies(t)[publisher.last]; r == nil || r.Publish == nil {
		t.Errorf("the publish was answered %v", r)
	}
	if r := reader.lastReplies(t)[reader.last]; r == nil || r.Error == nil || r.Error.Code != 100 {
		t.Errorf("history that cannot be read in time was answered %v", r)
	}

	both := last(history(), publishTo(room, `"x"`))
	time.Sleep(100 * time.Millisecond) // so that the node finds the end before the answer, mostly
	free()
	replies := both.lastReplies(t)
	if r := replies[both.last-1]; r == nil || r.History == nil {
		t.Errorf("history was answered %v", r.GetError())
	}
	if r := replies[both.last]; r == nil || r.Publish == nil {
		t.Errorf("the publish behind it was answered %v", r)
	}
	eventually(t, "all has been read", func() bool { return held.jobs.Load() == 0 })
}

// A client that sends everything at once, handshake and connect included, and ends its
// side, is served.
func TestHalfClosedFromTheStart(t *testing.T) {
	h := start(t)
	h.needsHalfClose()
	conn := dialRaw(t, h)
	c := &client{t: t, ledger: h.ledger, conn: &buffered{TCPConn: conn.(*net.TCPConn)}, codec: schema.JSON, asked: make(map[uint32]*protocol.Command)}
	c.r = bufio.NewReaderSize(conn, 64<<10)
	if _, err := io.WriteString(c.conn, "GET "+webSocketPath+" HTTP/1.1\r\nHost: x\r\n"+handshakeFields+"\r\n"); err != nil {
		t.Fatal(err)
	}
	c.send(&command{Connect: &protocol.ConnectRequest{}}, publishTo("lobby", `"hi"`))
	c.conn.(*buffered).flush()
	finished(t, conn)
	if resp, err := http.ReadResponse(c.r, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", resp, err)
	}
	if r := c.lastReplies(t)[c.last]; r == nil || r.Publish == nil {
		t.Errorf("the publish was answered %v", r)
	}
}

// buffered sends nothing before it is told to.
type buffered struct {
	*net.TCPConn
	b []byte
}

func (c *buffered) Write(b []byte) (int, error) {
	c.b = append(c.b, b...)
	return len(b), nil
}

func (c *buffered) flush() { _, _ = c.TCPConn.Write(c.b) }

// A request of the server API is answered, and not cancelled, when its client has ended
// its side of the connection.
func TestHalfClosedRequest(t *testing.T) {
	b := startAPI(t)
	for i := range 20 {
		body := fmt.Sprintf(`{"channel":"lobby","data":"%d"}`, i)
		b.h.ledger.sent("lobby", fmt.Sprintf(`"%d"`, i))
		conn := dialRaw(t, b.h)
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := fmt.Fprintf(conn, "POST /api/publish HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			apiKey, len(body), body); err != nil {
			t.Fatal(err)
		}
		finished(t, conn)
		text, err := io.ReadAll(conn) // to the end: nothing keeps the connection
		if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 200") || !strings.Contains(string(text), `"offset"`) {
			t.Fatalf("answered %q, %v", text, err)
		}
	}
}
