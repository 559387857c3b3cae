package fanout

import (
	"context"

	"github.com/hubbub-chat/hubbub/schema"
)

// Store is the history of a node alone.
type Store interface {
	// Last returns the room's highest offset, 0 when it has none.
	Last(ctx context.Context, room string) (uint64, error)
	// Before returns messages with offset < before (0: the newest), newest
	// first, up to limit and about maxBytes.
	Before(ctx context.Context, room string, before uint64, limit, maxBytes int) ([]*schema.Message, error)
}

// Reads runs jobs that read the store, off the loops.
type Reads interface {
	// Do runs the job soon, or returns false when too many wait.
	Do(job func(context.Context)) bool
}

// Stored is the source of a node alone: rooms stand where the store says.
type Stored struct {
	store Store
	reads Reads
	epoch string // of the store
}

// NewStored makes a source of a store with one epoch.
func NewStored(store Store, reads Reads, epoch string) *Stored {
	return &Stored{store: store, reads: reads, epoch: epoch}
}

// Open implements Source.
func (s *Stored) Open(r *Room, done func(error)) {
	if !s.reads.Do(func(ctx context.Context) { done(s.load(ctx, r)) }) {
		done(ErrBusy)
	}
}

// Close implements Source: nobody else writes to the store.
func (s *Stored) Close(*Room) {}

// load reads the room's end, unless it is known.
func (s *Stored) load(ctx context.Context, r *Room) error {
	r.mu.Lock()
	loaded := r.loaded
	r.used = r.hub.now()
	r.mu.Unlock()
	if loaded {
		return nil
	}
	last, err := s.store.Last(ctx, r.name)
	if err != nil {
		return err
	}
	var newest []*schema.Message
	if last > 0 {
		cfg := &r.hub.cfg
		if newest, err = s.store.Before(ctx, r.name, 0, cfg.RecentMessages, cfg.RecentBytes); err != nil {
			return err
		}
		for i, j := 0, len(newest)-1; i < j; i, j = i+1, j-1 {
			newest[i], newest[j] = newest[j], newest[i]
		}
	}
	r.Fill(Snapshot{Epoch: s.epoch, Last: last, Newest: newest})
	return nil
}
