package main

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/netpoll"
)

// worker is one event loop's share of a fleet: the clients whose number is
// its index modulo the number of loops. Everything in it belongs to the loop.
type worker struct {
	// immutable
	fleet *fleet
	loop  *netpoll.Loop
	index int

	// owned by the loop
	rec     *recorder
	parts   map[int]*part // by room
	scratch []byte        // the command being written
	chores  chores
	spells  map[*netpoll.Conn]*spell

	loads     map[*client]*load
	restarts  map[*client]restart        // their last
	questions map[question]page          // without an answer
	probes    map[*netpoll.Conn]struct{} // pinged at the end, without an answer
	chance    *rand.Rand
	opening   task // connections to open
	talking   task // messages to publish
	scrolling task // pages of histories to ask for
	over      bool // what still happens is not counted

	// atomic
	beat atomic.Int64 // the first beat since the last turn, clock ns; 0: none
}

// maxPerTurn is how much of each task a loop does before it reads again.
const maxPerTurn = 256

// task is a plan and how far it has been followed.
type task struct {
	plan *plan
	done int64
}

// due reports whether the task has an event that is due at a time.
func (t *task) due(at int64) bool {
	return t.plan != nil && t.done < t.plan.Count() && t.plan.at(t.done) <= at
}

// next returns the task's next event that is due.
func (t *task) next(now int64) (k int64, ok bool) {
	if !t.due(now) {
		return 0, false
	}
	t.done++
	return t.done - 1, true
}

func newWorker(f *fleet, loop *netpoll.Loop, seed uint64) *worker {
	return &worker{fleet: f, loop: loop, index: loop.Index(), rec: newRecorder(), parts: map[int]*part{}, spells: map[*netpoll.Conn]*spell{},
		loads: map[*client]*load{}, restarts: map[*client]restart{}, questions: map[question]page{},
		chance: rand.New(rand.NewPCG(seed, uint64(loop.Index())))} //nolint:gosec // not a secret, and to be had again
}

// turn is the loop's hook: it does what is due, and returns true when there
// is more of it than one turn should do.
func (w *worker) turn() bool {
	now := w.fleet.clock.now()
	if beat := w.beat.Swap(0); beat != 0 {
		w.rec.lag.Record(now - beat)
	}
	loops := len(w.fleet.workers)
	did := 0
	for ; did < maxPerTurn; did++ {
		k, ok := w.opening.next(now)
		if !ok {
			break
		}
		if i := w.opening.plan.first + int(k); i%loops == w.index {
			w.open(i)
		}
	}
	for ; did < maxPerTurn; did++ {
		k, ok := w.talking.next(now)
		if !ok {
			break
		}
		if i, n := w.talking.plan.speaker(k); i%loops == w.index {
			w.publish(i, n, w.talking.plan.at(k))
		}
	}
	for ; did < maxPerTurn; did++ {
		k, ok := w.scrolling.next(now)
		if !ok {
			break
		}
		if i := w.scrolling.plan.scroller(k); i%loops == w.index {
			w.scroll(i, k, w.scrolling.plan.at(k))
		}
	}
	for ; did < maxPerTurn; did++ {
		x, ok := w.nextChore(now)
		if !ok {
			break
		}
		w.do(x, now)
	}
	return did == maxPerTurn
}

// later lets a client come again in a while.
func (w *worker) later(c *client, now int64) {
	c.state = waiting
	wait := w.fleet.comeback.wait(int(c.tries), w.chance)
	w.plan(chore{at: now + int64(wait), client: c, what: dials})
}

// publish lets connection i say message n of its room, which was due at a
// time.
func (w *worker) publish(i int, n uint32, at int64) {
	now := w.fleet.clock.now()
	if !w.fleet.clients[i].publish(n, at, now) {
		w.rec.Unsent++
		return
	}
	w.rec.Sent++
	if t := w.rec.due(at); t != nil {
		t.SendError.Record(now - at)
	}
	if now-at > int64(lateAfter) {
		w.rec.Late++
	}
}

// open begins the life of client i.
func (w *worker) open(i int) {
	f := w.fleet
	c := &f.clients[i]
	r := f.layout.room(i)
	p := w.parts[r]
	if p == nil {
		p = &part{trail: check.Trail{Keep: f.trail}, Part: check.Part{Room: &f.rooms[r]}}
		w.parts[r] = p
	}
	*c = client{worker: w, part: p, index: uint32(i), decodes: f.layout.decodes(i)}
	w.dial(c)
}

// dial opens a connection for a client: who has lost one node tries the next.
func (w *worker) dial(c *client) {
	f, i := w.fleet, int(c.index)
	d := f.dial(i, int(c.tries))
	if f.perRoom {
		d.URI = c.uri(d.URI)
	}
	if d.Addr.Addr().Is4() {
		d.Local = f.sources.of(i)
	}
	c.state, c.began, c.ping = dialling, f.clock.now(), 0
	c.tries = min(c.tries+1, 200)
	c.session++
	c.unreachable = false
	conn, err := w.loop.Dial(&d, c)
	if err == nil {
		c.conn = conn
		return
	}
	f.dialFailed(err)
	w.rec.reasons.note(err.Error())
	if f.comeback.on() {
		w.later(c, c.began)
		return
	}
	c.state = ended
	w.rec.Failed++
}

// clients calls f for every client of the worker that was opened.
func (w *worker) clients(f func(*client)) {
	all := w.fleet.clients
	for i := w.index; i < len(all); i += len(w.fleet.workers) {
		if all[i].state != unopened {
			f(&all[i])
		}
	}
}

// missing sums what the worker's clients have not got.
func (w *worker) missing() (missing, surplus uint64) {
	w.clients(func(c *client) {
		m, s := c.missing()
		missing, surplus = missing+m, surplus+s
	})
	return missing, surplus
}

// end closes the worker's books. Publishes without an answer go into the
// latency of acks with the time they have waited: without them the very worst
// would be left out.
func (w *worker) end() {
	if w.over {
		return
	}
	for q := range w.questions {
		w.dropQuestion(q)
	}
	w.over = true
	now := w.fleet.clock.now()
	for conn := range w.spells {
		w.judge(conn, now)
	}
	w.clients(func(c *client) {
		for i := range c.pending {
			w.rec.answered(&c.pending[i], now)
		}
	})
}
