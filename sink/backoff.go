package sink

import (
	"context"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backoff"
)

// Backoff is how long to wait before something elsewhere is tried for the n-th
// time again.
func Backoff(n int) time.Duration { return backoff.Wait(n) }

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
