package main

import "github.com/hubbub-chat/hubbub/netpoll"

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
	opening task          // connections to open
	talking task          // messages to publish
	beat    int64         // the metronome's beat last seen
	ending  bool          // closes are our own doing now
}

// task is a plan and how far it has been followed.
type task struct {
	plan *plan
	done int64
}

// next returns the task's next event that is due.
func (t *task) next(now int64) (k int64, ok bool) {
	if t.plan == nil || t.done >= t.plan.count || t.plan.at(t.done) > now {
		return 0, false
	}
	t.done++
	return t.done - 1, true
}

func newWorker(f *fleet, loop *netpoll.Loop) *worker {
	return &worker{fleet: f, loop: loop, index: loop.Index(), rec: newRecorder(), parts: map[int]*part{}}
}

// turn is the loop's hook: it does everything that is due.
func (w *worker) turn() bool {
	now := w.fleet.clock.now()
	if beat := w.fleet.metronome.beat.Load(); beat != w.beat {
		w.beat = beat
		w.rec.lag.record(now - beat)
	}
	loops := len(w.fleet.workers)
	for k, ok := w.opening.next(now); ok; k, ok = w.opening.next(now) {
		if i := w.opening.plan.first + int(k); i%loops == w.index {
			w.open(i)
		}
	}
	for k, ok := w.talking.next(now); ok; k, ok = w.talking.next(now) {
		i, n := w.talking.plan.speaker(k)
		if i%loops != w.index {
			continue
		}
		at := w.talking.plan.at(k)
		if !w.fleet.clients[i].publish(n, at, now) {
			w.rec.Unsent++
			continue
		}
		w.rec.Sent++
		if now-at > int64(lateAfter) {
			w.rec.Late++
		}
	}
	return false
}

// open dials connection i.
func (w *worker) open(i int) {
	f := w.fleet
	c := &f.clients[i]
	r := f.layout.room(i)
	p := w.parts[r]
	if p == nil {
		p = &part{room: &f.rooms[r]}
		w.parts[r] = p
	}
	*c = client{worker: w, part: p, index: uint32(i), decodes: f.layout.decodes(i), state: dialling, began: f.clock.now()}
	d := f.dial
	d.Local = f.sources.of(i)
	conn, err := w.loop.Dial(&d, c)
	if err != nil {
		c.state = ended
		w.rec.Failed++
		f.dialFailed(err)
		return
	}
	c.conn = conn
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
