package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
)

// BenchmarkFanOut delivers messages of 128 bytes to a room over loopback
// sockets, in drains of so many messages: "log" is the product's way, one
// write(2) per member and drain from the shared log; "write-per-message" is
// the baseline it is measured against. Each is a number of deliveries per
// second of the whole process's CPU time, the clients' share included: read
// the ratio.
func BenchmarkFanOut(b *testing.B) {
	for _, members := range []int{10, 1000} {
		for _, drain := range []int{1, 16, 64} {
			name := fmt.Sprintf("members=%d/drain=%d/", members, drain)
			b.Run(name+"log", func(b *testing.B) {
				benchFanOut(b, members, drain, func(w *fanOutWorld, batch []*schema.Message) {
					w.hub.Deliver(batch)
				})
			})
			b.Run(name+"write-per-message", func(b *testing.B) {
				var enc schema.Encoder
				var frame []byte
				benchFanOut(b, members, drain, func(w *fanOutWorld, batch []*schema.Message) {
					w.loop.Post(func() {
						for _, m := range batch {
							push := enc.AppendPush(nil, schema.JSON, m)
							frame = append(netpoll.AppendHeader(frame[:0], 1, len(push)), push...)
							for _, c := range w.conns {
								c.Send(frame)
							}
						}
					})
				})
			})
		}
	}
}

// fanOutWorld is a loop with a shard, and members that are real connections.
type fanOutWorld struct {
	loop     *netpoll.Loop
	hub      *fanout.Hub
	room     *fanout.Room
	conns    []*netpoll.Conn // owned by loop
	joined   chan struct{}
	received atomic.Int64
}

// benchMember is the server's side of a member.
type benchMember struct {
	w      *fanOutWorld
	conn   *netpoll.Conn
	member fanout.Member
}

func (m *benchMember) Opened(c *netpoll.Conn) {
	m.conn = c
	m.w.conns = append(m.w.conns, c)
	m.w.hub.Shard(0).Join(m.w.room, fanout.FormOf(schema.JSON, false), &m.member, m)
	m.w.joined <- struct{}{}
}
func (m *benchMember) Message(*netpoll.Conn, bool, []byte) {}
func (m *benchMember) Drained(*netpoll.Conn)               { m.member.Drained() }
func (m *benchMember) Tick(*netpoll.Conn)                  {}
func (m *benchMember) Closed(*netpoll.Conn, uint16)        { m.member.Leave() }
func (m *benchMember) Send(frames []byte) int              { return m.conn.Send(frames) }
func (m *benchMember) Blocked() bool                       { return m.conn.Blocked() }
func (m *benchMember) Reset(*fanout.Member)                { panic("the benchmark's room was reset") }
func (m *benchMember) TooSlow(*fanout.Room)                { panic("a client of the benchmark is too slow") }

// benchClient counts messages.
type benchClient struct{ received *atomic.Int64 }

func (c benchClient) Message(_ *netpoll.Conn, _ bool, p []byte) {
	c.received.Add(int64(strings.Count(string(p), "\n")) + 1)
}
func (benchClient) Drained(*netpoll.Conn)        {}
func (benchClient) Tick(*netpoll.Conn)           {}
func (benchClient) Closed(*netpoll.Conn, uint16) {}

// emptyStore has no history.
type emptyStore struct{}

func (emptyStore) Last(context.Context, string) (uint64, error) { return 0, nil }
func (emptyStore) Before(context.Context, string, uint64, int, int) ([]*schema.Message, error) {
	return nil, nil
}
func (emptyStore) Do(job func(context.Context)) bool { job(context.Background()); return true }

func newFanOutWorld(b *testing.B, members int) *fanOutWorld {
	w := &fanOutWorld{joined: make(chan struct{}, members)}
	server, err := netpoll.New(netpoll.Config{
		Addr:      "127.0.0.1:0",
		WebSocket: func(string) bool { return true },
		Upgrade:   func(*netpoll.Request) (netpoll.Handler, *netpoll.Reject) { return &benchMember{w: w}, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	w.loop = server.Loops()[0]
	w.hub = fanout.NewHub(fanout.Config{}, fanout.NewStored(emptyStore{}, emptyStore{}, "epoch"), []fanout.Loop{w.loop})
	w.loop.OnTurn(w.hub.Shard(0).Turn)
	w.hub.Open("room", func(r *fanout.Room, _ error) { w.room = r })
	clients, err := netpoll.New(netpoll.Config{})
	if err != nil {
		b.Fatal(err)
	}
	server.Start()
	clients.Start()
	b.Cleanup(func() { clients.Stop(); server.Stop() })
	dial := &netpoll.Dial{Addr: netip.MustParseAddrPort(server.Addr().String()), URI: "/"}
	l := clients.Loops()[0]
	for range members {
		l.Post(func() {
			if _, err := l.Dial(dial, benchClient{&w.received}); err != nil {
				b.Error(err)
			}
		})
	}
	for range members {
		<-w.joined
	}
	return w
}

func benchFanOut(b *testing.B, members, drain int, deliver func(*fanOutWorld, []*schema.Message)) {
	w := newFanOutWorld(b, members)
	data := []byte(`{"text":"` + strings.Repeat("x", 117) + `"}`)
	var offset uint64
	before := cpuTime(b)
	b.ResetTimer()
	for i := 0; i < b.N; i += drain {
		batch := make([]*schema.Message, drain)
		for j := range batch {
			offset++
			batch[j] = &schema.Message{Room: "room", Offset: offset, Prev: offset - 1, User: "u", Client: "c", Data: data}
		}
		deliver(w, batch)
		for want := int64(offset) * int64(members); w.received.Load() < want; {
			time.Sleep(5 * time.Microsecond)
		}
	}
	used := cpuTime(b) - before
	b.ReportMetric(float64(offset)*float64(members)/used.Seconds(), "deliveries/cpu-s")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
