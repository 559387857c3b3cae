package sink

import (
	"context"
	"sync"
	"time"
)

// ReaderConfig sizes a Reader. The zero value of a field means its default.
type ReaderConfig struct {
	Workers int           // goroutines, default 4: as many as the Store reads at once
	Queue   int           // jobs that may wait for one, default 1,024
	Timeout time.Duration // of a job's context once it runs, default 3 s: SDKs give up after 5
}

// Reader runs jobs that read a Store, for callers that may not block: the
// pollers. What a Reader cannot take it refuses at once, so a slow disk costs
// refused history and never a delayed message.
//
// All methods may be called concurrently.
type Reader struct {
	// Immutable.
	timeout time.Duration
	ctx     context.Context // parent of every job's, ended by Close
	cancel  context.CancelFunc
	workers sync.WaitGroup

	// Guarded by mu; workers only receive.
	mu     sync.RWMutex
	jobs   chan func(context.Context)
	closed bool
}

// NewReader starts the workers. Close stops them.
func NewReader(cfg ReaderConfig) *Reader {
	if cfg.Workers == 0 {
		cfg.Workers = 4
	}
	if cfg.Queue == 0 {
		cfg.Queue = 1024
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 3 * time.Second
	}
	r := &Reader{timeout: cfg.Timeout, jobs: make(chan func(context.Context), cfg.Queue)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	for range cfg.Workers {
		r.workers.Go(r.work) // ends when Close closes jobs
	}
	return r
}

// Do has a worker run job, and reports whether it will: false means that the
// queue is full or the Reader closed. It never blocks. A job that was taken
// runs exactly once; its context ends after the time-out, or with Close.
func (r *Reader) Do(job func(context.Context)) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		return false
	}
	select {
	case r.jobs <- job:
		return true
	default:
		return false
	}
}

// Close refuses new jobs, ends the contexts of those running and waiting, and
// returns when each has run to its end. It must not be called from a job.
func (r *Reader) Close() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.jobs)
	}
	r.mu.Unlock()
	r.cancel()
	r.workers.Wait()
}

func (r *Reader) work() {
	for job := range r.jobs {
		r.run(job)
	}
}

func (r *Reader) run(job func(context.Context)) {
	ctx, cancel := context.WithTimeout(r.ctx, r.timeout)
	defer cancel()
	job(ctx)
}
