package fanout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/hubbub-chat/hubbub/internal/leaks"
	"github.com/hubbub-chat/hubbub/schema"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// world is a hub whose loops turn when the test says so, with a store and a
// log in memory.
type world struct {
	t      testing.TB
	hub    *Hub
	relay  *Local
	loops  []*testLoop
	stored map[string][]*schema.Message
	fail   error // of the next commit
	queue  []*schema.Message
	done   []func(error)
	reads  []func(context.Context)
}

type testLoop struct{ posts []func() }

func (l *testLoop) Wake()         {}
func (l *testLoop) Post(f func()) { l.posts = append(l.posts, f) }

func newWorld(t testing.TB, cfg Config, loops int) *world {
	w := &world{t: t, stored: make(map[string][]*schema.Message)}
	var ls []Loop
	for range loops {
		l := &testLoop{}
		w.loops = append(w.loops, l)
		ls = append(ls, l)
	}
	rooms := NewStored(w, w, "epoch")
	w.hub = NewHub(cfg, rooms, ls)
	w.relay = NewLocal(w.hub, rooms, w)
	return w
}

// Store, Reads and Log.
func (w *world) Last(_ context.Context, room string) (uint64, error) {
	if s := w.stored[room]; len(s) > 0 {
		return s[len(s)-1].Offset, nil
	}
	return 0, nil
}

func (w *world) Before(_ context.Context, room string, _ uint64, limit, _ int) ([]*schema.Message, error) {
	var list []*schema.Message
	for i := len(w.stored[room]) - 1; i >= 0 && len(list) < limit; i-- {
		list = append(list, w.stored[room][i])
	}
	return list, nil
}

func (w *world) Do(job func(context.Context)) bool { w.reads = append(w.reads, job); return true }

func (w *world) Submit(m *schema.Message, done func(error)) error {
	w.queue, w.done = append(w.queue, m), append(w.done, done)
	return nil
}

// commit is the log's goroutine.
func (w *world) commit() {
	batch, done := w.queue, w.done
	w.queue, w.done = nil, nil
	if err := w.relay.Mint(batch); err != nil {
		w.t.Fatal(err)
	}
	err := w.fail
	w.fail = nil
	if err == nil {
		for _, m := range batch {
			w.stored[m.Room] = append(w.stored[m.Room], m)
		}
	}
	w.relay.Committed(batch, err)
	for _, f := range done {
		f(err)
	}
}

func (w *world) turn(i int) bool {
	posts := w.loops[i].posts
	w.loops[i].posts = nil
	for _, f := range posts {
		f()
	}
	return w.hub.Shard(i).Turn()
}

// settle turns until nothing is left to do.
func (w *world) settle() {
	for again := true; again; {
		again = false
		for i := range w.loops {
			again = w.turn(i) || again || len(w.loops[i].posts) > 0
		}
	}
}

// checkCursors fails the test when a member's cursor does not point into its
// part's log.
func (w *world) checkCursors() {
	for _, r := range w.hub.rooms {
		for _, p := range r.parts {
			if p == nil {
				continue
			}
			for i, m := range p.members {
				if m.cursor < p.log.base || m.cursor > p.log.end() || int(m.index) != i {
					w.t.Fatalf("member %d of %d (index %d) stands at %d, the log is [%d, %d); at %d lowest %d began %d dirty %v paused %v blocked %v",
						i, len(p.members), m.index, m.cursor, p.log.base, p.log.end(), p.at, p.lowest, p.began, p.dirty, m.paused, m.peer.Blocked())
				}
			}
		}
	}
}

func (w *world) open(name string) *Room {
	var room *Room
	w.hub.Open(name, func(r *Room, err error) {
		if err != nil {
			w.t.Fatal(err)
		}
		room = r
	})
	for _, job := range w.reads {
		job(context.Background())
	}
	w.reads = nil
	if room == nil {
		w.t.Fatalf("room %s did not open", name)
	}
	return room
}

func (w *world) publish(room, data string) {
	if err := w.relay.Publish(&schema.Message{Room: room, Data: []byte(data)}, func(error) {}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) join(shard int, room *Room, peer Peer) (*Member, uint64) {
	m := new(Member)
	position, ok := w.hub.Shard(shard).Join(room, FormOf(schema.JSON, false), m, peer)
	if !ok {
		w.t.Fatalf("room %s is gone", room.Name())
	}
	return m, position
}

// fakePeer takes as much as its window allows.
type fakePeer struct {
	window  int // bytes it takes before it blocks; -1 for all
	blocked bool
	slow    bool
	got     []byte
	sends   int
	reset   int // times it was told that the room has another history
}

func (p *fakePeer) Send(b []byte) int {
	p.sends++
	n := 0
	for n < len(b) { // whole frames while the window lasts
		h, err := ws.ReadHeader(bytes.NewReader(b[n:]))
		if err != nil {
			panic(fmt.Sprintf("not at a frame: %v", err))
		}
		if p.window == 0 {
			p.blocked = true
			break
		}
		size := ws.HeaderSize(h) + int(h.Length)
		if p.window > 0 {
			p.window = max(0, p.window-size)
		}
		n += size
	}
	p.got = append(p.got, b[:n]...)
	return n
}
func (p *fakePeer) Blocked() bool { return p.blocked }
func (p *fakePeer) TooSlow(*Room) { p.slow = true }
func (p *fakePeer) Reset(*Member) { p.reset++ }

// offsets returns the offsets of the publications that arrived.
func (p *fakePeer) offsets(t testing.TB) []uint64 {
	var list []uint64
	for r := bytes.NewReader(p.got); r.Len() > 0; {
		f, err := readFrame(r)
		if err != nil {
			t.Fatalf("the stream is not whole frames: %v", err)
		}
		for line := range bytes.SplitSeq(f.Payload, []byte("\n")) {
			var push struct {
				Push struct{ Pub struct{ Offset uint64 } }
			}
			if err := json.Unmarshal(line, &push); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			list = append(list, push.Push.Pub.Offset)
		}
	}
	return list
}

func TestDelivery(t *testing.T) {
	w := newWorld(t, Config{}, 2)
	w.publish("lobby", `"before"`)
	w.commit()
	room := w.open("lobby")
	a, b := &fakePeer{window: -1}, &fakePeer{window: -1}
	ma, pa := w.join(0, room, a)
	_, pb := w.join(1, room, b)
	if pa != room.Top() || pb != room.Top() {
		t.Fatalf("members begin after %d and %d, the room is at %d", pa, pb, room.Top())
	}
	w.publish("lobby", `1`)
	w.publish("lobby", `2`)
	w.publish("elsewhere", `3`)
	w.commit()
	w.settle()
	for _, p := range []*fakePeer{a, b} {
		if got := p.offsets(t); len(got) != 2 || got[1] != room.Top() {
			t.Errorf("got offsets %v, the room is at %d", got, room.Top())
		}
		if p.sends != 1 {
			t.Errorf("two messages of one drain took %d writes", p.sends)
		}
	}
	ma.Leave()
	w.publish("lobby", `4`)
	w.commit()
	w.settle()
	if n := len(a.offsets(t)); n != 2 {
		t.Errorf("a member that left has %d messages", n)
	}
	if n := len(b.offsets(t)); n != 3 {
		t.Errorf("the member that stayed has %d messages", n)
	}
}

func TestFailedCommitLeavesNoHole(t *testing.T) {
	w := newWorld(t, Config{}, 1)
	room := w.open("lobby")
	p := &fakePeer{window: -1}
	w.join(0, room, p)
	w.publish("lobby", `1`)
	w.commit()
	w.publish("lobby", `2`)
	w.fail = errors.New("disk full")
	w.commit()
	w.publish("lobby", `3`)
	w.commit()
	w.settle()
	stored := w.stored["lobby"]
	if len(stored) != 2 || stored[1].Prev != stored[0].Offset {
		t.Fatalf("after a failed commit the chain is broken: %v", stored)
	}
	if got := p.offsets(t); len(got) != 2 || got[1] != stored[1].Offset {
		t.Fatalf("delivered %v", got)
	}
}

func TestOpenFillsFromTheStore(t *testing.T) {
	w := newWorld(t, Config{RecentMessages: 5}, 1)
	for i := range 8 {
		w.publish("lobby", fmt.Sprint(i))
	}
	w.commit()
	all := w.stored["lobby"]
	w.hub.forget(time.Now().Add(w.hub.cfg.Forget + time.Second))
	if w.hub.Loaded("lobby") != nil {
		t.Fatal("the room was not forgotten")
	}
	room := w.open("lobby")
	if room.Top() != all[7].Offset {
		t.Fatalf("top is %d, want %d", room.Top(), all[7].Offset)
	}
	if list, ok := room.After(all[2].Offset, room.Top()); !ok || len(list) != 5 {
		t.Errorf("after the third: %d messages, %v", len(list), ok)
	}
	if _, ok := room.After(all[1].Offset, room.Top()); ok {
		t.Error("five recent messages cannot cover six")
	}
	if list, ok := room.Before(all[6].Offset, 3); !ok || len(list) != 3 || list[2].Offset != all[5].Offset {
		t.Errorf("three before the seventh: %v, %v", list, ok)
	}
	if _, ok := room.Before(all[4].Offset, 3); ok {
		t.Error("the store has more before the fifth")
	}
	if list, ok := w.open("empty").Before(1<<60, 3); ok && len(list) > 0 {
		t.Errorf("an empty room has %v", list)
	}
}

func TestResetRoom(t *testing.T) {
	w := newWorld(t, Config{}, 2)
	room := w.open("lobby")
	old := []*fakePeer{{window: -1}, {window: -1}, {window: 100}}
	m, _ := w.join(0, room, old[0])
	w.join(1, room, old[1])
	w.join(0, room, old[2])
	w.publish("lobby", `1`)
	w.commit()
	if m.Epoch() != "epoch" {
		t.Errorf("a member's epoch is %q", m.Epoch())
	}
	newest := &schema.Message{Room: "lobby", Prev: 5, Offset: 1 << 60, Data: []byte(`2`)}
	room.Reset(Snapshot{Epoch: "another", Last: newest.Offset, Newest: []*schema.Message{newest}})
	again := &fakePeer{window: -1}
	n, position := w.join(0, room, again) // before the loops have turned
	if n.Epoch() != "another" || position != newest.Offset {
		t.Errorf("who joins after the reset is at %d in %q", position, n.Epoch())
	}
	w.settle()
	next := &schema.Message{Room: "lobby", Prev: newest.Offset, Offset: newest.Offset + 1, Data: []byte(`3`)}
	w.hub.Deliver([]*schema.Message{next})
	w.settle()
	for i, p := range old {
		if p.reset != 1 {
			t.Errorf("old member %d was told %d times", i, p.reset)
		}
		for _, offset := range p.offsets(t) {
			if offset >= newest.Offset {
				t.Errorf("old member %d got %d of the new history", i, offset)
			}
		}
	}
	if got := again.offsets(t); len(got) != 1 || got[0] != next.Offset || again.reset != 0 {
		t.Errorf("the new member got %v and %d resets", got, again.reset)
	}
	if s := w.hub.Stats(); s.Members != 1 {
		t.Errorf("%d members are left", s.Members)
	}
	if list, ok := room.After(newest.Prev, next.Offset); !ok || len(list) != 2 {
		t.Errorf("the recent list has %v, %v", list, ok)
	}
	n.Leave()
	if !room.empty() {
		t.Error("a part is left")
	}
}

func TestSlowMemberIsClosedAndOthersAreNot(t *testing.T) {
	w := newWorld(t, Config{LogBytes: 10_000}, 1)
	room := w.open("lobby")
	good, slow := &fakePeer{window: -1}, &fakePeer{window: 3000}
	w.join(0, room, good)
	w.join(0, room, slow)
	body := `"` + string(bytes.Repeat([]byte("x"), 1000)) + `"`
	for i := range 40 {
		w.publish("lobby", body)
		w.commit()
		w.settle()
		if p := room.parts[0]; len(p.log.buf) > 12_000 {
			t.Fatalf("after %d messages the log holds %d bytes", i, len(p.log.buf))
		}
	}
	if !slow.slow || good.slow {
		t.Errorf("slow member closed: %v, good one: %v", slow.slow, good.slow)
	}
	if n := len(good.offsets(t)); n != 40 {
		t.Errorf("the good member has %d messages", n)
	}
	if buf := room.parts[0].log.buf; buf != nil {
		t.Errorf("a room at rest holds %d bytes", cap(buf))
	}
}

func TestCongestedRoomRefuses(t *testing.T) {
	w := newWorld(t, Config{LogBytes: 10_000}, 1)
	room := w.open("lobby")
	for range 3 * w.hub.cfg.WritesPerTurn { // a pass takes three turns
		w.join(0, room, &fakePeer{window: -1})
	}
	body := `"` + string(bytes.Repeat([]byte("x"), 3000)) + `"`
	for range 4 {
		w.publish("lobby", body)
	}
	w.commit()
	w.turn(0)
	if err := w.relay.Publish(&schema.Message{Room: "lobby", Data: []byte(`1`)}, nil); !errors.Is(err, ErrOverloaded) {
		t.Errorf("a congested room answered %v", err)
	}
	if err := w.relay.Publish(&schema.Message{Room: "other", Data: []byte(`1`)}, func(error) {}); err != nil {
		t.Errorf("another room answered %v", err)
	}
	w.settle()
	w.publish("lobby", `1`) // fails the test if it is still refused
}

// The model: whatever joins, leaves, blocks, drains and catches up, each
// member sees every message after its position once, in order, or is closed
// as too slow.
func TestMembersSeeOneOrder(t *testing.T) {
	for range 200 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { model(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

type modelMember struct {
	*Member
	peer     *fakePeer
	room     string
	from     uint64 // messages after it were expected at first
	catching bool
	caught   []uint64 // what catching up has read
	left     bool
	until    int // when it left: number of messages of the room then
}

func model(t *testing.T, r *rand.Rand) {
	w := newWorld(t, Config{LogBytes: 4000, WritesPerTurn: 1 + r.IntN(5)}, 2)
	rooms := []string{"a", "b"}
	var members []*modelMember
	for range 400 {
		w.checkCursors()
		room := rooms[r.IntN(len(rooms))]
		switch op := r.IntN(20); {
		case op < 7:
			if w.relay.Publish(&schema.Message{Room: room, Data: fmt.Appendf(nil, `"%0*d"`, r.IntN(200), 0)}, func(error) {}) == nil && r.IntN(3) > 0 {
				w.commit()
			}
		case op < 9:
			w.commit()
		case op < 13:
			w.turn(r.IntN(2))
		case op < 15:
			p := &fakePeer{window: -1}
			if r.IntN(3) == 0 {
				p.window = r.IntN(2000)
			}
			m := &modelMember{peer: p, room: room}
			m.Member, m.from = w.join(r.IntN(2), w.open(room), p)
			if r.IntN(3) == 0 {
				m.catching = true
				m.Pause()
			}
			members = append(members, m)
		default:
			if len(members) == 0 {
				continue
			}
			m := members[r.IntN(len(members))]
			if m.peer.slow || m.left {
				continue
			}
			switch r.IntN(4) {
			case 0:
				m.until = len(w.stored[m.room])
				m.left = true
				m.Leave()
			case 1, 2:
				if m.peer.blocked {
					m.peer.blocked, m.peer.window = false, r.IntN(3000)
					m.Drained()
				}
			case 3:
				m.catchUp(w)
			}
		}
	}
	for _, m := range members {
		if !m.left && !m.peer.slow {
			m.catchUp(w)
			m.peer.window, m.peer.blocked = -1, false
			m.Drained()
		}
	}
	w.commit()
	w.settle()
	for _, m := range members {
		m.check(t, w)
	}
}

// catchUp ends a pause, reading what the log lost.
func (m *modelMember) catchUp(w *world) {
	for m.catching {
		position, live := m.Resume()
		if m.catching = !live; live {
			return
		}
		have := m.from
		if n := len(m.caught); n > 0 {
			have = m.caught[n-1]
		}
		for _, msg := range w.stored[m.room] {
			if msg.Offset > have && msg.Offset <= position {
				m.caught = append(m.caught, msg.Offset)
			}
		}
	}
}

func (m *modelMember) check(t *testing.T, w *world) {
	var want []uint64
	for _, msg := range w.stored[m.room] {
		if msg.Offset > m.from {
			want = append(want, msg.Offset)
		}
	}
	got := append(m.caught, m.peer.offsets(t)...)
	if len(got) > len(want) {
		t.Fatalf("got %d messages, there were %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("message %d is %d, want %d", i, got[i], want[i])
		}
	}
	if !m.left && !m.peer.slow && len(got) != len(want) {
		t.Fatalf("got %d of %d messages", len(got), len(want))
	}
}

// sink takes everything and keeps nothing.
type sinkPeer struct{ bytes int }

func (p *sinkPeer) Send(b []byte) int { p.bytes += len(b); return len(b) }
func (p *sinkPeer) Blocked() bool     { return false }
func (p *sinkPeer) TooSlow(*Room)     {}
func (p *sinkPeer) Reset(*Member)     {}

// fill joins n members to a room of one shard.
func fill(t testing.TB, n int) (*part, *sinkPeer) {
	w := newWorld(t, Config{}, 1)
	room := w.open("lobby")
	peer := &sinkPeer{}
	for range n {
		w.join(0, room, peer)
	}
	return room.parts[0], peer
}

func TestHotPathAllocations(t *testing.T) {
	p, peer := fill(t, 50)
	message := []byte(`{"push":{}}`)
	step := func() {
		p.shard.post(p, 0, &payload{bytes: message})
		p.shard.post(p, 0, &payload{bytes: message})
		p.shard.Turn()
	}
	step()
	before := peer.bytes
	if n := testing.AllocsPerRun(100, step); n > 0 {
		t.Errorf("framing two pushes and flushing them to 50 members allocates %v times, want 0", n)
	}
	if peer.bytes == before {
		t.Fatal("nothing was sent")
	}
}

// BenchmarkPass is one message to 10,000 members without the system calls.
func BenchmarkPass(b *testing.B) {
	p, _ := fill(b, 10_000)
	message := bytes.Repeat([]byte("x"), 200)
	b.ReportAllocs()
	for b.Loop() {
		p.shard.post(p, 0, &payload{bytes: message})
		for p.shard.Turn() {
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/member")
}

func BenchmarkAppendToLog(b *testing.B) {
	l := log{open: -1}
	message := bytes.Repeat([]byte("x"), 200)
	b.ReportAllocs()
	for b.Loop() {
		if l.append(opText, jsonDelimiter, message); len(l.buf) > 1<<20 {
			l.buf = l.buf[:0]
			l.seal()
		}
	}
}

// readFrame reads one frame of a server, in a test where its length can be
// believed.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(r, payload)
	return ws.Frame{Header: h, Payload: payload}, err
}
