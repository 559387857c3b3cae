package redis

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
)

// attendee is a member that others may know of, and that gets nothing. Like a
// client, it comes back to a room that was reset.
type attendee struct {
	node   *node
	room   string
	client fanout.Client
	member fanout.Member
	gone   bool
}

func (a *attendee) Client() fanout.Client { return a.client }
func (a *attendee) Send(b []byte) int     { return len(b) }
func (a *attendee) Blocked() bool         { return false }
func (a *attendee) TooSlow(*fanout.Room)  { panic("too slow") }

func (a *attendee) Reset(*fanout.Member) {
	a.member.Leave()
	a.node.relay.Leave(a.room, a.client.ID)
	a.open(func() {})
}

// open makes it a member, some time.
func (a *attendee) open(done func()) {
	a.node.hub.Open(a.room, func(r *fanout.Room, err error) {
		if err != nil {
			a.node.w.t.Error(err)
			done()
			return
		}
		a.node.loop.Post(func() {
			if a.gone {
				done()
			} else if _, ok := a.node.hub.Shard(0).Join(r, fanout.FormOf(schema.JSON, false), &a.member, a); !ok {
				a.open(done)
			} else {
				a.node.relay.Join(a.room, a.client)
				done()
			}
		})
	})
}

// enter makes clients members of a room, and says so as sessions do.
func (n *node) enter(room string, clients ...fanout.Client) (list []*attendee) {
	var wg sync.WaitGroup
	for _, c := range clients {
		a := &attendee{node: n, room: room, client: c}
		list = append(list, a)
		wg.Add(1)
		a.open(wg.Done)
	}
	wg.Wait()
	return list
}

// leave takes them out again.
func (n *node) leave(room string, list ...*attendee) {
	n.on(func() {
		for _, a := range list {
			a.gone = true
			a.member.Leave()
			n.relay.Leave(room, a.client.ID)
		}
	})
}

// on runs f on the node's loop.
func (n *node) on(f func()) {
	done := make(chan struct{})
	n.loop.Post(func() { f(); close(done) })
	<-done
}

func people(prefix string, n int) (list []fanout.Client) {
	for i := range n {
		list = append(list, fanout.Client{ID: fmt.Sprint(prefix, i), User: fmt.Sprint("user", i%7), Info: []byte(`{"n":1}`)})
	}
	return list
}

// who lists who is in a room, as a node says.
func (n *node) who(room string) string {
	n.w.t.Helper()
	list, complete, err := n.relay.List(context.Background(), room, 100_000)
	if err != nil || !complete {
		return fmt.Sprint(complete, err)
	}
	slices.SortFunc(list, func(a, b fanout.Client) int { return cmp.Compare(a.ID, b.ID) })
	var b strings.Builder
	for _, c := range list {
		fmt.Fprintf(&b, "%s=%s%s ", c.ID, c.User, c.Info)
	}
	return strings.TrimSpace(b.String())
}

// counts is how many are there, as a node says.
func (n *node) counts(room string) string {
	clients, users, err := n.relay.Count(context.Background(), room)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(clients, " ", users)
}

func TestPresence(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a, b, c := w.node(), w.node(), w.node()
	const room = "lobby {1}"
	if c.who(room) != "" || c.counts(room) != "0 0" {
		t.Errorf("an empty room has %q, %s", c.who(room), c.counts(room))
	}
	alice := fanout.Client{ID: "a1", User: "alice", Info: []byte(`{"name":"Alice"}`)}
	onA := a.enter(room, alice, fanout.Client{ID: "a2"})
	if got := a.counts(room); got != "2 2" {
		t.Errorf("who has just come is not counted on the same node: %s", got)
	}
	onB := b.enter(room, fanout.Client{ID: "b1", User: "alice"}, fanout.Client{ID: "b2", User: "bob"})
	if got := b.counts(room); got != "4 3" {
		t.Errorf("counts are %s", got)
	}
	for _, n := range []*node{a, b, c} {
		if got, want := n.who(room), `a1=alice{"name":"Alice"} a2= b1=alice b2=bob`; got != want {
			t.Errorf("a node lists %s, want %s", got, want)
		}
	}
	if _, complete, err := c.relay.List(context.Background(), room, 3); complete || err != nil {
		t.Errorf("four are within a limit of 3, %v", err)
	}
	a.leave(room, onA[0])
	if got := a.counts(room); got != "3 3" { // alice is still there once
		t.Errorf("when one has left there are %s", got)
	}
	b.leave(room, onB[0])
	if got := b.counts(room); got != "2 2" {
		t.Errorf("when two have left there are %s", got)
	}
	// Who goes and comes at once is there; twice is once.
	b.leave(room, onB[1])
	onB = b.enter(room, fanout.Client{ID: "b2", User: "bob"})
	b.on(func() { b.relay.Join(room, onB[0].client) })
	if got := b.who(room); got != "a2= b2=bob" {
		t.Errorf("there are %s", got)
	}
	a.leave(room, onA[1])
	b.leave(room, onB...)
	w.eventually("all have gone", func() bool { return a.counts(room) == "0 0" && b.counts(room) == "0 0" })
	w.eventually("nothing is left", func() bool { return left(redis) == "" })
	for _, n := range []*node{a, b} {
		w.eventually("nor on a node", func() bool {
			n.relay.presence.mu.Lock()
			defer n.relay.presence.mu.Unlock()
			return len(n.relay.presence.rooms) == 0 && n.relay.presence.pending == 0
		})
	}
}

// left is the keys of presence that Redis has.
func left(redis *backends.RedisServer) string {
	var keys []string
	for key := range strings.SplitSeq(redis.Do("KEYS", "*"), "\n") {
		if strings.Contains(key, ":in:") || strings.HasSuffix(key, ":boots") || strings.HasSuffix(key, ":users") {
			keys = append(keys, key)
		}
	}
	return strings.Join(keys, " ")
}

// A node dies: those on it are not counted when its lease is over, and taken
// out of Redis, also where nobody asks.
func TestGhosts(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	w.cfg.Lease = 6 * time.Second // it is looked before that is over
	a, b := w.node(), w.node()
	a.enter("lobby", people("a", 10)...)
	b.enter("lobby", people("b", 1300)...) // more than one chunk
	b.enter("b's own", people("b", 3)...)
	if got := b.counts("lobby"); got != "1310 7" {
		t.Fatalf("there are %s", got)
	}
	w.eventually("both are counted", func() bool { return a.counts("lobby") == "1310 7" })
	b.counts("b's own")
	b.crash()
	if got := a.counts("lobby"); got != "1310 7" {
		t.Errorf("before the lease is over there are %s", got)
	}
	state := a.relay.keys.state("lobby")
	w.eventually("its clients are taken out", func() bool { return redis.Do("EXISTS", present(state, b.relay.boot)) == "0" })
	if got := redis.Do("HGETALL", users(state)); strings.Count(got, "\n") != 13 || strings.Contains(got, "\n18") {
		t.Errorf("the users are %q", got)
	}
	if got := a.counts("lobby"); got != "10 7" {
		t.Errorf("there are %s", got)
	}
	// Where nobody is, whoever asks finds it.
	if got := a.who("b's own"); got != "" {
		t.Errorf("a dead node's room has %s", got)
	}
	w.eventually("nothing is left of it", func() bool { return redis.Do("EXISTS", boots(a.relay.keys.state("b's own"))) == "0" })
}

// Redis loses what it had, in several ways: the nodes write it again.
func TestPresenceComesBack(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a, _ := w.named("a")
	b, _ := w.named("b")
	want := ""
	check := func(when string) {
		t.Helper()
		var got, counts string
		defer func() {
			if t.Failed() {
				t.Logf("%s: %s clients and users; %s, want %s", when, counts, got, want)
			}
		}()
		w.eventually("all are there "+when, func() bool {
			got, counts = a.who("lobby"), a.counts("lobby")
			return got == want && counts == "45 7"
		})
	}
	onA := a.enter("lobby", people("a", 20)...)
	b.enter("lobby", people("b", 25)...)
	w.eventually("all have come", func() bool { return b.counts("lobby") == "45 7" })
	want = a.who("lobby")
	check("at first")
	state := a.relay.keys.state("lobby")
	for _, lost := range [][]string{
		{"FLUSHALL"}, // found with the heartbeat
		{"DEL", present(state, a.relay.boot), boots(state), users(state)},
		{"HDEL", boots(state), a.relay.boot},
		{"HSET", boots(state), a.relay.boot, "999 7 0"},
	} {
		redis.Do(lost...)
		if lost[0] == "HDEL" { // or when it is time
			a.relay.presence.look()
		}
		check("after " + lost[0])
	}
	// Somebody takes a living node for dead.
	keys, args := a.relay.presence.keys("lobby", b.relay.boot), []string{b.relay.boot, "0", "1000", "1"}
	if left, err := (call{absentScript, keys, args}).run(context.Background(), a.relay.client).AsStrSlice(); err != nil || left[1] != "0" {
		t.Fatalf("a burial leaves %v, %v", left, err)
	}
	check("after a burial")
	redis.Kill9()
	a.leave("lobby", onA[0]) // which Redis hears of later
	redis.Start()
	w.eventually("Redis is back", a.relay.Connected)
	a.enter("other", people("o", 3)...)
	a.enter("lobby", onA[0].client)
	check("after a restart")
	if got := a.counts("other"); got != "3 3" {
		t.Errorf("another room has %s", got)
	}
	// What nobody has put there goes when the room is written anew.
	redis.Do("HSET", present(state, a.relay.boot), "nobody", "\x00\x00")
	redis.Do("HDEL", boots(state), a.relay.boot)
	a.relay.presence.look()
	check("after a forgery")
}

// More comes and goes than may wait: the room is written anew, and agrees.
func TestPresenceOverflow(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a := w.node()
	first := a.enter("lobby", people("a", 100)...)
	redis.Pause()
	const many = maxChanges + 10_000
	second := a.enter("lobby", people("b", many)...)
	a.leave("lobby", first[:50]...)
	p := a.relay.presence
	p.mu.Lock()
	if p.pending > maxChanges || !p.rooms["lobby"].anew {
		t.Errorf("%d changes wait, the room is to be written anew: %v", p.pending, p.rooms["lobby"].anew)
	}
	p.mu.Unlock()
	redis.Continue()
	w.eventually("all are counted", func() bool { return a.counts("lobby") == fmt.Sprint(many+50, " 7") })
	a.leave("lobby", second...)
	w.eventually("all but 50 have gone", func() bool { return a.counts("lobby") == "50 7" })
	if _, complete, err := a.relay.List(context.Background(), "lobby", 50); err != nil || !complete {
		t.Errorf("fifty cannot be listed: %v", err)
	}
}

// Clients come and go in many rooms while Redis loses everything and nodes
// come and go, and in the end Redis has who is there, and nobody else.
func TestPresenceAgrees(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	nodes := []*node{w.node(), w.node(), w.node()}
	const rooms = 8
	var mu sync.Mutex
	there := make(map[string]map[string]int) // room to client to node
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			for k := range 60 {
				room := fmt.Sprint("room", (k*7+i)%rooms)
				list := people(fmt.Sprint("n", i, "-", k, "-"), 40)
				in := n.enter(room, list...)
				n.leave(room, in[:30+k%10]...)
				mu.Lock()
				if there[room] == nil {
					there[room] = make(map[string]int)
				}
				for _, a := range in[30+k%10:] {
					there[room][a.client.ID] = i
				}
				mu.Unlock()
			}
		})
	}
	for range 3 {
		time.Sleep(100 * time.Millisecond)
		redis.Do("FLUSHALL")
	}
	wg.Wait()
	nodes[2].crash()
	for room, clients := range there {
		want := 0
		for _, i := range clients {
			if i < 2 {
				want++
			}
		}
		w.eventually(fmt.Sprint(room, " has who is there"), func() bool {
			return strings.HasPrefix(nodes[0].counts(room), fmt.Sprint(want, " ")) && strings.Count(nodes[1].who(room), "=") == want
		})
		list, _, err := nodes[0].relay.List(context.Background(), room, 100_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			if i, ok := clients[c.ID]; !ok || i == 2 {
				t.Errorf("%s is in %s and should not be", c.ID, room)
			}
		}
	}
}

// A key of who is in a room is of another type, or a field of another form:
// everybody is counted again.
func TestPresenceThatCannotBeRead(t *testing.T) {
	redis := backends.OwnRedis(t)
	w := newWorld(t, "redis://"+redis.Addr)
	a, b := w.node(), w.node()
	a.enter("lobby", people("a", 20)...)
	b.enter("lobby", append(people("b", 25), fanout.Client{ID: "guest"})...)
	const want = "46 8"
	w.eventually("all have come", func() bool { return b.counts("lobby") == want })
	all := a.who("lobby")
	state := a.relay.keys.state("lobby")
	for _, key := range []string{boots(state), users(state), present(state, a.relay.boot), present(state, b.relay.boot)} {
		redis.Do("DEL", key)
		redis.Do("SET", key, "another's")
		w.eventually("all are there again without "+key, func() bool {
			a.relay.presence.look()
			b.relay.presence.look()
			return a.counts("lobby") == want && b.who("lobby") == all
		})
	}
	for _, n := range []*node{a, b} {
		redis.Do("HSET", boots(state), n.relay.boot, "another's")
		w.eventually("all are there again", func() bool {
			n.relay.presence.look()
			return a.counts("lobby") == want && b.who("lobby") == all
		})
	}
}
