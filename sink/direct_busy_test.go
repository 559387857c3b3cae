package sink

import (
	"context"
	"errors"
	"fmt"
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

// A batch that has gone without an answer is not given up for a lock: what holds the
// lock may be the attempt that nobody answered, and that may be stored in the end.
func TestDirectBusyAfterUnknown(t *testing.T) {
	readOnly := fmt.Errorf("%w: %w", ErrUnavailable, ErrRefused)
	for name, test := range map[string]struct {
		script []error
		want   error
	}{
		"no answer, then a lock":   {[]error{ErrUnavailable, ErrUnavailable, ErrUnavailable, ErrUnavailable, ErrBusy, ErrBusy, ErrBusy, ErrBusy}, nil},
		"a refusal, then a lock":   {[]error{readOnly, ErrBusy, ErrBusy, ErrBusy}, ErrBusy},
		"no answer, then bad data": {[]error{ErrUnavailable, ErrData}, ErrData},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &fakeAppender{script: test.script}
				d := NewDirect(a, DirectConfig{})
				var got error
				mustSubmit(t, d, message("1"), func(err error) { got = err })
				mustClose(t, d)
				if !errors.Is(got, test.want) {
					t.Errorf("after %d attempts: %v, want %v", a.calls, got, test.want)
				}
			})
		})
	}
}

// A batch that has gone without an answer is not said to be refused when the writer ends,
// whatever the database has answered since.
func TestDirectEndsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := []error{ErrUnavailable}
		for range 1000 {
			script = append(script, fmt.Errorf("%w: %w", ErrUnavailable, ErrRefused))
		}
		refusal := errors.New("refused")
		d := NewDirect(&fakeAppender{script: script}, DirectConfig{Refusal: refusal})
		told := make(chan error, 1)
		mustSubmit(t, d, message("1"), func(err error) { told <- err })
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := d.Close(ctx); err == nil {
			t.Error("closed, with a message left")
		}
		if err := <-told; errors.Is(err, refusal) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("a message that may be stored: %v", err)
		}
	})
}
