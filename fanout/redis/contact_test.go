package redis

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/internal/contact"
)

// One primary of a cluster is full: its rooms are refused, all others go on,
// and the node says which it is.
func TestOneFullPrimary(t *testing.T) {
	c := backends.RedisCluster(t, 3, 0)
	w := newWorld(t, urlOf(c.Addrs()))
	w.cfg.Patience = 0 // the default
	logs := w.observe()
	n := w.node()
	rooms := make(map[string]string) // one on each primary
	w.eventually("the slots are known", func() bool { return n.relay.Ready() == nil })
	for i := 0; len(rooms) < 3; i++ {
		room := fmt.Sprint("room", i)
		rooms[n.relay.feeds.primaryOf(n.relay.keys.state(room))] = room
	}
	full := c.Primaries[1]
	full.Do("CONFIG", "SET", "maxmemory", "100kb")
	w.eventually("its rooms are refused", func() bool { return isRefused(n.publish(message(rooms[full.Addr], `"x"`))) })
	w.eventually("it is known which", func() bool {
		err := n.relay.Ready()
		return err != nil && strings.Contains(err.Error(), "redis refuses writes: "+full.Addr+": OOM")
	})
	for addr, room := range rooms {
		for range 10 {
			if err := n.publish(message(room, `"x"`)); (addr == full.Addr) != isRefused(err) || addr != full.Addr && err != nil {
				t.Errorf("%s on %s: %v", room, addr, err)
			}
		}
	}
	full.Do("CONFIG", "SET", "maxmemory", "0")
	w.eventually("it goes on by itself", func() bool { return n.publish(message(rooms[full.Addr], `"x"`)) == nil })
	w.eventually("and says so", func() bool { return logs.FilterMessage("back end answers again").Len() == 1 })
	lines(t, logs, "back end refuses writes", 1, 1)
}

// Redis goes and returns, and so does another node: one line for each.
func TestLinesOfChanges(t *testing.T) {
	server := backends.OwnRedis(t, "--appendonly", "yes")
	w := newWorld(t, "redis://"+server.Addr)
	w.cfg.Lease, w.cfg.Patience = 4*time.Second, 0 // a node that the machine lets wait for a second is not dead
	logs := w.observe()
	a := w.node()
	a.relay.Serve(quietSelf{})
	a.listen("lobby")
	w.eventually("it is there", func() bool { return a.relay.Ready() == nil && len(a.relay.Peers()) == 1 })

	server.Kill9()
	w.eventually("it is silent", func() bool { return a.relay.Contact().State() == contact.Silent && !a.relay.Connected() })
	if err := a.publish(message("lobby", `"x"`)); !isRefused(err) {
		t.Errorf("a publish: %v", err)
	}
	server.Start()
	w.eventually("it is back", func() bool { return a.relay.Ready() == nil })
	w.eventually("publishing works", func() bool { return a.publish(message("lobby", `"y"`)) == nil })
	w.eventually("it is told", func() bool { return logs.FilterMessage("back end answers again").Len() > 0 })
	lines(t, logs, "back end does not answer", 1, 1)
	lines(t, logs, "back end answers again", 1, 1)
	lines(t, logs, "lost the feed from Redis", 1, 1)
	lines(t, logs, "the feed from Redis is back", 1, 1)

	// A node that has told of itself once, and one that stops.
	if _, err := a.relay.nodes(t.Context(), "0000000000000000", []byte(`{"name":"short-lived"}`)); err != nil {
		t.Fatal(err)
	}
	b := w.node()
	b.relay.Serve(quietSelf{})
	w.eventually("both are known", func() bool {
		return len(a.relay.Peers()) >= 2 && logs.FilterMessage("another node is there").Len() >= 2
	})
	b.close()
	w.eventually("one has stopped", func() bool { return logs.FilterMessage("another node has stopped").Len() == 1 })
	w.eventually("one has died", func() bool { return logs.FilterMessage("another node is silent and counts as dead").Len() > 0 })
	time.Sleep(2 * w.cfg.Lease)                                       // whether there is another line
	lines(t, logs, "another node is silent and counts as dead", 1, 2) // one by each that lived to see it
}

// A command that a script uses and rights.lua does not ask for would be missing
// when a message needs it.
func TestRightsAreComplete(t *testing.T) {
	command := regexp.MustCompile(`redis\.p?call\('([A-Z]+)'`)
	for _, s := range []string{stateText, mintText, syncText, confirmText, renewText, nodesText, attendText, attendedText, absentText} {
		for _, found := range command.FindAllStringSubmatch(s, -1) {
			if !strings.Contains(rightsText, "{'"+found[1]+"'") {
				t.Errorf("rights.lua does not ask for %s", found[1])
			}
		}
	}
}

// A node whose clock is wrong cannot publish, and is not ready. It is as soon as
// the clock is right.
func TestClocksDiffer(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		began, ended, redis time.Duration
		differ              bool
	}{
		{0, 0, 0, false},
		{0, 0, time.Second, false},
		{0, 0, -time.Second, false},
		{0, 10 * time.Second, 9 * time.Second, false}, // slow is not wrong
		{0, 10 * time.Second, -1100 * time.Millisecond, true},
		{0, 10 * time.Second, 11100 * time.Millisecond, true},
		{0, 0, -24 * time.Hour, true},
	} {
		h := newHeartbeat(&Config{})
		h.clocks(now.Add(c.began), now.Add(c.ended), now.Add(c.redis))
		if got := h.skew.Load() != nil; got != c.differ {
			t.Errorf("%+v: %v", c, got)
		}
	}
	client, err := Open(t.Context(), ClientConfig{URL: "redis://" + backends.Redis(t).Addr, Prefix: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r := New(Config{Client: client}) // which does not beat by itself
	beat := func(redis time.Time) {
		r.heartbeat.clocks(now, now, redis)
		r.conclude(t.Context(), []probe{{}})
	}
	beat(now.Add(-2 * time.Second))
	if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "the clocks of Redis and this node differ by 2s") {
		t.Errorf("ready: %v", err)
	}
	if err := r.admit("lobby"); !isRefused(err) {
		t.Errorf("a publish: %v", err)
	}
	beat(now)
	if err := r.admit("lobby"); err != nil {
		t.Errorf("a publish afterwards: %v", err)
	}
}
