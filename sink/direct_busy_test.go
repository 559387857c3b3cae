package sink

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// lockedAppender is a database whose lock somebody else holds: each attempt takes as
// long.
type lockedAppender struct{ attempt time.Duration }

func (a lockedAppender) Append(context.Context, []*schema.Message) error {
	time.Sleep(a.attempt)
	return ErrBusy
}

// While the database stays locked every message is refused in time to be answered, those
// too that came while others were tried, and on a machine where an attempt takes longer.
func TestDirectLocked(t *testing.T) {
	for _, attempt := range []time.Duration{busyTimeout, 3 * busyTimeout / 2, 19 * busyTimeout / 10} {
		t.Run(attempt.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := NewDirect(lockedAppender{attempt}, DirectConfig{})
				var longest time.Duration // written by the writer's goroutine, read when that has ended
				for range 100 {
					began := time.Now()
					mustSubmit(t, d, message("1"), func(error) { longest = max(longest, time.Since(began)) })
					time.Sleep(100 * time.Millisecond)
				}
				mustClose(t, d)
				if longest > 3800*time.Millisecond {
					t.Errorf("a message was refused after %v", longest)
				}
			})
		})
	}
}
