package backoff

import (
	"testing"
	"time"
)

func TestWait(t *testing.T) {
	for _, c := range []struct {
		n        int
		from, to time.Duration
	}{
		{-1, 25 * time.Millisecond, 50 * time.Millisecond},
		{0, 25 * time.Millisecond, 50 * time.Millisecond},
		{1, 25 * time.Millisecond, 50 * time.Millisecond},
		{2, 50 * time.Millisecond, 100 * time.Millisecond},
		{6, 800 * time.Millisecond, 1600 * time.Millisecond},
		{7, time.Second, 2 * time.Second},
		{1 << 40, time.Second, 2 * time.Second},
	} {
		for range 100 {
			if got := Wait(c.n); got < c.from || got >= c.to {
				t.Errorf("retry %d waits %v, not %v to %v", c.n, got, c.from, c.to)
			}
		}
	}
}
