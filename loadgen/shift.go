package main

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// shift is one job under way in a worker: what its player has to do with the
// rest of the crew.
type shift struct {
	// immutable
	job     *job
	engine  engineFlag      // of this process
	say     func(word)      // to the coordinator
	request context.Context // ends when the coordinator goes
	stop    context.CancelFunc

	begin  chan start           // what the coordinator said, once
	agreed chan map[int]reached // the same
}

// ready says that the connections are there, and waits to be told when all of
// the crew begin.
func (s *shift) ready(ctx context.Context) (at int64, err error) {
	s.say(word{Ready: true})
	select {
	case b := <-s.begin:
		return b.At, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// pass tells how far this worker is.
func (s *shift) pass(now *report.Snapshot) { s.say(word{Now: now}) }

// settle waits until the members of shared rooms have what the others have,
// too. What this worker's own clients said has been answered by then; so when
// all have come here, there is nothing that somebody does not know of.
func (s *shift) settle(f *fleet, still, pong time.Duration, tell *progress) (unquiet uint64) {
	if !s.job.shares() {
		return 0
	}
	s.say(word{Quiet: s.reached(f)})
	var all map[int]reached
	select {
	case all = <-s.agreed:
	case <-s.request.Done():
		return 0
	}
	// One that has less, and is quiet, shows in the counts.
	return f.calm(s.request, still, pong, tell, func(*report.Snapshot) bool {
		for room, have := range s.reached(f) {
			if have.Seen < all[room].Seen || have.Top < all[room].Top {
				return false
			}
		}
		missing, _ := f.missing()
		return missing == 0
	})
}

// reached is how far the shared rooms are.
func (s *shift) reached(f *fleet) map[int]reached {
	all := map[int]reached{}
	for i, d := range s.job.Rooms {
		if d.Shared {
			n, top := f.rooms[i].Reached()
			all[d.Number] = reached{n, top}
		}
	}
	return all
}

// tell says what the coordinator has to know of rooms, one after another;
// a coordinator that is slow to read holds it up.
func (s *shift) tell(f *fleet) {
	standings := f.standings()
	for i, d := range s.job.Rooms {
		m := &f.rooms[i]
		switch {
		case d.Shared:
			a := m.Account()
			s.send(&account{Room: d.Number, Shared: true, First: a.First, Behind: a.Behind, Standings: standings[m], States: a.States}, a.Seen)
		case s.job.KeepAcked:
			s.send(&account{Room: d.Number}, m.Acked())
		}
	}
}

// send sends an account in pieces.
func (s *shift) send(a *account, entries []check.Entry) {
	for {
		n := min(len(entries), maxEntries)
		a.Entries, a.More = check.AppendEntries(nil, entries[:n]), n < len(entries)
		if s.say(word{Room: a}); !a.More {
			return
		}
		entries = entries[n:]
		a = &account{Room: a.Room, Shared: a.Shared}
	}
}

// standings are how the members of shared rooms stand.
func (f *fleet) standings() map[*check.Room][]check.Standing {
	var mu sync.Mutex
	count := map[*check.Room]map[uint64]uint64{}
	f.ask(func(w *worker) {
		mu.Lock()
		defer mu.Unlock()
		w.clients(func(c *client) {
			if !c.member || !c.part.Room.Shared() {
				return
			}
			if count[c.part.Room] == nil {
				count[c.part.Room] = map[uint64]uint64{}
			}
			count[c.part.Room][c.reader.From()]++ // of who only counts, 0
		})
	})
	all := map[*check.Room][]check.Standing{}
	for m, from := range count {
		for _, offset := range slices.Sorted(maps.Keys(from)) {
			all[m] = append(all[m], check.Standing{From: offset, Members: from[offset]})
		}
	}
	return all
}
