package redis

import (
	"fmt"
	"testing"

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
	back := make(chan struct{})
	defer close(back)
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
	var syncs, gaps uint64
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
		if l.resets > 1 {
			t.Errorf("member %d was told %d times", i, l.resets)
		}
		s := nodes[i].relay.Stats()
		syncs, gaps = syncs+s.Syncs, gaps+s.Gaps
	}
	t.Logf("%d syncs, %d gaps", syncs, gaps)
}

// atRest reports whether a room neither waits for a sync nor has one.
func (l *link) atRest() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.gap && !l.queued && !l.syncing
}
