package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/internal/leaks"
	"github.com/hubbub-chat/hubbub/schema"
)

func TestMain(m *testing.M) {
	// rueidis closes what a cluster has lost after five seconds of grace.
	leaks.Main(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"))
}

// world is several nodes on one real Redis, with a log and a store in memory
// that they share: what is produced is in the store at once, unless the test
// holds it back.
type world struct {
	t    testing.TB
	url  string
	ca   string // file of what signs its certificate, for rediss://
	cfg  Config
	mu   sync.Mutex
	rows map[string]map[uint64]*schema.Message // the store
	held []func()                              // what was produced and is held back
	hold bool
	heal []string
	down bool // the store does not answer
	asks int  // questions to the store

	hung    chan struct{} // while not nil, reads after an offset wait until it is closed
	hanging int           // how many do

	quiet bool // nodes do not log
}

func newWorld(t testing.TB, url string) *world {
	w := &world{t: t, url: url, rows: make(map[string]map[uint64]*schema.Message)}
	w.cfg = Config{Sweep: 200 * time.Millisecond, Lease: 2 * time.Second}
	w.cfg.Patience = 30 * time.Second // the machine may be slow: nothing is refused for that
	return w
}

// Log.
func (w *world) Reserve(*schema.Message) error { return nil }
func (w *world) Release(*schema.Message)       {}
func (w *world) Heal(room, epoch string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heal = append(w.heal, epoch)
}

func (w *world) Produce(m *schema.Message, done func(error)) {
	w.mu.Lock()
	store := func() {
		w.mu.Lock()
		if w.rows[m.Room] == nil {
			w.rows[m.Room] = make(map[uint64]*schema.Message)
		}
		if before := w.rows[m.Room][m.Offset]; before != nil && string(before.Data) != string(m.Data) {
			w.t.Errorf("%s got offset %d, which %s has", m.Data, m.Offset, before.Data)
		}
		w.rows[m.Room][m.Offset] = m
		w.mu.Unlock()
		done(nil)
	}
	if w.hold {
		w.held = append(w.held, store)
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	store()
}

// stored returns the store's rows of a room, oldest first.
func (w *world) stored(room string) (list []*schema.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.rows[room] {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b *schema.Message) int { return int(int64(a.Offset) - int64(b.Offset)) })
	return list
}

// hasAll reports whether a room's rows have these offsets.
func (w *world) hasAll(room string, offsets []uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range offsets {
		if w.rows[room][o] == nil {
			return false
		}
	}
	return true
}

var errStoreDown = errors.New("the store is down")

func (w *world) ask() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asks++
	if w.down {
		return errStoreDown
	}
	return nil
}

// Store.
func (w *world) Last(_ context.Context, room string) (uint64, error) {
	list := w.stored(room)
	if len(list) == 0 {
		return 0, w.ask()
	}
	return list[len(list)-1].Offset, w.ask()
}

func (w *world) After(_ context.Context, room string, after, upTo uint64, limit, _ int) (page []*schema.Message, err error) {
	w.mu.Lock()
	hung := w.hung
	if hung != nil {
		w.hanging++
	}
	w.mu.Unlock()
	if hung != nil {
		<-hung
	}
	for _, m := range w.stored(room) {
		if m.Offset > after && m.Offset <= upTo && len(page) < limit {
			page = append(page, m)
		}
	}
	return page, w.ask()
}

func (w *world) Before(_ context.Context, room string, before uint64, limit, _ int) (page []*schema.Message, err error) {
	list := w.stored(room)
	slices.Reverse(list)
	for _, m := range list {
		if (before == 0 || m.Offset < before) && len(page) < limit {
			page = append(page, m)
		}
	}
	return page, w.ask()
}

func (w *world) Count(_ context.Context, room string, after, upTo uint64, max int) (n int, err error) {
	for _, m := range w.stored(room) {
		if m.Offset > after && m.Offset <= upTo && n < max {
			n++
		}
	}
	return n, w.ask()
}

// node is a hub with one loop and its relay.
type node struct {
	w     *world
	relay *Relay
	hub   *fanout.Hub
	loop  *testLoop
	close func()
	dead  chan struct{} // closed when the test has killed it; nil
}

func (w *world) node() *node { w.t.Helper(); return w.nodeWith(w) }

// nodeWith starts a node with another log.
func (w *world) nodeWith(log Log) *node {
	w.t.Helper()
	client, err := Open(context.Background(), ClientConfig{URL: w.url, CA: w.ca, Prefix: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := w.cfg
	cfg.Client, cfg.Log, cfg.Store = client, log, w
	if !w.quiet && cfg.Logger == nil {
		cfg.Logger = zaptest.NewLogger(w.t, zaptest.Level(zap.WarnLevel))
	}
	n := &node{w: w, relay: New(cfg), loop: newTestLoop()}
	n.hub = fanout.NewHub(fanout.Config{}, n.relay.Source(), []fanout.Loop{n.loop})
	n.loop.turn = n.hub.Shard(0).Turn
	n.relay.Start(n.hub)
	n.close = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		n.relay.Drain(ctx)
		n.relay.Close()
		client.Close()
		n.loop.stop()
	})
	w.t.Cleanup(n.close)
	return n
}

// testLoop is an event loop without events.
type testLoop struct {
	turn  func() bool
	posts chan func()
	wakes chan struct{}
	ended chan struct{}
}

func newTestLoop() *testLoop {
	l := &testLoop{posts: make(chan func(), 1024), wakes: make(chan struct{}, 1), ended: make(chan struct{})}
	go l.run() // ends with stop
	return l
}

func (l *testLoop) run() {
	defer close(l.ended)
	for {
		select {
		case f, ok := <-l.posts:
			if !ok {
				return
			}
			f()
		case <-l.wakes:
		}
		for l.turn != nil && l.turn() {
		}
	}
}

func (l *testLoop) stop()         { close(l.posts); <-l.ended }
func (l *testLoop) Post(f func()) { l.posts <- f }

func (l *testLoop) Wake() {
	select {
	case l.wakes <- struct{}{}:
	default:
	}
}

// listener is a member that keeps what it gets, and comes back when it is told
// to.
type listener struct {
	n    *node
	room string

	mu      sync.Mutex
	member  *fanout.Member
	start   uint64
	epoch   string
	pubs    []*protocol.Publication
	joins   []int // where in pubs it came back
	events  []string
	resets  int
	problem error
}

func (n *node) listen(room string) *listener {
	n.w.t.Helper()
	l := &listener{n: n, room: room}
	if err := l.join(); err != nil {
		n.w.t.Fatal(err)
	}
	return l
}

func (l *listener) join() error {
	opened := make(chan error, 1)
	l.n.hub.Open(l.room, func(r *fanout.Room, err error) {
		if err != nil {
			opened <- err
			return
		}
		l.n.loop.Post(func() {
			m := new(fanout.Member)
			position, ok := l.n.hub.Shard(0).Join(r, fanout.FormOf(schema.JSON, false), m, l)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.member, l.start, l.epoch = m, position, m.Epoch()
			l.joins = append(l.joins, len(l.pubs))
			if !ok {
				opened <- errors.New("the room is gone")
				return
			}
			opened <- nil
		})
	})
	select {
	case err := <-opened:
		return err
	case <-time.After(waits):
		return fmt.Errorf("the room was not opened within %v", waits)
	}
}

func (l *listener) Send(frames []byte) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := frames; len(rest) > 0; {
		h, err := ws.ReadHeader(strings.NewReader(string(rest)))
		if err != nil {
			l.problem = err
			return len(frames)
		}
		end := ws.HeaderSize(h) + int(h.Length)
		l.take(string(rest[ws.HeaderSize(h):end]))
		rest = rest[end:]
	}
	return len(frames)
}

func (l *listener) take(frame string) {
	for line := range strings.SplitSeq(frame, "\n") {
		reply, err := protocol.NewJSONReplyDecoder([]byte(line)).Decode()
		switch {
		case reply == nil || reply.Push == nil:
			l.problem = fmt.Errorf("a frame with %q: %v", line, err)
		case reply.Push.Pub != nil && reply.Push.Pub.Offset > 0:
			l.pubs = append(l.pubs, reply.Push.Pub)
		default:
			l.events = append(l.events, line)
		}
	}
}

func (l *listener) Blocked() bool        { return false }
func (l *listener) TooSlow(*fanout.Room) { panic("too slow") }
func (l *listener) Reset(*fanout.Member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.resets++
	l.member = nil
}

// data is what the listener got, in order.
func (l *listener) data() (list []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pubs {
		list = append(list, string(p.Data))
	}
	return list
}

// publish sends a message and waits until it is durable.
func (n *node) publish(m *schema.Message) error {
	done := make(chan error, 1)
	if err := n.relay.Publish(m, func(err error) { done <- err }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-n.dead:
		return errors.New("the node is dead")
	case <-time.After(waits):
		return fmt.Errorf("no answer within %v", waits)
	}
}

func message(room, data string) *schema.Message {
	return &schema.Message{Room: room, User: "alice", Client: "c1", Data: []byte(data)}
}

// waits is how long a test waits for what comes in time: it is long, as the
// machine may be slow.
const waits = time.Minute

// eventually waits until a condition holds, and else says where members stand.
func (w *world) eventually(what string, ok func() bool, members ...*listener) {
	w.t.Helper()
	for end := time.Now().Add(waits); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	for _, l := range members {
		l.describe()
	}
	w.t.Fatalf("after %v not so: %s", waits, what)
}

// checkLinks fails the test when a room's rows do not form one chain.
func (w *world) checkLinks(room string) {
	w.t.Helper()
	prev := uint64(0)
	for i, m := range w.stored(room) {
		if m.Prev != prev {
			w.t.Errorf("row %d of %s has prev %d, the row before is %d", i, room, m.Prev, prev)
		}
		prev = m.Offset
	}
}

// offsets are those of all that the listener got.
func (l *listener) offsets() (list []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pubs {
		list = append(list, p.Offset)
	}
	return list
}

// position is the last offset that the member knows of.
func (l *listener) position() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.pubs); n > 0 {
		return max(l.start, l.pubs[n-1].Offset)
	}
	return l.start
}

// stretches are the offsets seen, cut where the member came back. Called with
// mu held.
func (l *listener) stretches() (list [][]uint64) {
	for i, from := range l.joins {
		to := len(l.pubs)
		if i+1 < len(l.joins) {
			to = l.joins[i+1]
		}
		var s []uint64
		for _, p := range l.pubs[from:to] {
			s = append(s, p.Offset)
		}
		list = append(list, s)
	}
	return list
}
