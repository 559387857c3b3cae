package redis

import (
	"strings"
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
	redis.Do("HSET", "test:{lobby}", "last", "7", "epoch", testEpoch, "o:"+a.relay.Boot(), "5 7")
	if err := a.relay.Publish(message("lobby", `1`), func(error) {}); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is minted", func() bool { return a.relay.Stats().Minted == 1 })
	if s, err := a.relay.standing("lobby", "", 0); err != nil || s.marks[a.relay.Boot()].oldest != 5 {
		t.Errorf("marks %v, %v", s.marks, err)
	}
}

// A confirmation that is executed after a later batch, by whatever delay,
// leaves the mark: it stands for that batch now.
func TestLateConfirmation(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a := w.node()
	first := message("lobby", `1`)
	if err := a.publish(first); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.hold = true // what comes now is not confirmed
	w.mu.Unlock()
	if err := a.relay.Publish(message("lobby", `2`), func(error) {}); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is minted", func() bool { return a.relay.Stats().Minted == 2 })
	for _, known := range []uint64{first.Offset, first.Offset - 1} {
		c := confirmation{upTo: first.Offset, newest: known, lowest: first.Offset}
		if err := a.relay.confirmCall("lobby", a.relay.Boot(), c).run(t.Context(), a.relay.client).Error(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := a.relay.standing("lobby", "", 0)
	if m := s.marks[a.relay.Boot()]; err != nil || m.oldest == 0 || m.oldest > s.last || m.newest != s.last {
		t.Errorf("the mark is %v, the last offset %d, %v", m, s.last, err)
	}
}

// A room of which a node always has a batch under way: a confirmation raises the
// mark to just behind what the node knew of when it told, and no further, and
// one that is executed late or twice lowers nothing.
func TestConfirmationRaisesTheMark(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a := w.node()
	w.mu.Lock()
	w.hold = true // nothing is confirmed but by this test
	w.mu.Unlock()
	boot := a.relay.Boot()
	field := "o:" + boot
	set := func(text string) { redis.Do("HSET", "test:{lobby}", "last", "900", "epoch", testEpoch, field, text) }
	for _, c := range []struct {
		name   string
		before string
		told   confirmation
		want   mark
	}{
		{"all is confirmed", "100 300", confirmation{upTo: 300, newest: 300}, mark{0, 0}},
		{"some is open", "100 300", confirmation{upTo: 200, oldest: 150, newest: 300}, mark{150, 300}},
		{"a batch is under way", "100 300", confirmation{upTo: 200, newest: 200}, mark{201, 300}},
		{"a batch is under way, some is open", "100 300", confirmation{upTo: 200, oldest: 150, newest: 200}, mark{150, 300}},
		{"what is open came after", "100 300", confirmation{upTo: 200, oldest: 300, newest: 200}, mark{201, 300}},
		{"executed late", "400 500", confirmation{upTo: 200, oldest: 150, newest: 200}, mark{400, 500}},
		{"executed late, all was confirmed", "400 500", confirmation{upTo: 200, newest: 200}, mark{400, 500}},
		{"a mark that cannot be read", "x", confirmation{upTo: 200, newest: 200}, mark{0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			set(c.before)
			for range 2 { // the second time nothing changes
				if err := a.relay.confirmCall("lobby", boot, c.told).run(t.Context(), a.relay.client).Error(); err != nil {
					t.Fatal(err)
				}
				s, err := a.relay.standing("lobby", "", 0)
				if got := s.marks[boot]; err != nil || got != c.want {
					t.Errorf("the mark is %v, want %v, %v", got, c.want, err)
				}
			}
		})
	}
}

// What a batch under way may get is above what its sender knew when it was
// taken; an offset that turns up meanwhile, of a batch whose outcome was
// unknown, says nothing about that one.
func TestKnownWhileABatchIsUnderWay(t *testing.T) {
	o := newOutbox(0)
	for i := range 2 * parcelEntries {
		o.add(entry{message: message("lobby", "1"), counter: uint64(i), done: func(error) {}})
	}
	first := o.take()[0]
	o.minted(first.sender, 100, 101)
	if got := first.sender.known(); got != 0 {
		t.Errorf("%d before the batch is back", got)
	}
	o.finish(first, nil)
	if got := first.sender.known(); got != 101 {
		t.Errorf("%d with nothing under way", got)
	}
	second := o.take()[0]
	o.adopt("lobby", 250)
	if got := second.sender.known(); got != 101 {
		t.Errorf("%d with a batch under way", got)
	}
	o.finish(second, nil)
	if got := second.sender.known(); got != 250 {
		t.Errorf("%d at last", got)
	}
}

// Redis is emptied between a message and its confirmation, and others have gone
// on without it: its confirmation tells.
func TestConfirmationTellsOfALoss(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a, b := w.node(), w.node()
	before := message("lobby", `1`)
	if err := a.publish(before); err != nil {
		t.Fatal(err)
	}
	w.eventually("Redis knows that it is stored", func() bool {
		s, err := a.relay.standing("lobby", "", 0)
		return err == nil && len(s.marks) == 0
	})
	w.mu.Lock()
	w.hold = true
	w.mu.Unlock()
	if err := a.relay.Publish(message("lobby", `2`), func(error) {}); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is minted", func() bool { return a.relay.Stats().Minted == 2 })
	redis.Do("FLUSHALL")
	w.mu.Lock()
	held := w.held
	w.held, w.hold = nil, false
	w.mu.Unlock()
	l := b.listen("lobby") // by what the store has: it knows of the first alone
	if err := b.publish(message("lobby", `3`)); err != nil || l.start != before.Offset {
		t.Fatalf("%v; the member begins at %d, not %d", err, l.start, before.Offset)
	}
	for _, store := range held {
		store()
	}
	w.eventually("members are told to load anew", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.resets > 0 }, l)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.heal) == 0 {
		t.Error("the history is not healed")
	}
}

// A node dies with a message that is not stored, in a room that is published to
// and that nobody listens to: whoever publishes produces it, and the room's
// stream is trimmed again.
func TestDeadNodeInARoomThatNobodyHears(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a, b := w.node(), w.node()
	w.mu.Lock()
	w.hold = true
	w.mu.Unlock()
	m := message("lobby", `1`)
	if err := a.relay.Publish(m, func(error) {}); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is minted", func() bool { return a.relay.Stats().Minted == 1 })
	w.mu.Lock()
	w.held, w.hold = nil, false // it is lost
	w.mu.Unlock()
	boot := a.relay.Boot()
	a.crash()
	w.eventually("it is stored, and its mark is gone", func() bool {
		if err := b.publish(message("lobby", `2`)); err != nil {
			t.Fatal(err)
		}
		return len(w.stored("lobby")) > 0 && string(w.stored("lobby")[0].Data) == `1` && !strings.Contains(redis.Do("HGETALL", "test:{lobby}"), boot)
	})
}
