package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// self is a node that notes what it is told.
type self struct {
	name string

	mu      sync.Mutex
	orders  []string
	contact []bool
	block   chan struct{} // orders wait for it, if it is there
}

func (s *self) Record() (string, json.RawMessage) {
	return s.name, json.RawMessage(fmt.Sprintf(`{"of":%q}`, s.name))
}

func (s *self) Apply(order []byte) {
	s.mu.Lock()
	block := s.block
	s.mu.Unlock()
	if block != nil {
		<-block
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orders = append(s.orders, string(order))
}

func (s *self) Contact(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.contact = append(s.contact, is)
}

func (s *self) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.orders, " ")
}

func (s *self) contacts() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.contact)
}

// named starts a node with a self.
func (w *world) named(name string) (*node, *self) {
	w.t.Helper()
	s := &self{name: name}
	n := w.node()
	n.relay.Serve(s)
	return n, s
}

// crash ends a node so that nobody hears of it: what it has in Redis stays.
func (n *node) crash() {
	g := &n.relay.registry
	g.telling.Lock()
	g.ended = true // it takes no leave
	g.telling.Unlock()
	n.relay.client.Close()
	n.close()
}

func names(r *Relay) string {
	var list []string
	for _, p := range r.Peers() {
		list = append(list, p.Name+string(p.Record))
	}
	return strings.Join(list, " ")
}

func (w *world) order(n *node, text string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return n.relay.Order(ctx, []byte(text))
}

// Every node knows all that live; one that stops is gone at once, one that
// dies when its lease is over.
func TestNodesKnowEachOther(t *testing.T) {
	w := newWorld(t, "redis://"+backends.Redis(t).Addr)
	a, _ := w.named("a")
	b, _ := w.named("b")
	c, _ := w.named("c")
	for _, n := range []*node{a, b, c} {
		w.eventually("all are known", func() bool { return names(n.relay) == `a{"of":"a"} b{"of":"b"} c{"of":"c"}` })
	}
	b.close()
	if s, err := a.relay.nodes(context.Background(), "", nil); err != nil || len(s.records) != 2 {
		t.Errorf("when a node has stopped, Redis knows %v, %v", s.records, err)
	}
	w.eventually("who has stopped is gone", func() bool { return names(a.relay) == `a{"of":"a"} c{"of":"c"}` })
	c.crash()
	w.eventually("who has died is gone", func() bool { return names(a.relay) == `a{"of":"a"}` })
}

// An order comes to every node, once, and whoever gave it knows.
func TestOrders(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a, sa := w.named("a")
	b, sb := w.named("b")
	w.eventually("they know each other", func() bool { return len(a.relay.Peers()) == 2 && len(b.relay.Peers()) == 2 })
	for i := range 5 {
		if err := w.order([]*node{a, b}[i%2], fmt.Sprint(i), waits); err != nil {
			t.Fatal(err)
		}
		want := "0 1 2 3 4"[:2*i+1]
		if sa.said() != want || sb.said() != want {
			t.Fatalf("when the order was answered, the nodes had done %q and %q", sa.said(), sb.said())
		}
	}

	// One that is late is named.
	block := make(chan struct{})
	sb.mu.Lock()
	sb.block = block
	sb.mu.Unlock()
	var late NotApplied
	if err := w.order(a, "5", 2*time.Second); !errors.As(err, &late) || !slices.Equal(late.Nodes, []string{"b"}) {
		t.Errorf("an order that b has yet to carry out: %v", err)
	}
	close(block)
	w.eventually("b has caught up", func() bool { return sb.said() == "0 1 2 3 4 5" })

	// Redis loses everything: orders go on, and the old ones do not come back.
	redis.Do("FLUSHALL")
	if err := w.order(b, "6", waits); err != nil {
		t.Fatal(err)
	}
	if sa.said() != "0 1 2 3 4 5 6" || sb.said() != "0 1 2 3 4 5 6" {
		t.Errorf("after FLUSHALL the nodes had done %q and %q", sa.said(), sb.said())
	}

	// A node that starts does not do what was ordered before.
	time.Sleep(1100 * time.Millisecond) // it takes the clocks for that far apart at most
	c, sc := w.named("c")
	w.eventually("c is known", func() bool { return len(a.relay.Peers()) == 3 })
	if err := w.order(a, "7", waits); err != nil {
		t.Fatal(err)
	}
	if sc.said() != "7" {
		t.Errorf("a new node has done %q", sc.said())
	}

	// One that is not heard of may have clients until it is isolated.
	c.crash()
	w.eventually("c is dead", func() bool { return len(a.relay.Peers()) == 2 })
	if err := w.order(a, "8", 2*time.Second); !errors.As(err, &late) || !slices.Equal(late.Nodes, []string{"c"}) {
		t.Errorf("an order when c was not heard of: %v", err)
	}
}

// The stream goes back, as with a replica that lags behind: what is new is
// done, what was done is not.
func TestOrdersAfterALoss(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a, sa := w.named("a")
	for _, order := range []string{"0", "1"} {
		if err := w.order(a, order, waits); err != nil {
			t.Fatal(err)
		}
	}
	entries := strings.Split(redis.Do("XRANGE", "test:orders", "-", "+"), "\n")
	redis.Do("DEL", "test:orders")
	// The first is there again, and one comes whose id lies before the second's.
	redis.Do("XADD", "test:orders", entries[0], entries[1], entries[2], entries[3], entries[4])
	ms, _, _ := strings.Cut(entries[0], "-")
	redis.Do("XADD", "test:orders", ms+"-7", "n", "another", "o", "2")
	w.eventually("the new order is done", func() bool { return sa.said() == "0 1 2" })
}

// Redis comes back: orders that were given meanwhile are done, or said not to
// be.
func TestOrdersWithoutRedis(t *testing.T) {
	redis := backends.OwnRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	w := newWorld(t, "redis://"+redis.Addr)
	a, sa := w.named("a")
	if err := w.order(a, "0", waits); err != nil {
		t.Fatal(err)
	}
	redis.Kill9()
	if err := w.order(a, "1", 500*time.Millisecond); !errors.Is(err, ErrUnavailable) {
		t.Errorf("an order without Redis: %v", err)
	}
	given := make(chan error, 1)
	go func() { given <- w.order(a, "2", waits) }()
	redis.Start()
	if err := <-given; err != nil {
		t.Errorf("an order while Redis comes back: %v", err)
	}
	if !strings.HasSuffix(sa.said(), "2") {
		t.Errorf("done: %q", sa.said())
	}
}

// A node without Redis is told, however Redis goes away, and told when it is
// back.
func TestIsolation(t *testing.T) {
	for _, how := range []string{"stopped", "killed"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			redis := backends.OwnRedis(t)
			w := newWorld(t, "redis://"+redis.Addr)
			w.cfg.Isolation = time.Second
			n, s := w.named("a")
			w.eventually("it is connected", n.relay.Connected)
			if how == "killed" {
				redis.Kill9()
			} else {
				redis.Pause()
			}
			w.eventually("the node is told", func() bool { return s.contacts() == "[false]" })
			if how == "killed" {
				redis.Start()
			} else {
				redis.Continue()
			}
			w.eventually("it is told again", func() bool { return s.contacts() == "[false true]" })
			w.eventually("orders go through", func() bool { return w.order(n, "0", time.Second) == nil })
		})
	}
}

// On a Redis Cluster, whose rooms, nodes and orders are on different servers:
// one of them dies, its replica takes over without the last it was told, and
// all is as it should be.
func TestClusterPresenceAndOrders(t *testing.T) {
	c := backends.RedisCluster(t, 3, 3)
	w := newWorld(t, urlOf(c.Addrs()))
	a, _ := w.named("a")
	b, sb := w.named("b")
	const rooms = 24
	for i := range rooms {
		a.enter(fmt.Sprint("room", i), people("a", 5)...)
		b.enter(fmt.Sprint("room", i), people("b", 5)...)
	}
	all := func(when string) {
		t.Helper()
		for i := range rooms {
			w.eventually(fmt.Sprint("all are in room", i, " ", when), func() bool {
				room := fmt.Sprint("room", i)
				return a.counts(room) == "10 5" && b.counts(room) == "10 5" && strings.Count(a.who(room), "=") == 10
			})
		}
	}
	all("at first")
	if err := w.order(a, "0", waits); err != nil {
		t.Error(err)
	}
	c.Replicas[1].Pause()
	for i := range rooms {
		a.enter(fmt.Sprint("room", i), people("late", 1)...)
	}
	for i := range rooms {
		w.eventually("the late have come", func() bool { return a.counts(fmt.Sprint("room", i)) == "11 5" })
	}
	c.Primaries[1].Kill9()
	c.Replicas[1].Continue()
	for i := range rooms {
		w.eventually("the late are there again", func() bool { return b.counts(fmt.Sprint("room", i)) == "11 5" })
	}
	w.eventually("orders go through", func() bool { return w.order(a, "1", time.Second) == nil })
	if !strings.HasSuffix(sb.said(), "1") || !strings.HasPrefix(sb.said(), "0") {
		t.Errorf("orders done: %q", sb.said())
	}
}

// What nodes tell of themselves, and the orders, are of another type: nobody is
// cut off, and orders come.
func TestClusterKeysOfAnotherType(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a, sa := w.named("a")
	b, sb := w.named("b")
	w.eventually("they know each other", func() bool { return len(a.relay.Peers()) == 2 && len(b.relay.Peers()) == 2 })
	for i, key := range []string{a.relay.keys.nodes(), a.relay.keys.orders()} {
		redis.Do("DEL", key)
		redis.Do("SET", key, "another's")
		if err := w.order(a, fmt.Sprint("order", i), waits); err != nil {
			t.Fatalf("with another's %s: %v", key, err)
		}
	}
	for _, s := range []*self{sa, sb} {
		if s.said() != "order0 order1" {
			t.Errorf("a node has done %q", s.said())
		}
		if strings.Contains(s.contacts(), "false") {
			t.Error("a node took itself for cut off")
		}
	}
}
