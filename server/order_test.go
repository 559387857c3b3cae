package main

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// Many publish into many rooms, and every member of a room sees the same
// messages in the same order without a gap, on whichever loop it is, while
// others join and leave. The ledger compares every member with the store.
func TestOrder(t *testing.T) {
	const rooms, publishers, members, each = 3, 6, 5, 402
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	h := start(t, func(o *options) { o.Loops = 3 })
	name := func(i int) string { return fmt.Sprint("room", i) }

	var publish, read, churn sync.WaitGroup
	var all []*follower
	for i := range rooms * members {
		m := h.follower(fmt.Sprint("member ", i), name(i%rooms), codecs[i/rooms%2])
		if _, err := m.back(); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	for i := range publishers { // each also a member of a room, so it reads its own
		c := h.client(codecs[i%2])
		c.subscribe(name(i % rooms))
		publish.Go(func() { publishMixed(t, c, i, rooms, each) })
	}
	quit := make(chan struct{})
	for i := range 4 {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		churn.Go(func() { // stopped by quit
			for n := 0; ; n++ {
				select {
				case <-quit:
					return
				default:
					comeAndGo(t, h, random, fmt.Sprint("guest ", i, ".", n), name(random.IntN(rooms)))
				}
			}
		})
	}
	for _, m := range all {
		read.Go(func() {
			for len(m.view.offsets) < publishers*each/rooms {
				if err := m.read(); err != nil {
					t.Errorf("%s after %d messages: %v", m.name, len(m.view.offsets), err)
					return
				}
			}
		})
	}
	publish.Wait()
	read.Wait()
	close(quit)
	churn.Wait()
	for _, m := range all {
		if top := h.top(m.room); m.offset != top {
			t.Errorf("%s ended at %d, the room's top is %d", m.name, m.offset, top)
		}
	}
}

// publishMixed publishes into all rooms in turn, singly and in frames of
// several, and checks that the answers come in the order of the commands.
func publishMixed(t *testing.T, c *client, who, rooms, each int) {
	for i := 0; i < each; {
		n := min(1+i%7, each-i)
		var cmds []*command
		for range n {
			cmds = append(cmds, publishTo(fmt.Sprint("room", i%rooms), fmt.Sprintf(`{"from":%d,"n":%d}`, who, i)))
			i++
		}
		if err := c.trySend(cmds...); err != nil {
			t.Errorf("publisher %d: %v", who, err)
			return
		}
		for _, cmd := range cmds {
			if r, err := c.tryReply(cmd.Id); err != nil || r.Error != nil {
				t.Errorf("publisher %d: %v, %v", who, r, err)
				return
			}
		}
		c.pushes = c.pushes[:0]
	}
}

// comeAndGo is a member for some milliseconds, and perhaps comes back.
func comeAndGo(t *testing.T, h *harness, random *rand.Rand, who, room string) {
	m := h.follower(who, room, codecs[random.IntN(2)])
	for range 1 + random.IntN(3) {
		if _, err := m.back(); err != nil {
			t.Error(err)
			return
		}
		_ = m.conn.SetReadDeadline(time.Now().Add(time.Duration(random.IntN(20)) * time.Millisecond))
		for m.read() == nil { //nolint:revive // until the deadline
		}
		m.cut()
	}
	if m.lost > 0 {
		t.Errorf("%s: %d recoveries were not exact", who, m.lost)
	}
}

// One connection's messages keep the order it sent them in, in every room.
func TestOrderOfOneConnection(t *testing.T) {
	h := start(t)
	c := h.client(schema.JSON)
	const rooms, n = 3, 300
	var cmds []*command
	for i := range n {
		cmds = append(cmds, publishTo(fmt.Sprint("room", i%rooms), fmt.Sprint(i)))
	}
	c.send(cmds...)
	for _, cmd := range cmds {
		if r, err := c.tryReply(cmd.Id); err != nil || r.Error != nil {
			t.Fatal(r, err)
		}
	}
	for room := range rooms {
		for i, p := range c.history(&historyRequest{Channel: fmt.Sprint("room", room), Limit: -1}).Publications {
			if want := fmt.Sprint(i*rooms + room); string(p.Data) != want {
				t.Fatalf("room %d has %s as number %d, want %s", room, p.Data, i, want)
			}
		}
	}
}
