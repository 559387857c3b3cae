package main

import (
	"math"
	"testing"

	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// A message counts in the phase that it was due in, whether its answer comes before
// anybody has turned the phases, on time, or in all of the phase behind; and no more
// after that.
func TestPhaseOfAMessage(t *testing.T) {
	rec := newRecorder()
	rec.forget(100, 200)
	answer := func(due ...int64) {
		for _, at := range due {
			rec.answered(&inflight{at: at, sent: at}, at+1)
		}
	}
	count := func(name string, times *report.Times, want int64) {
		t.Helper()
		if got := times.Ack.Quantiles().Count; got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	answer(99, 100, 199, 200, 250) // the last two early: this loop was told late
	count("the first phase", &rec.now, 2)
	over := rec.turn(300)
	count("none is over", &over, 0)
	rec.spare = report.NewTimes(0)
	answer(150, 299, 300)
	count("the first phase, which is over", &rec.before, 3)
	count("the second", &rec.now, 3)
	over = rec.turn(math.MaxInt64)
	count("the first phase, for good", &over, 3)
	rec.spare = report.NewTimes(0)
	answer(199, 200, 300, 1<<40)
	count("the second, which is over", &rec.before, 4)
	count("the last", &rec.now, 3)
}
