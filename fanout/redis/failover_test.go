package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

func urlOf(addrs []string, parameters ...string) string {
	for _, a := range addrs[1:] {
		parameters = append(parameters, "addr="+a)
	}
	return "redis://" + addrs[0] + "?" + strings.Join(parameters, "&")
}

// Rooms are on three primaries; one of them dies and its replica takes over.
func TestClusterFailover(t *testing.T) {
	c := backends.RedisCluster(t, 3, 3)
	w := newWorld(t, urlOf(c.Addrs()))
	w.cfg.Patience = 0 // the default
	nodes := []*node{w.node(), w.node()}
	const rooms = 24
	var listeners []*listener
	for i := range rooms {
		listeners = append(listeners, nodes[i%2].listen(fmt.Sprint("room", i)))
	}
	say := func(what string) {
		for i := range rooms {
			m := message(fmt.Sprint("room", i), fmt.Sprintf("%q", what))
			w.eventually("publishing to "+m.Room, func() bool { return nodes[(i+1)%2].publish(m) == nil })
		}
	}
	say("before")
	if n := nodes[0].relay.Stats().Feeds; n != 3 {
		t.Errorf("%d feeds to 3 primaries", n)
	}
	c.Primaries[1].Synced() // its replica has everything
	c.Primaries[1].Kill9()
	say("after")
	for _, l := range listeners {
		w.eventually("it goes on in "+l.room, func() bool { d := l.data(); return slices.Contains(d, `"after"`) })
	}
	for i := range rooms {
		w.checkLinks(fmt.Sprint("room", i))
	}
	for _, l := range listeners {
		if d := l.data(); l.resets > 0 || d[0] != `"before"` {
			t.Errorf("%s: %v with %d resets, though the replica had everything", l.room, d, l.resets)
		}
	}
}

// again joins again if the member has been told to.
func (l *listener) again() bool {
	l.mu.Lock()
	out := l.member == nil
	l.mu.Unlock()
	return out && l.join() == nil && false
}

func (l *listener) startsAt() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start
}

// The replica that takes over lacks what the primary had already shown: those
// who have seen it, and those who have not, are told to load anew, and no
// offset is given twice.
func TestStaleFailover(t *testing.T) {
	c := backends.RedisCluster(t, 3, 3)
	w := newWorld(t, urlOf(c.Addrs()))
	w.cfg.Patience = 0 // the default
	a, b := w.node(), w.node()
	la, lb := a.listen("lobby"), b.listen("lobby")
	slot, err := strconv.Atoi(strings.TrimPrefix(c.Primaries[0].Do("CLUSTER", "KEYSLOT", "test:{lobby}"), ":"))
	if err != nil {
		t.Fatal(err)
	}
	primary := slot * len(c.Primaries) / clusterSlots
	publish := func(n *node, data string) {
		t.Helper()
		w.eventually("publishing "+data, func() bool { return n.publish(message("lobby", data)) == nil })
	}
	publish(a, `"copied"`)
	c.Primaries[primary].Synced()
	c.Replicas[primary].Pause()
	c.Primaries[primary].Do("CLIENT", "KILL", "TYPE", "replica") // nothing waits for it in a socket
	publish(a, `"lost"`)
	for _, l := range []*listener{la, lb} {
		w.eventually("both are there", func() bool { return len(l.data()) == 2 })
	}
	seen := w.stored("lobby")
	c.Primaries[primary].Kill9()
	c.Replicas[primary].Continue()
	publish(b, `"after"`)
	for _, l := range []*listener{la, lb} {
		w.eventually("members are told", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.resets > 0 })
		old := l.epoch
		if err := l.join(); err != nil {
			t.Fatal(err)
		}
		if l.epoch == old {
			t.Errorf("the epoch is still %q", old)
		}
	}
	publish(a, `"end"`)
	end := w.stored("lobby")[3]
	for _, l := range []*listener{la, lb} {
		w.eventually("it goes on", func() bool {
			d := l.data()
			// Told once more to load anew, it may have come back behind it.
			return d[len(d)-1] == `"end"` || l.again() || l.startsAt() >= end.Offset
		})
	}
	offsets := make(map[uint64]bool)
	for _, m := range w.stored("lobby") {
		offsets[m.Offset] = true
	}
	for _, m := range seen {
		if !offsets[m.Offset] {
			t.Errorf("%s at %d is gone", m.Data, m.Offset)
		}
	}
	if list := w.stored("lobby"); string(list[len(list)-1].Data) != `"end"` || len(list) != 4 {
		t.Errorf("the store has %d messages", len(list))
	}
}

// Sentinels replace the primary.
func TestSentinelFailover(t *testing.T) {
	s := backends.Sentinel(t)
	w := newWorld(t, urlOf(s.Addrs(), "master_set="+s.Name))
	w.cfg.Patience = 0 // the default
	a, b := w.node(), w.node()
	la, lb := a.listen("lobby"), b.listen("lobby")
	if err := a.publish(message("lobby", `"before"`)); err != nil {
		t.Fatal(err)
	}
	s.Primary.Synced()
	s.Primary.Kill9()
	w.eventually("publishing works again", func() bool { return b.publish(message("lobby", `"after"`)) == nil })
	for _, l := range []*listener{la, lb} {
		w.eventually("it goes on", func() bool { d := l.data(); return d[len(d)-1] == `"after"` })
		if l.resets > 0 || l.data()[0] != `"before"` {
			t.Errorf("%v with %d resets, though the replica had everything", l.data(), l.resets)
		}
	}
	w.checkLinks("lobby")
}

// What cannot work says so in one line, without secrets.
func TestOpenErrors(t *testing.T) {
	redis := backends.OwnRedis(t, "--requirepass", "swordfish-secret")
	for name, c := range map[string]struct{ url, want string }{
		"not a URL":       {"localhost:6379", "not a URL"},
		"a bad password":  {"redis://:hunter2-secret@%zz", "not a URL"},
		"nobody":          {"redis://127.0.0.1:" + fmt.Sprint(backends.Port(t)), "connection refused"},
		"no password":     {"redis://" + redis.Addr, "NOAUTH"},
		"wrong password":  {"redis://:hunter2-secret@" + redis.Addr, "WRONGPASS"},
		"a database":      {"redis://" + redis.Addr + "/3", "only database 0"},
		"not TLS":         {"rediss://:swordfish-secret@" + redis.Addr, "connect to"},
		"braces":          {"redis://" + redis.Addr, "braces"},
		"no Sentinel set": {"redis://:swordfish-secret@" + redis.Addr + "?master_set=x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := ClientConfig{URL: c.url}
			if name == "braces" {
				cfg.Prefix = "{x}"
			}
			began := time.Now()
			client, err := Open(context.Background(), cfg)
			if err == nil {
				client.Close()
				t.Fatal("it opened")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q does not say %q in one line without secrets", err, c.want)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
	client, err := Open(context.Background(), ClientConfig{URL: "redis://:swordfish-secret@" + redis.Addr})
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
}

func TestJudge(t *testing.T) {
	for info, want := range map[string]string{
		"redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\n": "",
		"redis_version:10.2\r\nmaxmemory_policy:noeviction\r\n":   "",
		"redis_version:6.2.14\r\nmaxmemory_policy:noeviction\r\n": "this is Redis 6.2.14; sharded Pub/Sub needs 7 or later",
		"redis_version:7.2.4\r\nmaxmemory_policy:allkeys-lru\r\n": "Redis has maxmemory-policy allkeys-lru: it may evict rooms; set noeviction",
		"redis_version:\r\n": "this is Redis ; sharded Pub/Sub needs 7 or later",
	} {
		note, err := judge(info)
		if err != nil {
			note = err.Error()
		}
		if note != want {
			t.Errorf("%q: %q, want %q", info, note, want)
		}
	}
	// A real server that evicts.
	client, err := Open(context.Background(), ClientConfig{URL: "redis://" + backends.OwnRedis(t, "--maxmemory-policy", "allkeys-lru").Addr})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if len(client.Notes()) != 1 {
		t.Errorf("notes: %q", client.Notes())
	}
}
