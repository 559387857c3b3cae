package sink

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// Backoff is how long to wait before something elsewhere is tried for the n-th
// time again: twice as long each time, and half of it at random, so that all
// who lost it do not come back at once.
func Backoff(n int) time.Duration {
	wait := min(minBackoff<<min(max(n-1, 0), 10), maxBackoff)
	return wait/2 + rand.N(wait/2)
}

// Sleep waits, and reports whether ctx let it.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
