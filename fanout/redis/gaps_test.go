package redis

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
)

// damage is what may have happened to a room in Redis.
type damage struct {
	name string
	do   func(r *backends.RedisServer, newest *schema.Message)
}

const state = "test:{lobby}"

// A room's state says that there are messages which neither the stream nor the
// store has: members on all nodes are told once, and then there is peace.
func TestGapThatNothingFills(t *testing.T) {
	for _, d := range []damage{
		{"last is above the newest entry", func(r *backends.RedisServer, m *schema.Message) {
			r.Do("HSET", state, "last", decimal(m.Offset+7))
		}},
		{"last is above the entries of a partial restore", func(r *backends.RedisServer, m *schema.Message) {
			r.Do("HSET", state, "last", decimal(m.Offset+7))
			r.Do("XTRIM", state+":stream", "MAXLEN", "1")
		}},
		{"the state is of before the stream", func(r *backends.RedisServer, m *schema.Message) {
			r.Do("HSET", state, "last", decimal(m.Prev))
		}},
	} {
		t.Run(d.name, func(t *testing.T) { testDamage(t, d) })
	}
}

// What a room has in Redis cannot be read, or is not what it was: it counts as
// lost. Nothing is acknowledged that the members do not hear of, and they are
// told at most once.
func TestUnreadableRoom(t *testing.T) {
	set := func(args ...string) func(*backends.RedisServer, *schema.Message) {
		return func(r *backends.RedisServer, _ *schema.Message) { r.Do(args...) }
	}
	other := func(key string) func(*backends.RedisServer, *schema.Message) {
		return func(r *backends.RedisServer, _ *schema.Message) {
			r.Do("DEL", key)
			r.Do("SET", key, "another's")
		}
	}
	for _, d := range []damage{
		{"an epoch of another form", set("HSET", state, "epoch", "7")},
		{"an epoch as long as ours", set("HSET", state, "epoch", "01234567-89abcdef")},
		{"no epoch", set("HDEL", state, "epoch")},
		{"no last", set("HDEL", state, "last")},
		{"last is no number", set("HSET", state, "last", "x")},
		{"last is what Lua takes for a number", set("HSET", state, "last", "nan")},
		{"last is above what a number can say", set("HSET", state, "last", "18446744073709551615")},
		{"the state is of another type", other(state)},
		{"the stream is of another type", other(state + ":stream")},
		{"both are of another type", func(r *backends.RedisServer, m *schema.Message) {
			other(state)(r, m)
			other(state+":stream")(r, m)
		}},
		{"the newest entry was deleted", func(r *backends.RedisServer, m *schema.Message) {
			r.Do("XDEL", state+":stream", decimal(m.Offset)+"-0")
		}},
		{"the stream was deleted", set("DEL", state+":stream")},
		{"the newest entry cannot be read", func(r *backends.RedisServer, m *schema.Message) {
			r.Do("XDEL", state+":stream", decimal(m.Offset)+"-0")
			r.Do("XADD", state+":stream", decimal(m.Offset)+"-7", "q", "x")
		}},
		{"an entry that no script wrote", func(r *backends.RedisServer, m *schema.Message) {
			r.Do("XADD", state+":stream", decimal(m.Offset+1)+"-0", "p", decimal(m.Offset), "b", "x")
		}},
		{"an entry of the day after tomorrow", func(r *backends.RedisServer, m *schema.Message) {
			r.Do("XADD", state+":stream", decimal(m.Offset+2*86_400_000<<10)+"-0", "p", "0", "b", "x")
		}},
		{"an entry above what a number can say", set("XADD", state+":stream", "18446744073709551615-0", "p", "0", "b", "x")},
		{"a dead boot's mark of another form", set("HSET", state, "o:"+testBoot, "x")},
	} {
		t.Run(d.name, func(t *testing.T) { testDamage(t, d) })
	}
}

// A key that was used for a message is of another type or form: it counts as
// not used, and the messages of its batch keep their order.
func TestUnreadableKey(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a := w.node()
	l := a.listen("lobby")
	for i, damage := range [][]string{{"SET", "x"}, {"LPUSH", "x"}} {
		m := message("lobby", fmt.Sprint(i))
		m.Key = fmt.Sprint("key", i)
		id, _ := fanout.Identify(m)
		redis.Do(damage[0], idempotency(state, id), damage[1])
		if err := a.publish(m); err != nil {
			t.Fatal(err)
		}
		again := *m
		var duplicate fanout.Duplicate
		if err := a.publish(&again); !errors.As(err, &duplicate) || duplicate.Offset != m.Offset {
			t.Errorf("a second time: %v, want a duplicate of %d", err, m.Offset)
		}
	}
	w.eventually("both were delivered", func() bool { return slices.Equal(l.data(), []string{"0", "1"}) }, l)
}

// A payload that was published and that Redis does not have at the next look is
// a loss like any other; one of a history that is gone is nothing at all.
func TestStrayPayload(t *testing.T) {
	for _, c := range []struct {
		name   string
		epoch  string // of the payload, empty: the room's
		resets int
	}{{"of this history", "", 1}, {"of a history that is gone", testEpoch, 0}} {
		t.Run(c.name, func(t *testing.T) {
			redis := backends.OwnRedis(t)
			w := newWorld(t, "redis://"+redis.Addr)
			a := w.node()
			l := a.listen("lobby")
			m := message("lobby", `1`)
			if err := a.publish(m); err != nil {
				t.Fatal(err)
			}
			epoch := cmp.Or(c.epoch, l.epoch)
			body := appendBody(nil, sent{testBoot, 1}, m)
			payload := binary.BigEndian.AppendUint64([]byte("M"+epoch), m.Offset+1)
			payload = binary.BigEndian.AppendUint64(payload, m.Offset+2)
			payload = binary.BigEndian.AppendUint32(payload, uint32(len(body)))
			redis.Do("SPUBLISH", state, string(append(payload, body...)))
			k := a.relay.feeds.byChannel(state)
			w.eventually("the payload is there", func() bool { return a.relay.Stats().Gaps > 0 }, l)
			w.eventually("there is peace", k.atRest, l)
			w.eventually("the member is told", func() bool { return l.told() >= c.resets }, l)
			l.again()
			next := message("lobby", `2`)
			if err := a.publish(next); err != nil {
				t.Fatal(err)
			}
			w.eventually("what comes next is delivered", func() bool { return l.position() == next.Offset }, l)
			if n := l.told(); n != c.resets {
				t.Errorf("the member was told %d times, want %d", n, c.resets)
			}
		})
	}
}

// The store hangs while rooms have gaps that it is asked for. They wait; a room
// of the same primary that has none is delivered to, one that needs Redis alone
// is opened, and one with a gap that the stream fills gets on.
func TestStoreHangs(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a, b := w.node(), w.node()
	send := func(room, data string) *schema.Message {
		m := message(room, data)
		if err := b.publish(m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	const gaps = syncers + 2 // more than may occupy all who sync
	stuck := make([]*listener, gaps)
	for i := range stuck {
		stuck[i] = a.listen(fmt.Sprint("stuck", i))
	}
	other, streamed := a.listen("other"), a.listen("streamed")
	missed := send("streamed", `0`)
	send("warm", `0`)
	hung := make(chan struct{})
	release := sync.OnceFunc(func() { close(hung) })
	defer release()
	w.mu.Lock()
	w.hung = hung
	w.mu.Unlock()
	for _, l := range stuck {
		m := send(l.room, `0`)
		w.eventually("it is delivered", func() bool { return l.position() == m.Offset }, l)
		redis.Do("HSET", "test:{"+l.room+"}", "last", decimal(m.Offset+7))
		send(l.room, `1`) // shows the gap
	}
	w.eventually("the store is asked for all gaps", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.hanging == gaps })

	for _, l := range stuck {
		send(l.room, `2`) // the dispatcher has to come by
	}
	last := send("other", `1`)
	w.eventually("others are delivered to", func() bool { return other.position() == last.Offset }, other)
	opened := a.listen("warm")
	last = send("warm", `1`)
	w.eventually("a room that was opened meanwhile is delivered to", func() bool { return opened.position() == last.Offset }, opened)
	w.eventually("the first message is there", func() bool { return streamed.position() == missed.Offset }, streamed)
	k := a.relay.feeds.byChannel("test:{streamed}")
	k.mu.Lock()
	k.missed("") // as if a payload had been lost
	k.mu.Unlock()
	last = send("streamed", `1`)
	w.eventually("a gap is filled by the stream", func() bool { return streamed.position() == last.Offset && k.atRest() }, streamed)

	w.mu.Lock()
	if w.hanging != gaps {
		t.Errorf("%d reads hang, want %d", w.hanging, gaps)
	}
	w.hung = nil
	w.mu.Unlock()
	release()
	for _, l := range stuck {
		last := send(l.room, `3`)
		w.eventually("a room with a gap gets on", func() bool { l.again(); return l.position() == last.Offset }, l)
	}
}

// testDamage damages a room with members on two nodes that is at rest, and
// publishes on a third: the members see all or are told once, whatever is
// acknowledged they have, and nothing goes on trying.
func testDamage(t *testing.T, d damage) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	nodes := []*node{w.node(), w.node(), w.node()}
	members := []*listener{nodes[0].listen("lobby"), nodes[1].listen("lobby")}
	var newest *schema.Message
	for i := range 3 {
		newest = message("lobby", fmt.Sprint(i))
		if err := nodes[0].publish(newest); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("the room is at rest", func() bool {
		s, err := nodes[0].relay.standing("lobby", "", 0)
		return err == nil && len(s.marks) == 0 && members[0].position() == newest.Offset && members[1].position() == newest.Offset
	}, members...)

	d.do(redis, newest)
	for i := range 50 {
		m := message("lobby", fmt.Sprint(100+i))
		if err := nodes[2].publish(m); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		for _, l := range members {
			l.again()
		}
		newest = m
	}
	w.eventually("the members are where the room is, and there is peace", func() bool {
		for i, l := range members {
			l.again()
			if l.position() != newest.Offset || !nodes[i].relay.feeds.byChannel(state).atRest() {
				return false
			}
		}
		return true
	}, members...)
	for i, l := range members {
		if n := l.told(); n > 1 {
			t.Errorf("member %d was told %d times", i, n)
		}
		l.check(w, w.stored("lobby"))
	}
}

// told is how often a member was told to come back.
func (l *listener) told() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.resets
}

// atRest reports whether a room neither waits for a sync nor has one.
func (l *link) atRest() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.gap && !l.queued && !l.syncing
}
