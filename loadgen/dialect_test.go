package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/netpoll"
)

// TestProtobuf speaks Protobuf with the real server: connections that are cut
// off, recovery, tokens.
func TestProtobuf(t *testing.T) {
	const secret = "a secret of the tests, long enough"
	h := startHubbub(t, "127.0.0.1:0", t.TempDir(), "--token-key", "hs256:"+secret)
	t.Setenv(tokenSecret, secret)
	code, r, stdout, stderr := loadgen(t, t.Context(), "play", scenarioFile(t, spike), "--url", h.url, "--protocol", "protobuf",
		"--set", "tokens.ttl=1s", "--set", "history=false", "--set", "phases.3.for=2s", "--seed", "7")
	if code != exitOK || r.Check.Rejoined != 10 || r.Connections.Refresh.Count == 0 || r.Messages.Recovered.Count == 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// plainServer sends every message to all of its room. deliver may change what
// member i is sent of message n.
type plainServer struct {
	rooms   map[string][]*netpoll.Conn
	n       int
	deliver func(n, i int, m []byte) [][]byte
}

type plainClient struct {
	server *plainServer
	room   string
}

func (p *plainClient) Message(_ *netpoll.Conn, _ bool, m []byte) {
	s := p.server
	for i, c := range s.rooms[p.room] {
		out := [][]byte{m}
		if s.deliver != nil {
			out = s.deliver(s.n, i, m)
		}
		for _, m := range out {
			c.Reply(false, m)
		}
	}
	s.n++
}
func (p *plainClient) Drained(*netpoll.Conn)        {}
func (p *plainClient) Tick(*netpoll.Conn)           {}
func (p *plainClient) Closed(*netpoll.Conn, uint16) {}

func startPlain(t testing.TB, deliver func(n, i int, m []byte) [][]byte) string {
	t.Helper()
	s := &plainServer{rooms: map[string][]*netpoll.Conn{}, deliver: deliver}
	engine, err := netpoll.New(netpoll.Config{
		Addr:      "127.0.0.1:0",
		WebSocket: func(string) bool { return true },
		Upgrade: func(r *netpoll.Request) (netpoll.Handler, *netpoll.Reject) {
			room := r.Path
			s.rooms[room] = append(s.rooms[room], r.Conn())
			return &plainClient{s, room}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	engine.Start()
	t.Cleanup(engine.Stop)
	return fmt.Sprintf("ws://%s/{room}", engine.Addr())
}

// TestPlain: a server without offsets is held to one order all the same.
func TestPlain(t *testing.T) {
	t.Parallel()
	same := func(m []byte) [][]byte { return [][]byte{m} }
	for _, c := range []struct {
		name    string
		rooms   string
		deliver func() func(n, i int, m []byte) [][]byte // of one server
		fault   string                                   // empty: none
	}{
		{"right", "3", func() func(int, int, []byte) [][]byte { return nil }, ""},
		{"drop one", "1", func() func(int, int, []byte) [][]byte {
			return func(n, i int, m []byte) [][]byte {
				if n == target20 && i == 3 {
					return nil
				}
				return same(m)
			}
		}, "1 deliveries lost"},
		{"duplicate one", "1", func() func(int, int, []byte) [][]byte {
			return func(n, i int, m []byte) [][]byte {
				if n == target20 && i == 3 {
					return [][]byte{m, m}
				}
				return same(m)
			}
		}, "1 deliveries duplicated"},
		{"swap two", "1", func() func(int, int, []byte) [][]byte {
			var held []byte
			return func(n, i int, m []byte) [][]byte {
				if n == target20 && i == 3 {
					held = append([]byte(nil), m...)
					return nil
				}
				if n == target20+1 && i == 3 {
					return [][]byte{m, held}
				}
				return same(m)
			}
		}, " deliveries out of order"}, // 1, or 8 where the one member comes first: nothing but that says which order is right
		{"change one", "1", func() func(int, int, []byte) [][]byte {
			return func(n, i int, m []byte) [][]byte {
				if n == target20 && i == 3 {
					return same([]byte("hello"))
				}
				return same(m)
			}
		}, "1 deliveries lost, 1 unexpected messages"},
	} {
		for _, loops := range []string{"1", "2"} {
			url := startPlain(t, c.deliver())
			code, r, stdout, stderr := loadgen(t, t.Context(), shortRun(url, "--protocol", "plain", "--rooms", c.rooms, "--loops", loops)...)
			faults := strings.Join(r.Faults, ", ")
			if (code == exitFaults) != (c.fault != "") || !strings.Contains(faults, c.fault) || r.Check.Acked < 100 {
				t.Errorf("%s: exit code %d, want the fault %q\n%s%s", c.name, code, c.fault, stdout, stderr)
			}
		}
	}
	if code, _, _, stderr := loadgen(t, t.Context(), shortRun("ws://127.0.0.1:1/", "--protocol", "plain", "--rooms", "2")...); code != exitUsage || !strings.Contains(stderr, roomMark) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, _, _, stderr := loadgen(t, t.Context(), shortRun("ws://127.0.0.1:1/", "--protocol", "plain", "--reconnect")...); code != exitUsage {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
