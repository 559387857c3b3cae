package netpoll

import (
	"net/http"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// Connections that never say what they want are bounded apart from the rest,
// and for as long as they are given; however a request ends, it frees its
// place.
func TestHalfOpen(t *testing.T) {
	const most = 3
	e, addr, _ := startEcho(t, Config{Loops: 2, MaxHeads: most, HandshakeTimeout: 4 * time.Second}) // in which the next is tried
	status := func() int {
		t.Helper()
		p := connect(t, addr)
		_, _ = p.Write(bareRequest) // the server may have answered already
		resp, err := http.ReadResponse(p.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	heads := func(n int64) {
		t.Helper()
		for end := time.Now().Add(time.Minute); e.heads.Load() != n; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d connections are in their handshake, want %d", e.heads.Load(), n)
			}
		}
	}
	member := handshake(t, addr)
	for i := range most {
		connect(t, addr).send([]byte("GET /ws HTTP/1.1\r\nX-Slow: "[:20*i%30]))
	}
	heads(most)
	if got := status(); got != http.StatusServiceUnavailable {
		t.Errorf("with %d half-open connections the next was answered %d", most, got)
	}
	member.send(text("still here"))
	member.expect(ws.OpText, "still here")
	heads(0) // their time is up

	if got := status(); got != http.StatusSwitchingProtocols {
		t.Errorf("afterwards a handshake was answered %d", got)
	}
	for _, request := range []string{
		"GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", // the HTTP server's
		"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",                        // refused
		"GET",                                                        // hung up on
	} {
		for range 2 * most {
			accepted := e.Stats().Accepted
			p := connect(t, addr)
			p.send([]byte(request))
			if request == "GET" {
				_ = p.Close()
			} else if _, err := http.ReadResponse(p.r, nil); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(time.Minute); e.Stats().Accepted == accepted && time.Now().Before(end); {
				time.Sleep(time.Millisecond) // or they would come all at once
			}
			heads(0)
		}
	}
	if got := e.Stats().Refused; got != 1 {
		t.Errorf("%d connections are counted as refused, want 1", got)
	}
}
