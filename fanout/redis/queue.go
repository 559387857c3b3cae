package redis

import "sync"

// queue hands values from many goroutines to a few. A queue with a bound
// refuses what exceeds it; one without has a bound by what is put into it.
type queue[T any] struct {
	bound int // 0: none

	mu     sync.Mutex
	more   *sync.Cond
	values []T
	closed bool
}

func newQueue[T any](bound int) *queue[T] {
	q := &queue[T]{bound: bound}
	q.more = sync.NewCond(&q.mu)
	return q
}

// put never blocks. It returns false when the queue is full or closed.
func (q *queue[T]) put(v T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.bound > 0 && len(q.values) >= q.bound {
		return false
	}
	q.values = append(q.values, v)
	q.more.Signal()
	return true
}

// take waits for values and returns at most so many; none when the queue is
// closed and empty.
func (q *queue[T]) take(most int) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.values) == 0 && !q.closed {
		q.more.Wait()
	}
	n := min(most, len(q.values))
	taken := append([]T(nil), q.values[:n]...)
	clear(q.values[:n])
	if q.values = q.values[n:]; len(q.values) == 0 {
		q.values = nil // its memory is given back when it rests
	}
	return taken
}

func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.more.Broadcast()
}
