package main

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/pace"
	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/netpoll"
)

// maxMessage is the largest frame in bytes taken from a server: a recovered
// subscription may bring half a megabyte at once.
const maxMessage = 8 << 20

// fleetConfig is what a fleet is made of.
type fleetConfig struct {
	endpoints []endpoint // of the server, taken in turn
	notes     []string   // on these
	prefix    string     // of room names; empty: one of the run's own
	layout    layout
	loops     int
	engine    string // of the loops; empty: the default
	payload   check.Sizes
	dialect   dialect
	seed      uint64  // of what is drawn by chance
	comeback  backoff // of connections that ended; zero: they stay away
	tokens    *tokens // nil: clients are guests
	keepAcked bool    // what was acknowledged is wanted at the end
	page      int     // messages of a history page; 0: none are asked for
	job       *job    // of a worker; nil: it plays alone
}

// fleet is all connections of a run. Its methods are the scenario's to call,
// from one goroutine; they reach the workers by posting to their loops.
type fleet struct {
	// immutable
	clock     clock
	run       string // the run's id, in every payload
	first     uint32 // the number of the first client, among all of its crew
	crew      int    // how many clients these are; alone, its own
	payload   check.Sizes
	dialect   dialect
	perRoom   bool // the address names the room
	layout    layout
	seed      uint64
	tokens    *tokens // nil: clients are guests
	endpoints []endpoint
	routes    []route // to the endpoints, by their URL
	comeback  backoff
	pageLimit int32 // of the pages that members ask for
	trail     int   // messages of a room that these are compared with
	sources   sources
	rooms     []check.Room
	engine    *netpoll.Engine
	workers   []*worker
	metronome metronome
	beating   sync.WaitGroup

	clients []client // each the loop's of its worker

	mu      sync.Mutex
	dialErr error // the first of them
}

func newFleet(cfg fleetConfig) (*fleet, error) {
	run, bits := newRunID()
	f := &fleet{
		clock:   newClock(0),
		run:     run,
		crew:    cfg.layout.conns,
		payload: cfg.payload,
		layout:  cfg.layout,
		dialect: cfg.dialect,
		seed:    cfg.seed,
		tokens:  cfg.tokens,
		sources: newSources(answering(cfg.endpoints), cfg.layout.conns, bits, isLocal),
		clients: make([]client, cfg.layout.conns),

		endpoints: answering(cfg.endpoints),
		comeback:  cfg.comeback,
	}
	if cfg.page > 0 {
		f.pageLimit, f.trail = int32(cfg.page), 4*cfg.page+1000
	}
	for _, e := range cfg.endpoints {
		f.perRoom = f.perRoom || strings.Contains(e.uri, roomMark)
	}
	f.routes = routesOf(cfg.endpoints, cfg.dialect.subprotocol())
	f.furnish(&cfg)
	var err error
	f.engine, err = netpoll.New(netpoll.Config{
		Loops: cfg.loops, Engine: cfg.engine, MaxMessage: maxMessage, HandshakeTimeout: 20 * time.Second,
		Panicked: func(v any, stack []byte) { panic(fmt.Sprintf("%v\n%s", v, stack)) }, // a bug of ours: results would be wrong
	})
	if err != nil {
		return nil, err
	}
	for _, loop := range f.engine.Loops() {
		w := newWorker(f, loop, cfg.seed)
		loop.OnTurn(w.turn)
		f.workers = append(f.workers, w)
	}
	f.metronome.clock = f.clock
	f.metronome.beat = func(due int64) {
		for _, w := range f.workers {
			w.beat.CompareAndSwap(0, due)
			w.loop.Wake()
		}
	}
	f.engine.Start()
	f.beating.Go(f.metronome.run) // stopped by close
	return f, nil
}

// furnish makes the rooms. In a crew they are those that were dealt, and what all
// have in common is the job's.
func (f *fleet) furnish(cfg *fleetConfig) {
	number := func(room int) int { return room }
	if j := cfg.job; j != nil {
		f.clock, f.run, f.first, f.crew, f.seed = newClock(time.Duration(j.Clock)), j.Run, j.First, j.Crew, j.Draw
		number = func(room int) int { return j.Rooms[room].Number }
	}
	prefix := prefixOf(cfg.prefix, f.run)
	f.rooms = check.NewRooms(cfg.layout.rooms, func(i int) string { return prefix + strconv.Itoa(number(i)) }, cfg.keepAcked)
	if cfg.job == nil {
		return
	}
	for i, d := range cfg.job.Rooms {
		if d.Shared {
			f.rooms[i].Share(f.first, f.first+uint32(cfg.layout.conns))
		}
	}
}

// prefixOf is what rooms are named by.
func prefixOf(given, run string) string {
	if given == "" {
		return "loadgen-" + run + "-"
	}
	return given
}

func newRunID() (id string, bits uint16) {
	var b [check.RunIDLen / 2]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:]), binary.BigEndian.Uint16(b[:])
}

// close drops all connections and ends every goroutine.
func (f *fleet) close() {
	f.end()
	f.metronome.stop.Store(true)
	f.beating.Wait()
	f.engine.Stop()
}

// ask runs do on every worker's loop, at once, and waits until all have.
func (f *fleet) ask(do func(*worker)) {
	var wg sync.WaitGroup
	for _, w := range f.workers {
		wg.Add(1)
		w.loop.Post(func() {
			defer wg.Done()
			do(w)
		})
	}
	wg.Wait()
}

// open begins to open connections first to last-1, rate of them a second.
func (f *fleet) open(first, last int, rate float64) {
	p := &plan{Pacer: pace.Even(rate, int64(last-first)), start: f.clock.now(), first: first}
	f.metronome.plan.Store(p)
	f.ask(func(w *worker) { w.opening = task{plan: p} })
}

// talk begins to follow a plan of messages; nil ends it.
func (f *fleet) talk(p *plan) {
	f.metronome.plan.Store(p)
	f.ask(func(w *worker) { w.talking = task{plan: p} })
}

// scroll begins to follow a plan of history pages; nil ends it.
func (f *fleet) scroll(p *plan) {
	f.metronome.also.Store(p)
	f.ask(func(w *worker) { w.scrolling = task{plan: p} })
}

// phase begins the next one, which lasts until a time of the clock: what is due
// from then on is timed apart, even before phase is called again. It returns the
// times of the phase before the last, of which nothing is waited for any more.
func (f *fleet) phase(until int64) report.Times {
	sum := report.NewTimes(0)
	var mu sync.Mutex
	f.ask(func(w *worker) {
		old := w.rec.turn(until)
		mu.Lock()
		defer mu.Unlock()
		sum.Merge(&old)
		old.Reset(0)
		w.rec.spare = old
	})
	return sum
}

// forget empties the latencies of messages and leaves out of them what was
// due before since, when the first phase begins, which lasts until a time. It
// returns what was there.
func (f *fleet) forget(since, until int64) *recorder {
	sum := f.recorded()
	f.ask(func(w *worker) { w.rec.forget(since, until) })
	return sum
}

// recorded is the sum of all that the workers recorded.
func (f *fleet) recorded() *recorder {
	sum := newRecorder()
	var mu sync.Mutex
	f.ask(func(w *worker) {
		mu.Lock()
		defer mu.Unlock()
		sum.merge(w.rec)
	})
	return sum
}

// recent is the latency of deliveries since it was last called.
func (f *fleet) recent() report.Quantiles {
	sum := report.NewLatency()
	var mu sync.Mutex
	f.ask(func(w *worker) {
		mu.Lock()
		defer mu.Unlock()
		sum.Merge(w.rec.recent)
		w.rec.recent.Reset()
	})
	return sum.Quantiles()
}

// counts sums the workers' counts.
func (f *fleet) counts() report.Snapshot {
	s := report.Snapshot{At: f.clock.now(), BytesIn: f.engine.Stats().BytesIn}
	var mu sync.Mutex
	f.ask(func(w *worker) {
		mu.Lock()
		defer mu.Unlock()
		s.Add(&w.rec.Counts)
	})
	return s
}

// missing sums what connected clients should have got and did not, and what
// those that only count got too much.
func (f *fleet) missing() (missing, surplus uint64) {
	var mu sync.Mutex
	f.ask(func(w *worker) {
		m, s := w.missing()
		mu.Lock()
		defer mu.Unlock()
		missing, surplus = missing+m, surplus+s
	})
	return missing, surplus
}

// away is the number of clients that were members and are not now, although
// they should come back.
func (f *fleet) away() (n uint64) {
	var mu sync.Mutex
	f.ask(func(w *worker) {
		mu.Lock()
		defer mu.Unlock()
		w.clients(func(c *client) {
			if c.member && c.state != joined {
				n++
			}
		})
	})
	return n
}

// end closes the books: what still happens is not counted.
func (f *fleet) end() { f.ask((*worker).end) }

func (f *fleet) dialFailed(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dialErr == nil {
		f.dialErr = err
	}
}

// firstDialError is why the first connection that had no socket had none.
func (f *fleet) firstDialError() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dialErr
}
