package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/hubbub-chat/hubbub/schema"
)

// Budget: heap of a guest who has joined a room and is silent, everything
// included: connection, session, subscription, their slots. No goroutine. The
// clients are bare descriptors, which cost no heap.
func TestIdleSessionBudget(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	h := start(t)
	const n = 2000
	budget := 300.0
	if h.onNbio() {
		budget = 600
	}
	var fds []int
	t.Cleanup(func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		eventually(t, "all have left", func() bool { return h.node.sessions.Connected() == 0 })
	})
	for range 20 { // pools are filled
		fds = append(fds, bareClient(t, h.addr(), "", "lobby"))
	}
	goroutines, before := runtime.NumGoroutine(), heapInUse()
	for range n {
		fds = append(fds, bareClient(t, h.addr(), "", "lobby"))
	}
	each := float64(heapInUse()-before) / n
	t.Logf("%.0f bytes of heap for a silent guest in a room", each)
	if each > budget {
		t.Errorf("a silent guest in a room costs %.0f bytes of heap, want at most %.0f", each, budget)
	}
	if g := runtime.NumGoroutine(); g > goroutines {
		t.Errorf("%d goroutines, %d before the guests", g, goroutines)
	}
	if s := h.node.hub.Stats(); s.Members != n+20 {
		t.Errorf("%d members", s.Members)
	}

	// What a message through the room leaves behind is nothing a guest pays for.
	c := h.client(schema.JSON)
	c.subscribe("lobby")
	c.publishAll("lobby", numbered("p", 20, 100))
	eventually(t, "all is delivered", func() bool { return h.node.hub.Stats().Deliveries >= 20*n })
	each = float64(heapInUse()-before) / n
	t.Logf("%.0f bytes after 20 messages", each)
	if each > budget+100 { // the room's recent messages and the writer's memory are in this
		t.Errorf("after some messages a silent guest costs %.0f bytes of heap, want at most %.0f", each, budget+100)
	}
}

// Budget: what a user with a token costs more than a guest: who it is, until
// when, and its place among the users that are counted. The name itself is in
// it, once for all of a user's connections.
func TestTokenUserBudget(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const n, budget = 2000, 100
	cost := func(h *harness, token func(i int) string) float64 {
		tokens := make([]string, n+20)
		for i := range tokens {
			tokens[i] = token(i)
		}
		fds := make([]int, 0, len(tokens))
		defer func() {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
			eventually(t, "all have left", func() bool { return h.node.sessions.Connected() == 0 })
		}()
		for _, token := range tokens[:20] { // pools are filled
			fds = append(fds, bareClient(t, h.addr(), token, "lobby"))
		}
		before := heapInUse()
		for _, token := range tokens[20:] {
			fds = append(fds, bareClient(t, h.addr(), token, "lobby"))
		}
		each := float64(heapInUse()-before) / n
		runtime.KeepAlive(tokens)
		return each
	}
	guest := cost(start(t), func(int) string { return "" })
	h := start(t, withKey)
	for _, c := range []struct {
		name string
		user func(i int) string
	}{
		{"one connection each", func(i int) string { return fmt.Sprintf("user-%08d", i) }},
		{"ten connections each", func(i int) string { return fmt.Sprintf("user-%08d", i/10) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			more := cost(h, func(i int) string { return tokenOf(t, c.user(i)) }) - guest
			t.Logf("%.0f bytes of heap more than the %.0f of a guest", more, guest)
			if more > budget {
				t.Errorf("a user with a token costs %.0f bytes of heap more than a guest, want at most %d", more, budget)
			}
		})
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// bareClient connects, as a guest without a token, and joins with nothing but
// a descriptor.
func bareClient(t *testing.T, addr, token, room string) int {
	t.Helper()
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}); err != nil {
		t.Fatal(err)
	}
	ask := func(b []byte, answer string) {
		var got [1024]byte
		if _, err := unix.Write(fd, b); err != nil {
			t.Fatal(err)
		}
		for n := 0; !bytes.Contains(got[:n], []byte(answer)); {
			k, err := unix.Read(fd, got[n:])
			if err != nil || k == 0 {
				t.Fatalf("answered %q, %v; want %q", got[:n], err, answer)
			}
			n += k
		}
	}
	ask([]byte("GET "+webSocketPath+" HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"), "\r\n\r\n")
	join := fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`+"\n"+`{"id":2,"subscribe":{"channel":%q}}`, token, room)
	ask(ws.MustCompileFrame(ws.MaskFrameWith(ws.NewTextFrame([]byte(join)), [4]byte{1, 2, 3, 4})), `"subscribe":{`)
	return fd
}
