package redis

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
)

// TestChaos lets three nodes publish while Redis is killed, with and without
// its data, emptied, damaged and stopped, and while nodes die with messages that were
// seen and not stored. Whatever happens, what was acknowledged is stored once,
// no offset is given twice, and a member sees a chain without a gap until it is
// told to load anew. CHAOS_SEED repeats a run's faults, CHAOS_SECONDS makes it
// longer.
func TestChaos(t *testing.T) {
	seed, seconds := uint64(time.Now().UnixNano()), 6
	if s, err := strconv.ParseUint(os.Getenv("CHAOS_SEED"), 10, 64); err == nil {
		seed = s
	}
	if s, err := strconv.Atoi(os.Getenv("CHAOS_SECONDS")); err == nil {
		seconds = s
	}
	t.Logf("CHAOS_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	durable := random.IntN(2) == 0
	args := []string{"--appendonly", "no"}
	if durable {
		args = []string{"--appendonly", "yes", "--appendfsync", "always"}
	}
	redis := backends.OwnRedis(t, args...)
	w := newWorld(t, "redis://"+redis.Addr)
	w.cfg.Patience = 0 // the default
	if random.IntN(2) == 0 {
		w.cfg.Keep, w.cfg.KeepTime = 10, 5*time.Second // streams are trimmed, every ten seconds
	}
	w.quiet = true // warnings would be all of the output
	c := &chaos{w: w, acked: make(map[string]place)}
	for range 3 {
		c.add()
	}
	ctx, stop := context.WithCancel(t.Context())
	for p := range 6 {
		c.wg.Go(func() { c.publish(ctx, p) })
	}
	coming, stay := context.WithCancel(t.Context())
	came := make(chan struct{})
	go func() { defer close(came); c.comeBack(coming) }()
	for end := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(end); {
		time.Sleep(time.Duration(200+random.IntN(600)) * time.Millisecond)
		switch fault := random.IntN(6); fault {
		case 0:
			t.Log("Redis is killed")
			redis.Kill9()
			time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
			redis.Start()
		case 1:
			t.Log("Redis is emptied")
			redis.Do("FLUSHALL")
		case 2:
			t.Log("Redis is stopped")
			redis.Pause()
			time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
			redis.Continue()
		case 3:
			t.Log("a room's state is damaged")
			damages := []string{"last 9", "last x", "epoch x", "epoch " + testEpoch}
			field, value, _ := strings.Cut(damages[random.IntN(len(damages))], " ")
			redis.Do("HSET", fmt.Sprintf("test:{room%d}", random.IntN(chaosRooms)), field, value)
		default:
			t.Log("a node dies")
			c.crash()
			c.add()
		}
	}
	c.settle()
	stop()
	c.wg.Wait()
	c.rest()
	stay()
	<-came
	c.check()
}

const chaosRooms = 3

// chaos is the nodes of the moment and what their clients were told.
type chaos struct {
	w  *world
	wg sync.WaitGroup

	mu        sync.Mutex
	nodes     []*node
	listeners []*listener
	acked     map[string]place // by data
}

type place struct {
	room   string
	offset uint64
}

// mortalLog stores after a while, unless its node has died by then.
type mortalLog struct {
	*world
	dead    chan struct{}
	relay   *Relay // of the node
	healers sync.WaitGroup

	mu      sync.Mutex
	pending map[chan struct{}]struct{} // closed when what was produced is stored
}

func (l *mortalLog) Produce(m *schema.Message, done func(error)) {
	stored := make(chan struct{})
	l.mu.Lock()
	l.pending[stored] = struct{}{}
	l.mu.Unlock()
	time.AfterFunc(rand.N(40*time.Millisecond), func() {
		select {
		case <-l.dead:
			return
		default:
		}
		l.world.Produce(m, done)
		l.mu.Lock()
		delete(l.pending, stored)
		l.mu.Unlock()
		close(stored)
	})
}

// Heal does what a writer does at a heal record.
func (l *mortalLog) Heal(room, epoch string) {
	l.mu.Lock()
	before := maps.Clone(l.pending)
	l.mu.Unlock()
	l.healers.Go(func() { // ends with the node at the latest
		for stored := range before {
			select {
			case <-stored:
			case <-l.dead:
				return
			}
		}
		for l.relay.ctx.Err() == nil && l.relay.Healed(l.relay.ctx, room, epoch) != nil {
			time.Sleep(20 * time.Millisecond)
		}
	})
}

// add starts a node with a member in every room.
func (c *chaos) add() {
	log := &mortalLog{world: c.w, dead: make(chan struct{}), pending: make(map[chan struct{}]struct{})}
	c.w.t.Cleanup(log.healers.Wait) // after the node's end
	n := c.w.nodeWith(log)
	n.dead, log.relay = log.dead, n.relay
	var listeners []*listener
	for r := range chaosRooms {
		l := &listener{n: n, room: fmt.Sprint("room", r)}
		_ = l.join() // Redis may be away: comeBack tries again
		listeners = append(listeners, l)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes, c.listeners = append(c.nodes, n), append(c.listeners, listeners...)
}

// crash ends the oldest node: nothing that it has minted is stored from now on.
func (c *chaos) crash() {
	c.mu.Lock()
	n := c.nodes[0]
	c.nodes = c.nodes[1:]
	c.listeners = slices.DeleteFunc(c.listeners, func(l *listener) bool { return l.n == n })
	c.mu.Unlock()
	close(n.dead)
	c.wg.Go(n.close)
}

func (c *chaos) publish(ctx context.Context, p int) {
	for i := 0; ctx.Err() == nil; i++ {
		c.mu.Lock()
		n := c.nodes[rand.IntN(len(c.nodes))]
		c.mu.Unlock()
		m := message(fmt.Sprint("room", (p+i)%chaosRooms), fmt.Sprintf(`"%d-%d"`, p, i))
		if n.publish(m) == nil {
			c.mu.Lock()
			c.acked[string(m.Data)] = place{m.Room, m.Offset}
			c.mu.Unlock()
		}
		time.Sleep(rand.N(5 * time.Millisecond))
	}
}

// comeBack has members that were told to come back do so.
func (c *chaos) comeBack(ctx context.Context) {
	for ctx.Err() == nil {
		c.mu.Lock()
		listeners := slices.Clone(c.listeners)
		c.mu.Unlock()
		for _, l := range listeners {
			l.again()
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// settle waits until the faults are over for everybody.
func (c *chaos) settle() {
	for r := range chaosRooms {
		room := fmt.Sprint("room", r)
		c.w.eventually("publishing works again", func() bool {
			return c.nodes[0].publish(message(room, fmt.Sprintf(`"end %d"`, rand.Uint64()))) == nil
		})
	}
	time.Sleep(3 * c.w.cfg.Sweep)
}

// rest waits, once nobody publishes any more, for what comes in time: what
// members saw of nodes that died is produced by others when the leases have
// ended, and members are told when a history is complete.
func (c *chaos) rest() {
	for end := time.Now().Add(waits); slices.ContainsFunc(c.listeners, c.restless) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
}

// restless reports whether a member saw something that is not stored, or knows
// of another epoch than Redis.
func (c *chaos) restless(l *listener) bool {
	s, err := l.n.relay.standing(l.room, "", 0)
	l.mu.Lock()
	epoch, in := l.epoch, l.member != nil
	l.mu.Unlock()
	return err != nil || !in || s.epoch != epoch || !c.w.hasAll(l.room, l.offsets())
}

// check is the promise.
func (c *chaos) check() {
	t := c.w.t
	if len(c.acked) < 100 {
		t.Errorf("only %d messages were acknowledged", len(c.acked))
	}
	rows := make(map[string][]*schema.Message)
	for r := range chaosRooms {
		room := fmt.Sprint("room", r)
		behind := func(l *listener) bool {
			rows[room] = c.w.stored(room)
			return l.room == room && l.position() < rows[room][len(rows[room])-1].Offset
		}
		for end := time.Now().Add(waits); slices.ContainsFunc(c.listeners, behind); time.Sleep(10 * time.Millisecond) {
			if time.Now().Before(end) {
				continue
			}
			for _, l := range c.listeners {
				if behind(l) {
					l.describe()
				}
			}
			t.FailNow()
		}
		seen := make(map[string]bool)
		for _, m := range rows[room] {
			if seen[string(m.Data)] {
				t.Errorf("%s is stored twice", m.Data)
			}
			seen[string(m.Data)] = true
		}
	}
	for data, at := range c.acked {
		if m := c.w.rows[at.room][at.offset]; m == nil || string(m.Data) != data {
			t.Errorf("%s was acknowledged at %d, where the store has %v", data, at.offset, m)
		}
	}
	for _, l := range c.listeners {
		l.check(c.w, rows[l.room])
		// What members saw is stored, whoever sent it, if a node that heard it lives.
		for _, p := range l.pubs {
			if m := c.w.rows[l.room][p.Offset]; m == nil {
				t.Errorf("a member of %s saw %s at %d, which is not stored", l.room, p.Data, p.Offset)
			}
		}
	}
}

// check compares what a member saw with the store: since it last came back,
// everything; before, a chain in each stretch.
func (l *listener) check(w *world, rows []*schema.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.problem != nil {
		w.t.Error(l.problem)
	}
	var last []uint64 // the last stretch
	for _, s := range l.stretches() {
		last = s
		for i := 1; i < len(s); i++ {
			if m := w.rows[l.room][s[i]]; m != nil && m.Prev != s[i-1] {
				w.t.Errorf("a member of %s saw %d after %d; its prev is %d", l.room, s[i], s[i-1], m.Prev)
			}
		}
	}
	var want []uint64
	for _, m := range rows {
		if m.Offset > l.start {
			want = append(want, m.Offset)
		}
	}
	if !slices.Equal(last, want) && len(last)+len(want) > 0 {
		w.t.Errorf("a member of %s saw %d messages since it came back at %d, the store has %d", l.room, len(last), l.start, len(want))
		for _, m := range rows {
			if m.Offset > l.start {
				w.t.Logf("  %d after %d: %s, seen: %v", m.Offset, m.Prev, m.Data, slices.Contains(last, m.Offset))
			}
		}
	}
}

// describe says where a member that does not get on stands.
func (l *listener) describe() {
	r, t := l.n.relay, l.n.w.t
	rows := l.n.w.stored(l.room)
	t.Errorf("a member of %s is at %d, the store at %d after %d", l.room, l.position(), rows[len(rows)-1].Offset, rows[len(rows)-1].Prev)
	s, err := r.standing(l.room, "", 0)
	t.Logf("  in: %v; Redis: %q at %d, marks %v, %v; feeds up: %v", l.member != nil, s.epoch, s.last, s.marks, err, r.feeds.connected())
	k := r.feeds.byChannel(r.keys.state(l.room))
	if k == nil {
		t.Log("  nobody listens to the room")
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	epoch, last := k.room.End()
	t.Logf("  the room is in %q at %d; opening %v, gap %v, queued %v, syncing %v, waiting %d", epoch, last, k.done != nil, k.gap, k.queued, k.syncing, len(k.waiting))
}
