package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// books are what a coordinator hears of rooms from its workers. Of a room that
// one worker had, that is what was acknowledged; of a shared one, what each saw
// and said. They take 16 bytes of each message, 24 of one in a shared room,
// beside one account that is on its way: workers wait for their turn, and hold
// nothing but what they have anyway.
type books struct {
	mu     sync.Mutex
	acked  map[int][]check.Entry // by number of the room
	shared map[int]*check.Union
}

// take takes the account of one room, whose first piece has come and whose
// others follow.
func (b *books) take(first *account, lines *json.Decoder) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.acked == nil {
		b.acked, b.shared = map[int][]check.Entry{}, map[int]*check.Union{}
	}
	a := &check.Account{First: first.First, Behind: first.Behind, Standings: first.Standings, States: first.States}
	for piece := first; ; {
		if a.Seen, err = check.ParseEntries(a.Seen, piece.Entries); err != nil {
			return err
		}
		if !piece.More {
			break
		}
		var w word
		if err := lines.Decode(&w); err != nil {
			return err
		}
		if piece = w.Room; piece == nil || piece.Room != first.Room {
			return errors.New("an account that was not ended")
		}
	}
	if !first.Shared {
		b.acked[first.Room] = a.Seen
		return nil
	}
	u := b.shared[first.Room]
	if u == nil {
		u = new(check.Union)
		b.shared[first.Room] = u
	}
	u.Add(a)
	return nil
}

// close puts what was wrong with shared rooms into the check, and returns what
// was acknowledged in all, by number of the room.
func (b *books) close(k *report.Check) map[int][]check.Entry {
	for room, u := range b.shared {
		acked := u.Close()
		k.Lost += u.Lost
		k.Duplicated += u.Duplicated
		k.Unexpected += u.Unexpected
		b.acked[room] = acked
	}
	k.Shared = len(b.shared)
	return b.acked
}

// proof is what the witnesses are asked about.
func (c *coordinator) proof(acked map[int][]check.Entry) *proof {
	p := &proof{run: c.run, endpoints: c.endpoints, payload: check.Sizes{Least: c.scenario.Payload.Least, Most: c.scenario.Payload.Most}}
	for _, room := range slices.Sorted(maps.Keys(acked)) {
		p.rooms = append(p.rooms, promise{prefixOf(c.target.RoomPrefix, c.run) + strconv.Itoa(room), acked[room]})
	}
	return p
}

// settlement is where workers with shared rooms wait until all of them know
// what there is to be had.
type settlement struct {
	mu    sync.Mutex
	left  map[int]struct{} // workers that have not come yet
	rooms map[int]reached  // the most that anybody has
	done  chan struct{}    // closed when all have come
}

func newSettlement(all []portion) *settlement {
	s := &settlement{left: map[int]struct{}{}, rooms: map[int]reached{}, done: make(chan struct{})}
	for i := range all {
		if all[i].shares() {
			s.left[i] = struct{}{}
		}
	}
	return s
}

// wait brings what worker i has, and returns the most that anybody has.
func (s *settlement) wait(ctx context.Context, i int, have map[int]reached) (map[int]reached, error) {
	s.mu.Lock()
	for room, r := range have {
		most := s.rooms[room]
		s.rooms[room] = reached{max(most.Seen, r.Seen), max(most.Top, r.Top)}
	}
	s.mu.Unlock()
	s.leave(i)
	select {
	case <-s.done:
		return s.rooms, nil // nobody writes to it any more
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// leave says that worker i is not waited for any more.
func (s *settlement) leave(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, waited := s.left[i]; !waited {
		return
	}
	if delete(s.left, i); len(s.left) == 0 {
		close(s.done)
	}
}
