package cluster

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestTargetsThroughNginx: targets and methods in odd forms are answered once behind
// nginx as well, cookies come through, and a node is at rest afterwards: what it has
// answered it does not go on with.
func TestTargetsThroughNginx(t *testing.T) {
	n := startNode(t)
	f := startFront(t, site{nodes: []string{n.addr}})
	const fields = " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, c := range []struct {
		line, more string
		status     []int // nginx's own, where it does not pass the request on, among them
	}{
		{"GET /connection/websocket", "", []int{101}},
		{"GET /connection/%77ebsocket", "", []int{101}},
		{"GET http://example.org/connection/websocket", "", []int{101}},
		{"GET /x/../connection/websocket", "", []int{101}},
		{"GET //connection/websocket", "", []int{101}},
		{"GET /connection/websocket/", "", []int{404}},
		{"GET /connection%2fwebsocket", "", []int{404}},
		{"get /connection/websocket", "", []int{400, 405}},
		{"G3T /connection/websocket", "", []int{400, 405}},
		{strings.Repeat("A", 5000) + " /connection/websocket", "", []int{400, 405}},
		{"GET /connection/websocket", "Cookie: a=" + strings.Repeat("x", 9<<10) + "\r\n", []int{101}},
		{"GET /connection/websocket", "Cookie: a=" + strings.Repeat("x", 15<<10) + "\r\n", []int{101}},
		{"GET /", "Cookie: a=" + strings.Repeat("x", 15<<10) + "\r\n", []int{200}},
		{"GET /", "Cookie: a=" + strings.Repeat("x", 17<<10) + "\r\n", []int{400}},
	} {
		conn := plainDial(t, f.Addr)
		if _, err := io.WriteString(conn, c.line+fields+c.more+"\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%.60s: %v", c.line, err)
			continue
		}
		found := false
		for _, s := range c.status {
			found = found || resp.StatusCode == s
		}
		if !found {
			t.Errorf("%.60s: %s, want %v", c.line, resp.Status, c.status)
		}
		_ = conn.Close()
	}
	eventually(t, "the node is at rest", func() bool {
		before := n.metric("process_cpu_seconds_total")
		time.Sleep(time.Second)
		return n.metric("process_cpu_seconds_total")-before < 0.5 // a request to and fro takes a whole core
	})
}

// TestHalfClosedThroughNginx: a caller of the API that ends its side of the connection
// has its answer.
func TestHalfClosedThroughNginx(t *testing.T) {
	n := startNode(t)
	f := startFront(t, site{nodes: []string{n.addr}})
	for range 10 {
		conn := plainDial(t, f.Addr)
		const body = `{"channel":"lobby","data":{"text":"hi"}}`
		if _, err := fmt.Fprintf(conn, "POST /api/publish HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			apiKey, len(body), body); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 200") || !strings.Contains(string(text), `"offset"`) {
			t.Fatalf("answered %q, %v", text, err)
		}
	}
}

func plainDial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn
}
