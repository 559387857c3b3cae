package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// ErrFull is returned by Submit when the budget is spent. It is temporary.
var ErrFull = errors.New("write budget is full")

// How often a batch is tried while the database is busy, and how old its oldest
// message may be when it is tried again. An answer by 4 s must leave room for the
// batch before, which may have waited as long, and for attempts that take longer than
// their busyTimeout, on a machine that has no time for them.
const (
	busyAttempts = 3
	busyPatience = 1500 * time.Millisecond
)

// Appender is what Direct writes to: a Store.
type Appender interface {
	// Append stores all of the batch, or returns an error and stores nothing.
	// It may not keep the slice.
	Append(ctx context.Context, batch []*schema.Message) error
}

// Splitter is an Appender, of a sharded database, that cannot store every batch
// in one transaction.
type Splitter interface {
	// Split returns the batch in parts that it can; fewer than two mean that
	// the batch is one. It may not keep the slice.
	Split(ctx context.Context, batch []*schema.Message) [][]*schema.Message
}

// DirectConfig says what a Direct may hold, and what is called around its
// commits. The zero value of a number means its default; functions may be nil.
// All functions are called on the writer goroutine, which does nothing else
// meanwhile, so they must not block. They may call Submit. A slice given to
// one is valid until it returns.
type DirectConfig struct {
	MaxRecords   int // messages submitted and not yet committed, default 65,536
	MaxBytes     int // the same by Message.Size, default 64 MiB
	BatchRecords int // messages in one transaction, default 1,024

	// MaxAge is how old the oldest message held may be before new ones are
	// refused; 0: as old as it gets. It is for a database elsewhere, whose
	// absence Append outwaits.
	MaxAge time.Duration

	// Mint gives the messages of a batch their Offset and Prev, right before
	// it is committed. When the commit fails, nobody has seen these offsets
	// and they do not count: the next Mint must start again from the last
	// offset that was committed. So a Mint that remembers the last offset of
	// a room keeps it provisional until Committed comes without an error. An
	// error of Mint fails the batch.
	Mint func(batch []*schema.Message) error

	// Committed delivers a batch that is now durable, or hears why it is not.
	Committed func(batch []*schema.Message, err error)

	// Refusal is what is told instead to those whose batch the database has
	// refused (ErrRefused): nothing of it is stored. nil: the error itself.
	Refusal error

	// Observe is for metrics: the size of a batch, and how long its commit
	// took, retries included, whether it succeeded or not.
	Observe func(records int, took time.Duration)
}

// DirectStats is what a Direct holds at one moment, the messages submitted and
// not yet committed, and how many it has refused because it was full, and
// because nothing was becoming durable.
type DirectStats struct {
	Records, Bytes   int
	Refused, Stalled uint64
}

// Direct is the direct writer: mint, commit, deliver, acknowledge, in this
// order and one batch after the other, on one goroutine.
//
// Batches form by draining. What queues up while a batch is committed is the
// next batch; a message that comes alone is committed alone and at once. A
// timer would add its delay to every quiet room, and under load the commit
// itself is the timer.
//
// The order of Submit is the order of everything after it. A failed batch is
// reported and left behind; those after it go on, without a gap, because its
// offsets are minted anew. But a batch whose outcome nobody knows, because the
// database elsewhere went away (ErrUnavailable), is tried until it is known:
// were its offsets minted again while it is stored after all, a second message
// would go by the name of the first, and get lost.
//
// All methods may be called concurrently. A panic in a callback ends the
// process: half a batch told and half not is no state to go on from.
type Direct struct {
	// Immutable.
	store   Appender
	cfg     DirectConfig
	ctx     context.Context // of every Append, ended when Close runs out of time
	cancel  context.CancelFunc
	stopped chan struct{} // closed by run when it ends

	// Guarded by mu.
	mu      sync.Mutex
	wake    *sync.Cond // the queue is not empty, or closing
	queue   []entry
	held    DirectStats
	oldest  time.Time // when the first of those held was submitted, to within its batch
	closing bool

	// Owned by run.
	taken []entry           // the queue before this one; the two swap places
	batch []*schema.Message // kept for its memory
}

// entry is one message on its way.
type entry struct {
	message *schema.Message
	done    func(error)
	size    int // as counted, in case a callback changes the message
	at      time.Time
}

// NewDirect starts the writer goroutine. Close stops it.
func NewDirect(store Appender, cfg DirectConfig) *Direct {
	if cfg.MaxRecords == 0 {
		cfg.MaxRecords = 65_536
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 64 << 20
	}
	if cfg.BatchRecords == 0 {
		cfg.BatchRecords = 1024
	}
	d := &Direct{store: store, cfg: cfg, stopped: make(chan struct{})}
	d.wake = sync.NewCond(&d.mu)
	d.ctx, d.cancel = context.WithCancel(context.Background())
	go d.run() // ends when Close has been called and the queue is drained
	return d
}

// Submit queues a message and never blocks. When it returns nil, done is
// called exactly once on the writer goroutine, after the message's batch was
// committed, or has failed, and after Committed. done may be nil.
//
// Otherwise done is not called, and the error is ErrFull, ErrStalled, ErrClosed, or
// schema.ErrBadRequest for a room name that would fail the batch of others.
func (d *Direct) Submit(m *schema.Message, done func(error)) error {
	if len(m.Room) == 0 || len(m.Room) > schema.MaxChannelLen {
		return schema.ErrBadRequest.Because("channel name does not fit the store")
	}
	size := m.Size()
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closing:
		return ErrClosed
	case d.cfg.MaxAge > 0 && d.held.Records > 0 && time.Since(d.oldest) > d.cfg.MaxAge:
		d.held.Stalled++
		return ErrStalled
	case d.held.Records >= d.cfg.MaxRecords || size > d.cfg.MaxBytes-d.held.Bytes:
		d.held.Refused++
		return ErrFull
	}
	now := time.Now()
	if d.held.Records == 0 {
		d.oldest = now
	}
	d.held.Records++
	d.held.Bytes += size
	d.queue = append(d.queue, entry{m, done, size, now})
	if len(d.queue) == 1 {
		d.wake.Signal()
	}
	return nil
}

// Stats returns what is held now.
func (d *Direct) Stats() DirectStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held
}

// Ready returns nil while messages are becoming durable.
func (d *Direct) Ready(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if age := time.Since(d.oldest); d.cfg.MaxAge > 0 && d.held.Records > 0 && age > d.cfg.MaxAge {
		return fmt.Errorf("%w: one has been on its way for %v", ErrStalled, age.Round(time.Millisecond))
	}
	return nil
}

// Close refuses new messages and returns when those queued are committed and
// their callbacks have returned. If ctx ends first, it returns at once with
// ctx's error; the goroutine then fails what is left and ends. It must not be
// called from a callback.
func (d *Direct) Close(ctx context.Context) error {
	d.mu.Lock()
	d.closing = true
	d.wake.Signal()
	d.mu.Unlock()
	select {
	case <-d.stopped:
		d.cancel()
		return nil
	case <-ctx.Done():
		d.cancel()
		return fmt.Errorf("close the direct writer with %d messages left: %w", d.Stats().Records, ctx.Err())
	}
}

func (d *Direct) run() {
	for d.take() {
		for chunk := range slices.Chunk(d.taken, d.cfg.BatchRecords) {
			parts := d.split(chunk)
			if parts == nil {
				d.commit(chunk)
			}
			for _, part := range parts {
				d.commit(part)
			}
		}
	}
	// Not deferred: while a panic unwinds, that would let Close return, and
	// the program end as if all were well.
	close(d.stopped)
}

// take waits for messages and swaps the queue for the one last taken. It
// reports false when there will be none.
func (d *Direct) take() bool {
	spare := d.taken[:0]
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 && cap(spare)+cap(d.queue) > 4*d.cfg.BatchRecords {
		spare, d.queue = nil, nil // a burst is over
	}
	for len(d.queue) == 0 && !d.closing {
		d.wake.Wait()
	}
	d.taken, d.queue = d.queue, spare
	return len(d.taken) > 0
}

// split returns the parts of a batch that one transaction each can store, or nil
// where one can store it all. Parts are committed like batches of their own: a message that a transaction has
// stored is delivered and acknowledged whatever becomes of the others.
func (d *Direct) split(chunk []entry) [][]entry {
	splitter, ok := d.store.(Splitter)
	if !ok {
		return nil
	}
	batch := d.batch[:0]
	for _, e := range chunk {
		batch = append(batch, e.message)
	}
	d.batch = batch
	parts := splitter.Split(d.ctx, batch)
	if len(parts) < 2 {
		return nil
	}
	of := make(map[*schema.Message]int, len(batch))
	for i, part := range parts {
		for _, m := range part {
			of[m] = i
		}
	}
	return groupBy(chunk, func(e entry) int { return of[e.message] })
}

// commit takes one batch through mint, commit, deliver, acknowledge.
func (d *Direct) commit(chunk []entry) {
	batch, bytes := d.batch[:0], 0
	for _, e := range chunk {
		batch, bytes = append(batch, e.message), bytes+e.size
	}
	start := time.Now()
	d.mu.Lock()
	d.oldest = chunk[0].at
	d.mu.Unlock()
	var err error
	if d.cfg.Mint != nil {
		err = d.cfg.Mint(batch)
	}
	if err == nil {
		err = d.append(batch, chunk[0].at)
	}
	if d.cfg.Observe != nil {
		d.cfg.Observe(len(batch), time.Since(start))
	}

	d.mu.Lock()
	d.held.Records -= len(batch)
	d.held.Bytes -= bytes
	d.mu.Unlock()

	if d.cfg.Committed != nil {
		d.cfg.Committed(batch, err)
	}
	if d.cfg.Refusal != nil && errors.Is(err, ErrRefused) {
		err = d.cfg.Refusal
	}
	for _, e := range chunk {
		if e.done != nil {
			e.done(err)
		}
	}
	clear(batch) // let the messages go
	clear(chunk)
	d.batch = batch
}

// append stores a batch, whose oldest message was submitted at a time, and tries again
// while the database is merely busy or away. The batch keeps its offsets: a busy
// database has stored nothing, and one that went away nothing else. Once an attempt
// has gone without an answer, being busy is no answer to it: what holds the locks may
// be that attempt. Then the error, if there is one, does not say ErrRefused.
func (d *Direct) append(batch []*schema.Message, oldest time.Time) error {
	var unknown error
	for busy, away := 1, 0; ; {
		err := d.store.Append(d.ctx, batch)
		if errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrRefused) {
			unknown = err
		}
		switch {
		case err == nil:
			return nil
		case d.ctx.Err() != nil:
			return cmp.Or(unknown, err)
		case errors.Is(err, ErrUnavailable), errors.Is(err, ErrBusy) && unknown != nil:
			away++
		case errors.Is(err, ErrBusy) && busy < busyAttempts && time.Since(oldest) < busyPatience:
			busy++
			continue
		default:
			return err
		}
		if !Sleep(d.ctx, Backoff(away)) {
			return cmp.Or(unknown, err)
		}
	}
}
