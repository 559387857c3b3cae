package main

import (
	"container/heap"
	"math"
	"slices"
	"time"

	"github.com/hubbub-chat/hubbub/netpoll"
)

// chore is something a worker does with a client at its time.
type chore struct {
	at      int64 // clock ns
	client  *client
	what    choreKind
	session uint16 // of the client, for what is meant for one connection alone
	until   int64  // when a spell ends, clock ns
	conn    *netpoll.Conn
	load    *load
}

type choreKind uint8

const (
	dials     choreKind = iota // comes again
	cuts                       // ends the connection without a word
	silences                   // begins a spell in which the network has lost it
	stalls                     // begins one in which it does not read
	wakes                      // ends the spell of conn
	judges                     // says how conn has come through its spell
	loads                      // asks for a page of the history again
	refreshes                  // asks for a longer life of its token
)

// chores are what is to be done, the earliest first: a container/heap. Its
// worker looks at it every turn, which comes each few milliseconds.
type chores []chore

func (q chores) Len() int           { return len(q) }
func (q chores) Less(i, j int) bool { return q[i].at < q[j].at }
func (q chores) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *chores) Push(x any)        { *q = append(*q, x.(chore)) }
func (q *chores) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last] = chore{}
	*q = (*q)[:last]
	return x
}

func (w *worker) plan(c chore) { heap.Push(&w.chores, c) }

// nextChore returns the next chore that is due.
func (w *worker) nextChore(now int64) (c chore, ok bool) {
	if len(w.chores) == 0 || w.chores[0].at > now || w.over {
		return c, false
	}
	return heap.Pop(&w.chores).(chore), true
}

func (w *worker) do(x chore, now int64) {
	c := x.client
	switch {
	case x.what == dials:
		w.dial(c)
	case x.what == wakes:
		w.wake(x.conn, now)
	case x.what == judges:
		w.judge(x.conn, now)
	case c.state != joined || x.session != c.session: // it is over by itself
	case x.what == cuts:
		c.conn.Drop()
	case x.what == silences || x.what == stalls:
		w.fall(c, x.what, x.until)
	case x.what == loads:
		if w.loads[c] == x.load {
			c.askOn(x.load, now)
		}
	case x.what == refreshes:
		c.refresh(now)
	}
}

// strike plans what happens to a part of the clients, spread over a time, and for
// how long; without that, until end. Whom it hits depends on the seed and the round
// alone, and not on the number of loops; in a crew, each has those that are its own.
func (f *fleet) strike(what choreKind, part float64, over, long time.Duration, end int64, round int) {
	now := f.clock.now()
	draw := func(i int) float64 { return unit(f.seed, uint64(round), uint64(i), 1) }
	draws := make([]float64, f.crew)
	for i := range draws {
		draws[i] = draw(i)
	}
	slices.Sort(draws)
	highest := draws[min(max(1, int(math.Round(part*float64(len(draws))))), len(draws))-1]
	f.ask(func(w *worker) {
		w.clients(func(c *client) {
			if c.state != joined || draw(int(c.number())) > highest {
				return
			}
			at := now + int64(unit(f.seed, uint64(round), uint64(c.number()), 2)*float64(over))
			until := end
			if long > 0 {
				until = at + int64(long)
			}
			w.plan(chore{at: at, client: c, what: what, session: c.session, until: until})
		})
	})
}

// unit is a number from 0 to 1 that depends on all of what it is given
// (SplitMix64).
func unit(of ...uint64) float64 {
	var h uint64
	for _, v := range of {
		h += v + 0x9E3779B97F4A7C15
		h = (h ^ h>>30) * 0xBF58476D1CE4E5B9
		h = (h ^ h>>27) * 0x94D049BB133111EB
		h ^= h >> 31
	}
	return float64(h>>11) / (1 << 53)
}
