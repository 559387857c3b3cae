package redis

import (
	"testing"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// Redis has gone back behind what a node knows, without losing the room: the
// look at where the room stands renews the epoch by itself.
func TestSyncRenewsTheEpoch(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a := w.node()
	first, second := message("lobby", `1`), message("lobby", `2`)
	for _, m := range []error{a.publish(first), a.publish(second)} {
		if m != nil {
			t.Fatal(m)
		}
	}
	before, err := a.relay.standing("lobby", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("the outbox has forgotten the room", func() bool { return a.relay.outbox.highest("lobby") == 0 })
	redis.Do("HSET", "test:{lobby}", "last", decimal(first.Offset))
	redis.Do("XTRIM", "test:{lobby}:stream", "MAXLEN", "0")
	after, err := a.relay.standing("lobby", before.epoch, second.Offset)
	if err != nil || after.epoch == before.epoch || after.last != second.Offset {
		t.Errorf("at %d in %q, before at %d in %q: %v", after.last, after.epoch, before.last, before.epoch, err)
	}
}

// A mark that stands lower than what the caller knows of is not raised by what
// it mints next.
func TestMintKeepsTheMark(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a := w.node()
	w.mu.Lock()
	w.hold = true // nothing is confirmed
	w.mu.Unlock()
	redis.Do("HSET", "test:{lobby}", "last", "7", "epoch", testEpoch, "o:"+a.relay.Boot(), "5")
	if err := a.relay.Publish(message("lobby", `1`), func(error) {}); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is minted", func() bool { return a.relay.Stats().Minted == 1 })
	if s, err := a.relay.standing("lobby", "", 0); err != nil || s.marks[a.relay.Boot()] != 5 {
		t.Errorf("marks %v, %v", s.marks, err)
	}
}
