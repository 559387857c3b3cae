package redis

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
)

func TestTwoNodesShareARoom(t *testing.T) {
	w := newWorld(t, "redis://"+backends.Redis(t).Addr)
	a, b := w.node(), w.node()
	la, lb := a.listen("lobby {1}"), b.listen("lobby {1}")
	if la.epoch != lb.epoch || len(la.epoch) != epochLen || la.start != 0 {
		t.Errorf("an empty room is at %d in %q and %q", la.start, la.epoch, lb.epoch)
	}
	var want []string
	for i := range 20 {
		from := []*node{a, b}[i%2]
		m := message("lobby {1}", fmt.Sprint(i))
		if err := from.publish(m); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint(i))
	}
	for _, l := range []*listener{la, lb} {
		w.eventually("all messages are there", func() bool { return len(l.data()) == len(want) })
		if got := l.data(); !slices.Equal(got, want) || l.resets > 0 || l.problem != nil {
			t.Errorf("got %v with %d resets, %v", got, l.resets, l.problem)
		}
	}
	w.checkLinks("lobby {1}")
	if third := w.node().listen("lobby {1}"); third.start != w.stored("lobby {1}")[19].Offset || third.epoch != la.epoch {
		t.Errorf("who comes later is at %d in %q", third.start, third.epoch)
	}
	w.eventually("confirmations are told", func() bool {
		s, err := a.relay.standing("lobby {1}", "", 0)
		return err == nil && len(s.marks) == 0
	})
	a.relay.Event("lobby {1}", func(b []byte, c schema.Codec) []byte {
		var e schema.Encoder
		return e.AppendPush(b, c, message("lobby {1}", `"typing"`))
	})
	for _, l := range []*listener{la, lb} {
		w.eventually("the event is there", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.events) == 1 })
	}
}

// Many publishers on several nodes, and members that see one order.
func TestOneOrder(t *testing.T) {
	w := newWorld(t, "redis://"+backends.Redis(t).Addr)
	nodes := []*node{w.node(), w.node(), w.node()}
	const rooms, each = 5, 300
	var listeners []*listener
	for r := range rooms {
		for _, n := range nodes {
			listeners = append(listeners, n.listen(fmt.Sprint("room", r)))
		}
	}
	var wg sync.WaitGroup
	for i, n := range nodes {
		for r := range rooms {
			wg.Go(func() {
				var acked sync.WaitGroup
				for k := range each {
					acked.Add(1)
					err := n.relay.Publish(message(fmt.Sprint("room", r), fmt.Sprintf(`"%d-%d"`, i, k)), func(err error) {
						if err != nil {
							t.Error(err)
						}
						acked.Done()
					})
					if err != nil {
						t.Error(err)
						acked.Done()
					}
				}
				acked.Wait()
			})
		}
	}
	wg.Wait()
	for r := range rooms {
		room := fmt.Sprint("room", r)
		var want []string
		next := make([]int, len(nodes))
		for _, m := range w.stored(room) {
			want = append(want, string(m.Data))
			var i, k int
			if _, err := fmt.Sscanf(string(m.Data), `"%d-%d"`, &i, &k); err != nil || next[i] != k {
				t.Fatalf("node %d's message %d comes when %d is due", i, k, next[i])
			}
			next[i]++
		}
		if len(want) != each*len(nodes) {
			t.Fatalf("%s has %d messages", room, len(want))
		}
		w.checkLinks(room)
		for _, l := range listeners {
			if l.room == room {
				w.eventually("all messages are there", func() bool { return len(l.data()) >= len(want) }, l)
				if !slices.Equal(l.data(), want) || l.resets > 0 {
					t.Errorf("a member of %s has another order than the store, or %d resets", room, l.resets)
				}
			}
		}
	}
}

func TestIdempotencyAcrossNodes(t *testing.T) {
	w := newWorld(t, "redis://"+backends.Redis(t).Addr)
	a, b := w.node(), w.node()
	l := b.listen("lobby")
	first := message("lobby", `"once"`)
	first.Key = "k"
	if err := a.publish(first); err != nil {
		t.Fatal(err)
	}
	retry := message("lobby", `"once"`)
	retry.Key = "k"
	var duplicate fanout.Duplicate
	if err := b.publish(retry); !errors.As(err, &duplicate) || duplicate.Offset != first.Offset {
		t.Errorf("a retry on another node: %v, the first has offset %d", err, first.Offset)
	}
	other := message("lobby", `"another"`)
	other.Key = "k"
	if err := b.publish(other); !errors.Is(err, fanout.ErrKeyReused) {
		t.Errorf("another payload with the same key: %v", err)
	}
	bob := message("lobby", `"another"`)
	bob.Key, bob.User = "k", "bob"
	if err := b.publish(bob); err != nil {
		t.Errorf("another sender with the same key: %v", err)
	}
	w.eventually("both are there", func() bool { return len(l.data()) == 2 })
	time.Sleep(50 * time.Millisecond)
	if got := l.data(); !slices.Equal(got, []string{`"once"`, `"another"`}) || len(w.stored("lobby")) != 2 {
		t.Errorf("delivered %v, stored %d", got, len(w.stored("lobby")))
	}
}

// A payload that is lost on the way is found by the next one, and the last one
// by the sweep.
func TestGapIsFilled(t *testing.T) {
	w := newWorld(t, "redis://"+backends.Redis(t).Addr)
	a, b := w.node(), w.node()
	l := b.listen("lobby")
	link := b.relay.feeds.byChannel(b.relay.keys.state("lobby"))
	var want []string
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			if err := a.publish(message("lobby", fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprint(i))
		}
	}
	publish(0, 3)
	w.eventually("the first are there", func() bool { return len(l.data()) == 3 })
	// The node hears nothing of the room for a while.
	b.relay.feeds.mu.Lock()
	delete(b.relay.feeds.links, link.channel)
	b.relay.feeds.mu.Unlock()
	publish(3, 400) // more than one look into the stream returns
	b.relay.feeds.mu.Lock()
	b.relay.feeds.links[link.channel] = link
	b.relay.feeds.mu.Unlock()
	publish(400, 401)
	w.eventually("all are there", func() bool { return len(l.data()) == len(want) })
	if !slices.Equal(l.data(), want) || l.resets > 0 || b.relay.Stats().Gaps == 0 {
		t.Errorf("after a gap: %d messages, %d resets, %d gaps", len(l.data()), l.resets, b.relay.Stats().Gaps)
	}
	// The last one is lost.
	b.relay.feeds.mu.Lock()
	delete(b.relay.feeds.links, link.channel)
	b.relay.feeds.mu.Unlock()
	publish(401, 402)
	b.relay.feeds.mu.Lock()
	b.relay.feeds.links[link.channel] = link
	b.relay.feeds.mu.Unlock()
	w.eventually("the last is there", func() bool { return len(l.data()) == len(want) })
	if !slices.Equal(l.data(), want) || l.resets > 0 {
		t.Errorf("after a lost last message: %d messages, %d resets", len(l.data()), l.resets)
	}
}

// A gap at the very beginning: a node has an empty room, and misses the first
// messages.
func TestGapFromTheBeginning(t *testing.T) {
	w := newWorld(t, "redis://"+backends.Redis(t).Addr)
	a, b := w.node(), w.node()
	l := b.listen("lobby")
	link := b.relay.feeds.byChannel(b.relay.keys.state("lobby"))
	b.relay.feeds.mu.Lock()
	delete(b.relay.feeds.links, link.channel)
	b.relay.feeds.mu.Unlock()
	var want []string
	for i := range 300 {
		if err := a.publish(message("lobby", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint(i))
	}
	b.relay.feeds.mu.Lock()
	b.relay.feeds.links[link.channel] = link
	b.relay.feeds.mu.Unlock()
	link.sync()
	w.eventually("all are there", func() bool { return len(l.data()) == len(want) }, l)
	if !slices.Equal(l.data(), want) || l.resets > 0 {
		t.Errorf("%d messages, %d resets", len(l.data()), l.resets)
	}
}

// FLUSHALL: nothing goes silently. Members are told to load anew, offsets go
// on rising, and no two messages share one.
func TestFlushAll(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a, b := w.node(), w.node()
	la, lb := a.listen("lobby"), b.listen("lobby")
	for i := range 5 {
		if err := a.publish(message("lobby", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("all are there", func() bool { return len(la.data()) == 5 && len(lb.data()) == 5 })
	before := w.stored("lobby")[4].Offset
	redis.Do("FLUSHALL")
	m := message("lobby", `"after"`)
	if err := b.publish(m); err != nil {
		t.Fatal(err)
	}
	if m.Offset <= before || m.Prev != before {
		t.Errorf("after the loss: offset %d, prev %d, the last before was %d", m.Offset, m.Prev, before)
	}
	for _, l := range []*listener{la, lb} {
		w.eventually("members are told", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.resets == 1 })
		old := l.epoch
		if err := l.join(); err != nil {
			t.Fatal(err)
		}
		if l.epoch == old || l.start != m.Offset {
			t.Errorf("back at %d in %q, before in %q", l.start, l.epoch, old)
		}
	}
	if la.epoch != lb.epoch {
		t.Errorf("the epochs are %q and %q", la.epoch, lb.epoch)
	}
	if err := a.publish(message("lobby", `"next"`)); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*listener{la, lb} {
		w.eventually("it goes on", func() bool { d := l.data(); return d[len(d)-1] == `"next"` })
	}
	w.checkLinks("lobby")
}

// A node dies with messages that were seen and not confirmed: another one
// produces them.
func TestDeadNodesMessagesAreProduced(t *testing.T) {
	w := newWorld(t, "redis://"+backends.Redis(t).Addr)
	a, b := w.node(), w.node()
	l := b.listen("lobby")
	w.mu.Lock()
	w.hold = true
	w.mu.Unlock()
	for i := range 3 {
		if err := a.relay.Publish(message("lobby", fmt.Sprint(i)), func(error) {}); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("they are seen", func() bool { return len(l.data()) == 3 })
	w.mu.Lock()
	if len(w.rows["lobby"]) != 0 || len(w.held) != 3 {
		t.Errorf("%d rows, %d held", len(w.rows["lobby"]), len(w.held))
	}
	w.held, w.hold = nil, false // they die with it
	w.mu.Unlock()
	a.close()
	w.eventually("they are stored", func() bool { return len(w.stored("lobby")) == 3 })
	w.checkLinks("lobby")
	w.eventually("the mark is gone", func() bool {
		s, err := b.relay.standing("lobby", "", 0)
		return err == nil && len(s.marks) == 0
	})
}

// A room that Redis has forgotten goes on where the store is; while the store
// does not answer, too.
func TestColdRoom(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	old := &schema.Message{Room: "lobby", Offset: 1 << 52, Data: []byte(`"old"`)} // ahead of the clock
	w.Produce(old, func(error) {})
	a := w.node()
	m := message("lobby", `"new"`)
	if err := a.publish(m); err != nil || m.Offset != old.Offset+1 || m.Prev != old.Offset {
		t.Errorf("offset %d, prev %d after %d: %v", m.Offset, m.Prev, old.Offset, err)
	}
	w.mu.Lock()
	w.down = true
	w.mu.Unlock()
	for _, room := range []string{"other", "third"} {
		if room == "third" {
			a.listen(room)
		}
		m = message(room, `"new"`)
		if err := a.publish(m); err != nil || m.Prev != unknownFloor {
			t.Errorf("without the store: prev %d, %v", m.Prev, err)
		}
	}
}

// Redis goes away and comes back: publishes are refused meanwhile, members
// stay, and what was published is there for all afterwards.
func TestRedisRestarts(t *testing.T) {
	redis := backends.OwnRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	w := newWorld(t, "redis://"+redis.Addr)
	w.cfg.Patience = 0 // the default: what cannot be taken is refused
	a, b := w.node(), w.node()
	la, lb := a.listen("lobby"), b.listen("lobby")
	if err := a.publish(message("lobby", `1`)); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is there", func() bool { return len(la.data()) == 1 && len(lb.data()) == 1 })
	redis.Kill9()
	if err := a.publish(message("lobby", `2`)); err == nil {
		t.Error("a publish without Redis succeeded")
	}
	redis.Start()
	w.eventually("publishing works again", func() bool { return b.publish(message("lobby", `3`)) == nil })
	for _, l := range []*listener{la, lb} {
		w.eventually("members hear it", func() bool { d := l.data(); return d[len(d)-1] == `3` })
		if l.resets > 0 {
			t.Errorf("%d resets, though nothing was lost", l.resets)
		}
	}
	w.eventually("the store has what was delivered", func() bool { return len(w.stored("lobby")) == len(la.data()) })
	w.checkLinks("lobby")
}

// A room has a rate and a burst; another room has its own.
func TestRoomRate(t *testing.T) {
	w := newWorld(t, "redis://"+backends.Redis(t).Addr)
	w.cfg.RoomRate = 50
	a := w.node()
	taken, began := 0, time.Now()
	for i := range 200 {
		if a.publish(message("busy", fmt.Sprint(i))) == nil {
			taken++
		}
	}
	most := 50 + int(50*time.Since(began).Seconds()) + 2 // a burst, and what the time allows
	if taken < 50 || taken > most {
		t.Errorf("%d of 200 messages were taken at once, want %d at most", taken, most)
	}
	if err := a.publish(message("quiet", `1`)); err != nil {
		t.Errorf("another room: %v", err)
	}
	w.eventually("the room takes messages again", func() bool { return a.publish(message("busy", `"again"`)) == nil })
	w.eventually("the outbox is empty", func() bool {
		a.relay.outbox.mu.Lock()
		defer a.relay.outbox.mu.Unlock()
		return len(a.relay.outbox.rooms)+len(a.relay.outbox.resting) == 0
	})
}
