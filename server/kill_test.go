package main

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// P1 for one node alone: the process is killed at any moment, and what was
// acknowledged, and what any client saw, is in history, in the same order at
// the same offsets, in the same epoch. The ledger compares all of it with the
// store; the server's own history is compared with what members saw.
func TestKill9(t *testing.T) {
	const rooms = 3
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir, l := t.TempDir(), newLedger()
	t.Cleanup(func() { l.checkDir(t, dir) })
	epoch := ""
	for round := range 5 {
		p := startChild(t, dir)
		watcher := dialTo(t, l, p.addr, schema.JSON)
		watcher.connect()
		r := watcher.subscribe("room0")
		if epoch != "" && r.Epoch != epoch {
			t.Errorf("the epoch became %q, was %q", r.Epoch, epoch)
		}
		epoch = r.Epoch
		compareHistory(t, l, watcher, rooms)

		before := l.count("room0")
		var acked atomic.Int64
		var all sync.WaitGroup
		for i := range 4 {
			c := dialTo(t, l, p.addr, codecs[i%2])
			c.connect()
			all.Go(func() { publishUntilEnd(c, fmt.Sprint(round, ".", i), rooms, &acked) })
		}
		for i := range rooms {
			c := dialTo(t, l, p.addr, codecs[i%2])
			c.connect()
			r := c.subscribe(fmt.Sprint("room", i))
			v := l.view(fmt.Sprint("member ", round, ".", i), fmt.Sprint("room", i), r.Offset)
			all.Go(func() { readUntilEnd(c, v) })
		}
		eventually(t, "something is acknowledged", func() bool { return acked.Load() > 0 })
		time.Sleep(time.Duration(random.IntN(200_000)) * time.Microsecond)
		p.kill()
		all.Wait()
		t.Logf("round %d: %d messages acknowledged, %d of them in room0", round, acked.Load(), l.count("room0")-before)
	}
	p := startChild(t, dir)
	c := dialTo(t, l, p.addr, schema.Protobuf)
	c.connect()
	compareHistory(t, l, c, rooms)
	c.cut()
	if code := p.stop(); code != 0 {
		t.Errorf("the last server ended with exit code %d: %s", code, p.stderr.Bytes())
	}
}

func publishUntilEnd(c *client, who string, rooms int, acked *atomic.Int64) {
	for i := 0; ; i++ {
		if c.tryPublishAll(fmt.Sprint("room", i%rooms), numbered(fmt.Sprint(who, ".", i), 1+i%9, 80)) != nil {
			return
		}
		acked.Add(int64(1 + i%9))
	}
}

func readUntilEnd(c *client, v *view) {
	for {
		p, err := c.tryPush()
		if err != nil {
			return
		}
		v.offsets = append(v.offsets, p.Pub.Offset)
	}
}

// compareHistory pages through the rooms and looks for everything that any
// client was told or saw.
func compareHistory(t *testing.T, l *ledger, c *client, rooms int) {
	t.Helper()
	for i := range rooms {
		room := fmt.Sprint("room", i)
		data := make(map[uint64]string)
		count := make(map[string]int)
		for since := uint64(0); ; {
			pubs := c.history(&historyRequest{Channel: room, Limit: -1, Since: &position{Offset: since}}).Publications
			if len(pubs) == 0 {
				break
			}
			for _, p := range pubs {
				if p.Offset <= since {
					t.Fatalf("%s: offset %d stands after %d", room, p.Offset, since)
				}
				since = p.Offset
				data[p.Offset] = string(p.Data)
				count[string(p.Data)]++
			}
		}
		l.mu.Lock()
		a := l.account(room)
		for offset, seen := range a.seen {
			if data[offset] != seen {
				t.Errorf("%s: offset %d was seen as %.60s, history has %.60q", room, offset, seen, data[offset])
			}
		}
		for d, n := range a.acked {
			if count[d] != n {
				t.Errorf("%s: %.60s was acknowledged %d times, history has it %d times", room, d, n, count[d])
			}
		}
		l.mu.Unlock()
	}
}
