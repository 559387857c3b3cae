package sink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// DirectLogConfig is what a DirectLog may hold and whom it tells. Functions may
// be nil; SetAside and Observe are called on the writer goroutine and may not
// block.
type DirectLogConfig struct {
	BudgetConfig
	BatchRecords int // messages in one transaction, default 1,024

	// SetAside hears of a message that the database refuses for good.
	SetAside func(m *schema.Message, err error)

	// Healed renews the second half of the room's epoch. It is called on a
	// goroutine of its own, one at a time, and again if it fails.
	Healed func(ctx context.Context, room, epoch string) error

	// Observe is that of DirectConfig.
	Observe func(records int, took time.Duration)
}

// DirectLogStats is what a DirectLog holds now and has done so far.
type DirectLogStats struct {
	BudgetStats
	SetAside uint64 // messages that the database refuses
}

// DirectLog makes messages durable that have been minted, where there is no
// log: it is a Direct that stores what members have seen, so it keeps trying
// until the database is there, and puts aside the one message that spoils a
// batch instead of failing the others.
//
// Goroutines: Direct's, and one that heals. All methods may be called
// concurrently, and none but Close blocks.
type DirectLog struct {
	// Immutable.
	cfg    DirectLogConfig
	store  Appender
	direct *Direct
	budget *Budget
	wake   chan struct{} // of size 1: a heal may be due
	cancel context.CancelFunc
	healer sync.WaitGroup

	aside map[*schema.Message]error // of the batch under way; owned by Direct's goroutine

	// Guarded by mu.
	mu       sync.Mutex
	produced uint64          // messages given to direct
	stored   uint64          // messages that it has done with, in the same order
	heals    map[string]heal // that are to come, by room: after a loss of Redis, of every room in memory
	setAside uint64
}

// heal is a room's, once so many messages are stored.
type heal struct {
	epoch string
	after uint64
}

const (
	healTries   = 5
	healTimeout = 3 * time.Second
)

// NewDirectLog starts the goroutines. Close stops them.
func NewDirectLog(store Appender, cfg DirectLogConfig) *DirectLog {
	l := &DirectLog{
		cfg: cfg, store: store, budget: NewBudget(cfg.BudgetConfig),
		wake: make(chan struct{}, 1), heals: make(map[string]heal), aside: make(map[*schema.Message]error),
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.direct = NewDirect(picky{l}, DirectConfig{
		MaxRecords: math.MaxInt, MaxBytes: math.MaxInt, BatchRecords: cfg.BatchRecords, Observe: cfg.Observe,
	})
	l.healer.Go(func() { l.heal(ctx) }) // ends when Close cancels
	return l
}

// Reserve makes room for a message before anybody sees it. The error is
// ErrFull or ErrStalled, which are temporary, or schema.ErrBadRequest.
func (l *DirectLog) Reserve(m *schema.Message) error { return l.budget.Reserve(m) }

// Release gives back what was reserved for a message that was not minted.
func (l *DirectLog) Release(m *schema.Message) { l.budget.Release(m) }

// Produce stores a minted message. It must be the pointer that was reserved; a
// message that nobody reserved goes over the budget. done is called once,
// without an error when the message is stored; an error wraps ErrData when the
// database refuses it, or says that the log was closed before. It may not
// block, and may be nil.
func (l *DirectLog) Produce(m *schema.Message, done func(error)) {
	f := l.budget.Take(m)
	if err := l.submit(m, f, done); err != nil {
		l.budget.Land(f)
		if done != nil {
			done(err)
		}
	}
}

func (l *DirectLog) submit(m *schema.Message, f Flight, done func(error)) error {
	l.mu.Lock()
	defer l.mu.Unlock() // the order of produced is that of direct's queue
	err := l.direct.Submit(m, func(err error) {
		if e, ok := l.aside[m]; ok {
			delete(l.aside, m)
			err = e
		}
		l.budget.Land(f)
		if done != nil {
			done(err)
		}
		l.next()
	})
	if err == nil {
		l.produced++
	}
	return err
}

// Heal has the room's epoch renewed once everything produced so far is stored.
func (l *DirectLog) Heal(room, epoch string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heals[room] = heal{epoch, l.produced}
	l.poke()
}

// next counts one more message that is done with.
func (l *DirectLog) next() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stored++
	if len(l.heals) > 0 {
		l.poke()
	}
}

func (l *DirectLog) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// due takes the heals for which all is stored.
func (l *DirectLog) due() map[string]heal {
	l.mu.Lock()
	defer l.mu.Unlock()
	due := make(map[string]heal)
	for room, h := range l.heals {
		if h.after <= l.stored {
			due[room] = h
			delete(l.heals, room)
		}
	}
	return due
}

// heal renews epochs, one after the other.
func (l *DirectLog) heal(ctx context.Context) {
	for {
		select {
		case <-l.wake:
			for room, h := range l.due() {
				if l.cfg.Healed != nil {
					l.healOne(ctx, room, h.epoch)
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

func (l *DirectLog) healOne(ctx context.Context, room, epoch string) {
	for try := range healTries {
		each, cancel := context.WithTimeout(ctx, healTimeout)
		err := l.cfg.Healed(each, room, epoch)
		cancel()
		if err == nil || !Sleep(ctx, Backoff(try+1)) {
			return
		}
	}
}

// Stats returns the figures of now.
func (l *DirectLog) Stats() DirectLogStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return DirectLogStats{BudgetStats: l.budget.Stats(), SetAside: l.setAside}
}

// Ready returns nil while messages are becoming durable.
func (l *DirectLog) Ready(context.Context) error { return l.budget.Ready("the database") }

// Close refuses new messages and waits until those produced are stored. If ctx
// ends first it returns at once, and those left hear of it.
func (l *DirectLog) Close(ctx context.Context) error {
	err := l.direct.Close(ctx)
	l.cancel()
	l.healer.Wait()
	return err
}

// picky is a Store that puts aside what it cannot store.
type picky struct{ *DirectLog }

// Append stores all of the batch but what the database refuses. It finds that
// by halves: what is stored twice on the way changes nothing.
func (p picky) Append(ctx context.Context, batch []*schema.Message) error {
	err := p.store.Append(ctx, batch)
	switch {
	case errors.Is(err, ErrBusy):
		return fmt.Errorf("%w: %w", ErrUnavailable, err) // what was minted is not given up
	case !errors.Is(err, ErrData):
		return err
	case len(batch) > 1:
		half := len(batch) / 2
		if err := p.Append(ctx, batch[:half]); err != nil {
			return err
		}
		return p.Append(ctx, batch[half:])
	}
	p.aside[batch[0]] = err
	p.mu.Lock()
	p.setAside++
	p.mu.Unlock()
	if p.cfg.SetAside != nil {
		p.cfg.SetAside(batch[0], err)
	}
	return nil
}
