package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/internal/backends"
)

// What 100,000 clients of one room, on two nodes, cost: Redis' memory, the time
// until all have come and gone, and what it takes to ask.
func BenchmarkPresence(b *testing.B) {
	for name, info := range map[string]string{"users": `{"name":"Somebody With A Name"}`, "guests": ""} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				benchPresence(b, info)
			}
		})
	}
}

func benchPresence(b *testing.B, info string) {
	const each = 50_000
	redis := backends.OwnRedis(b)
	w := newWorld(b, "redis://"+redis.Addr)
	w.cfg.Lease = time.Minute
	nodes := []*node{w.node(), w.node()}
	for _, n := range nodes {
		n.enter("lobby", fanout.Client{ID: "first"})
	}
	nodes[1].counts("lobby")
	before := memory(redis)
	var clients [2][]fanout.Client
	for i := range 2 * each {
		c := fanout.Client{ID: fmt.Sprintf("%08x-%s", i%2, strconv.FormatInt(int64(i), 36))}
		if info != "" {
			c.User, c.Info = fmt.Sprint("user-", i), []byte(info)
		}
		clients[i%2] = append(clients[i%2], c)
	}
	// Redis alone: the members of the hub do not matter to it.
	began := time.Now()
	for i, n := range nodes {
		for _, c := range clients[i] {
			for n.relay.presence.full() {
				time.Sleep(time.Millisecond)
			}
			n.relay.Join("lobby", c)
		}
	}
	wait(b, nodes)
	b.ReportMetric(2*each/time.Since(began).Seconds(), "joins/s")
	b.ReportMetric(float64(memory(redis)-before)/(2*each), "redis-B/client")

	ctx := context.Background()
	var counts, pages []time.Duration
	for range 1000 {
		at := time.Now()
		if n, _, err := nodes[0].relay.Count(ctx, "lobby"); err != nil || n != 2*each+2 {
			b.Fatal(n, err)
		}
		counts = append(counts, time.Since(at))
	}
	slices.Sort(counts)
	b.ReportMetric(float64(counts[500].Microseconds()), "count-p50-µs")
	b.ReportMetric(float64(counts[990].Microseconds()), "count-p99-µs")
	at := time.Now()
	list, complete, err := nodes[0].relay.List(ctx, "lobby", 200_000)
	if err != nil || !complete || len(list) != 2*each+1 { // "first" is there twice
		b.Fatal(len(list), complete, err)
	}
	b.ReportMetric(float64(time.Since(at).Milliseconds()), "list-ms")
	at = time.Now()
	if _, complete, err := nodes[0].relay.List(ctx, "lobby", 10_000); err != nil || complete {
		b.Fatal(complete, err)
	}
	b.ReportMetric(float64(time.Since(at).Microseconds()), "refusal-µs")
	last := time.Now()
	_ = nodes[0].relay.scan(ctx, present(nodes[0].relay.keys.state("lobby"), nodes[0].relay.boot), func(map[string]string) error {
		pages = append(pages, time.Since(last))
		last = time.Now()
		return nil
	})
	slices.Sort(pages)
	b.ReportMetric(float64(pages[len(pages)/2].Microseconds()), "page-p50-µs")

	at = time.Now()
	for i, n := range nodes {
		for _, c := range clients[i] {
			for n.relay.presence.full() {
				time.Sleep(time.Millisecond)
			}
			n.relay.Leave("lobby", c.ID)
		}
	}
	wait(b, nodes)
	b.ReportMetric(2*each/time.Since(at).Seconds(), "leaves/s")
}

// full reports whether so much waits that a room would soon be written anew.
func (p *presence) full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pending > maxChanges/2
}

// wait waits until everything is written.
func wait(b *testing.B, nodes []*node) {
	for _, n := range nodes {
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			n.relay.presence.mu.Lock()
			idle := n.relay.presence.idle()
			n.relay.presence.mu.Unlock()
			if idle {
				break
			}
			if time.Now().After(end) {
				b.Fatal("not written within a minute")
			}
		}
	}
}

// memory is what Redis uses, in bytes.
func memory(redis *backends.RedisServer) int {
	n, _ := strconv.Atoi(field(strings.ReplaceAll(redis.Do("INFO", "memory"), "\n", "\r\n"), "used_memory_dataset"))
	return n
}
