package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/sessions"
)

// flood publishes into a room until it is stopped, a frame of 20 at a time
// with a pause between.
type flood struct {
	sent atomic.Int64 // acknowledged messages
	quit chan struct{}
	wg   sync.WaitGroup
}

func (h *harness) flood(room string, size int, pause time.Duration) *flood {
	h.t.Helper()
	f := &flood{quit: make(chan struct{})}
	c := h.client(schema.Protobuf)
	f.wg.Go(func() { // stopped by stop
		for i := 0; ; i++ {
			select {
			case <-f.quit:
				c.cut()
				return
			case <-time.After(pause):
			}
			if err := c.tryPublishAll(room, numbered(fmt.Sprint("flood ", i), 20, size)); err != nil {
				h.t.Errorf("flood: %v", err)
				return
			}
			f.sent.Add(20)
		}
	})
	return f
}

// wait returns when n more messages have been acknowledged.
func (f *flood) wait(t testing.TB, n int64) {
	t.Helper()
	to := f.sent.Load() + n
	eventually(t, fmt.Sprintf("%d more messages are acknowledged", n), func() bool { return f.sent.Load() >= to })
}

func (f *flood) stop() {
	close(f.quit)
	f.wg.Wait()
}

// Recovery is exact, however large the gap, while publishing goes on. The
// ledger compares what was received with what is stored. Clients come back to
// whichever loop it is.
func TestRecoveryWhilePublishing(t *testing.T) {
	h := start(t, func(o *options) { o.Loops = 3 })
	for _, c := range []struct {
		name string
		size int
		gaps []int64 // messages missed at least
	}{
		{"within memory", 100, []int64{0, 1, 20, 40, 60, 0, 0, 40, 1, 60}},
		{"around memory", 100, []int64{100, 80, 200, 100, 120}},
		{"from the store", 100, []int64{300, 1500, 300}},
		{"in pages", 1500, []int64{400, 1200, 500, 800}},
	} {
		t.Run(c.name, func(t *testing.T) {
			room := roomOf(t)
			f := h.flood(room, c.size, 0)
			defer f.stop()
			var all sync.WaitGroup
			for _, codec := range codecs {
				m := h.follower("a member in "+codec.String(), room, codec)
				all.Go(func() {
					for i, gap := range c.gaps {
						if _, err := m.back(); err != nil {
							t.Error(err)
							return
						}
						if err := m.readFor(20 * time.Millisecond); err != nil {
							t.Errorf("round %d: %v", i, err)
							return
						}
						m.cut()
						if gap > 0 {
							f.wait(t, gap)
						}
					}
					if _, err := m.back(); err != nil {
						t.Error(err)
					} else if err := m.readFor(50 * time.Millisecond); err != nil {
						t.Error(err)
					}
					if m.lost > 0 {
						t.Errorf("%s: %d recoveries were not exact", m.name, m.lost)
					}
				})
			}
			all.Wait()
		})
	}
}

// A gap that is larger than one reply and than what a connection may leave
// unread arrives as pushes behind the reply.
func TestRecoveryStreams(t *testing.T) {
	h := start(t)
	room := roomOf(t)
	m := h.follower("the member", room, schema.JSON)
	r, err := m.back()
	if err != nil || r.Offset != 0 {
		t.Fatal(r, err)
	}
	m.cut()
	data := numbered("p", 5000, 1000)
	p := h.client(schema.JSON)
	p.publishAll(room, data)
	if r, err = m.back(); err != nil || !r.Recovered {
		t.Fatal(r, err)
	}
	if n := len(r.Publications); n == 0 || n > 700 {
		t.Errorf("%d publications of 1,000 bytes are in the reply, want about 512 KiB of them", n)
	}
	p.publish(room, `"live"`)
	p.call(publishTo(room, `"live too"`))
	if err := m.readTo(h.top(room)); err != nil {
		t.Fatal(err)
	}
	if n := len(m.view.offsets); n != 5002 {
		t.Errorf("recovered %d messages, want 5,002", n)
	}
}

func TestRecoveryEdges(t *testing.T) {
	h := start(t, func(o *options) {
		o.sessions = func(c *sessions.Config) { c.Policy = rules(t, `{"default": {"history_size": 300}}`) }
	})
	p := h.client(schema.JSON)
	for _, c := range []struct {
		name      string
		published int
		back      int // the client has all but these, -1: it is at offset 0
		ahead     uint64
		epoch     string // "" stands for the right one, "none" for none
		recovered bool
	}{
		{"empty room", 0, -1, 0, "", true},
		{"empty room, no epoch", 0, -1, 0, "none", true},
		{"empty room, ahead", 0, -1, 1, "", false},
		{"empty room, other epoch", 0, -1, 0, "other", false},
		{"from the beginning, in memory", 50, -1, 0, "", true},
		{"from the beginning, exactly memory", 100, -1, 0, "", true},
		{"from the beginning, in the store", 101, -1, 0, "", true},
		{"from the beginning, all that may be", 300, -1, 0, "", true},
		{"from the beginning, too much", 301, -1, 0, "", false},
		{"nothing missed", 10, 0, 0, "", true},
		{"one missed", 10, 1, 0, "", true},
		{"one missed, no epoch", 10, 1, 0, "none", true},
		{"all of memory missed", 150, 100, 0, "", true},
		{"more than memory missed", 150, 101, 0, "", true},
		{"all that may be missed", 350, 300, 0, "", true},
		{"too much missed", 350, 301, 0, "", false},
		{"above the top", 10, 0, 1, "", false},
		{"far above the top", 10, 0, 1 << 40, "", false},
		{"other epoch", 10, 5, 0, "other", false},
		{"other epoch, nothing missed", 10, 0, 0, "other", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			room := roomOf(t)
			data := numbered("p", c.published, 60)
			p.t = t
			p.publishAll(room, data)
			offsets := []uint64{0}
			for since := uint64(0); len(offsets) <= c.published; since = offsets[len(offsets)-1] {
				for _, pub := range p.history(&historyRequest{Channel: room, Limit: -1, Since: &position{Offset: since}}).Publications {
					offsets = append(offsets, pub.Offset)
				}
			}
			top, from, want := offsets[c.published], uint64(0), data
			if c.back >= 0 {
				from, want = offsets[c.published-c.back], data[c.published-c.back:]
			}
			from += c.ahead
			epoch := map[string]string{"": h.epoch(), "none": "", "other": "other"}[c.epoch]
			bothCodecs(t, func(t *testing.T, codec schema.Codec) {
				m := h.client(codec)
				m.t = t
				if !c.recovered {
					reject := recoverFrom(room, from, epoch)
					reject.Subscribe.Flag = 2
					m.fails(reject, 112)
				}
				r := m.recover(room, from, epoch)
				if r.Recovered != c.recovered || !r.WasRecovering || !r.Recoverable || !r.Positioned || r.Epoch != h.epoch() {
					t.Fatalf("answered %v", r)
				}
				if !c.recovered {
					if r.Offset != top || len(r.Publications) > 0 {
						t.Errorf("not recovered, with %d publications and offset %d; the top is %d", len(r.Publications), r.Offset, top)
					}
					return
				}
				if r.Offset != from {
					t.Errorf("offset %d, want that of the request, %d", r.Offset, from)
				}
				if diff := cmp.Diff(append([]string{}, want...), dataOf(r.Publications)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// A room that never had a message is recovered from offset 0.
func TestRecoveryFromEmptyRoom(t *testing.T) {
	h := start(t)
	room := roomOf(t)
	m := h.follower("the member", room, schema.JSON)
	if r, err := m.back(); err != nil || r.Offset != 0 {
		t.Fatalf("%v, %v; an empty room is at offset 0", r, err)
	}
	m.cut()
	data := numbered("p", 3, 50)
	h.client(schema.JSON).publishAll(room, data)
	h.restart() // and the room is not in memory
	r, err := m.back()
	if err != nil || !r.Recovered {
		t.Fatal(r, err)
	}
	if diff := cmp.Diff(data, dataOf(r.Publications)); diff != "" {
		t.Error(diff)
	}
}

// When there is too much to recover, the new view begins exactly at the offset
// told, publishing or not.
func TestTooMuchToRecoverWhilePublishing(t *testing.T) {
	h := start(t, func(o *options) {
		o.sessions = func(c *sessions.Config) { c.Policy = rules(t, `{"default": {"history_size": 150}}`) }
	})
	room := roomOf(t)
	f := h.flood(room, 60, 0)
	defer f.stop()
	m := h.follower("the member", room, schema.Protobuf)
	for range 20 {
		if _, err := m.back(); err != nil {
			t.Fatal(err)
		}
		if err := m.readFor(5 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		m.cut()
		f.wait(t, 200)
	}
	if m.lost == 0 {
		t.Error("every recovery was exact: nothing was tested")
	}
}

// Messages older than the window are not recovered.
func TestRecoveryTTL(t *testing.T) {
	h := start(t, func(o *options) {
		o.sessions = func(c *sessions.Config) { c.Policy = rules(t, `{"default": {"history_ttl": "1ns"}}`) }
	})
	c := h.client(schema.JSON)
	for _, n := range []int{10, 150} { // in memory and in the store
		room := fmt.Sprint(roomOf(t), n)
		c.publishAll(room, numbered("p", n, 50))
		time.Sleep(2 * time.Millisecond)
		if r := c.recover(room, 0, h.epoch()); r.Recovered || r.Offset != h.top(room) {
			t.Errorf("%d messages: %v", n, r)
		}
	}
}

// A reader that does not read is closed with 3008, delays nobody meanwhile,
// and recovers exactly when it comes back.
func TestSlowReader(t *testing.T) {
	h := start(t)
	room := roomOf(t)
	slow, quick := h.follower("the slow one", room, schema.JSON), h.follower("the quick one", room, schema.JSON)
	slow.buffer = 64 << 10
	for _, m := range []*follower{slow, quick} {
		if _, err := m.back(); err != nil {
			t.Fatal(err)
		}
	}
	f := h.flood(room, 8000, 0)
	for h.node.hub.Stats().Slow == 0 {
		if err := quick.readFor(10 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	f.stop()
	top := h.top(room)
	if err := quick.readTo(top); err != nil {
		t.Fatal(err)
	}
	err := slow.readTo(top)
	var end closed
	if !errors.As(err, &end) || end.code != 3008 {
		t.Fatalf("the slow reader ended with %v, want 3008", err)
	}
	if _, err := slow.back(); err != nil {
		t.Fatal(err)
	}
	if err := slow.readTo(top); err != nil {
		t.Fatal(err)
	}
	if slow.lost > 0 {
		t.Error("the recovery was not exact")
	}
}

// A client that was away returns to all its rooms in one frame, and reads
// when it gets to it. It asked for all of this, so it is not slow.
func TestRecoveryOfManyRooms(t *testing.T) {
	h := start(t)
	const rooms, each = 24, 300
	name := func(i int) string { return fmt.Sprint(roomOf(t), ":", i) }
	p := h.client(schema.JSON)
	for i := range rooms {
		p.publishAll(name(i), numbered("p", each, 2000))
	}
	c := h.client(schema.JSON)
	var cmds []*command
	for i := range rooms {
		cmds = append(cmds, recoverFrom(name(i), 0, ""))
	}
	c.send(cmds...)
	time.Sleep(300 * time.Millisecond)
	got := make(map[string]int)
	for total := 0; total < rooms*each; {
		_, r, err := c.next()
		if err != nil {
			t.Fatalf("after %d of %d messages: %v", total, rooms*each, err)
		}
		switch {
		case r.Push != nil:
			got[r.Push.Channel]++
			total++
		case r.Subscribe == nil || !r.Subscribe.Recovered:
			t.Fatalf("answered %v", r)
		default:
			got[name(int(r.Id-cmds[0].Id))] += len(r.Subscribe.Publications)
			total += len(r.Subscribe.Publications)
		}
	}
	for room, n := range got {
		if n != each {
			t.Errorf("room %s: %d messages, want %d", room, n, each)
		}
	}
}

// Whatever a client does while it recovers, nothing breaks: it leaves, comes
// twice, unsubscribes and subscribes again.
func TestInterruptedRecovery(t *testing.T) {
	h := start(t)
	room := roomOf(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	p := h.client(schema.JSON)
	p.publishAll(room, numbered("p", 1500, 1000))
	f := h.flood(room, 200, 0)
	defer f.stop()
	unsubscribe := func() *command {
		return &command{Unsubscribe: &unsubscribeRequest{Channel: room}}
	}
	for range 60 {
		c := h.client(codecs[random.IntN(2)])
		c.trySend(recoverFrom(room, 0, ""), subscribeTo(room)) //nolint:errcheck // the reply tells
		for range random.IntN(3) {
			c.send(unsubscribe(), recoverFrom(room, 0, ""))
		}
		for range random.IntN(4) {
			if _, _, err := c.next(); err != nil {
				t.Fatal(err)
			}
		}
		c.cut()
	}
	// And one that stays to see that its last subscription is whole.
	c := h.client(schema.JSON)
	c.send(recoverFrom(room, 0, ""), unsubscribe(), recoverFrom(room, 0, ""), unsubscribe())
	for answers := 0; answers < 4; {
		_, r, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if r.Id != 0 {
			answers++
			if r.Error != nil && !strings.Contains(r.Error.Message, "meanwhile") {
				t.Fatalf("answered %v", r)
			}
		}
	}
	c.pushes = nil
	c.ok(&command{Ping: &pingRequest{}})
	if len(c.pushes) > 0 {
		t.Errorf("%d pushes after the unsubscribe", len(c.pushes))
	}
}
