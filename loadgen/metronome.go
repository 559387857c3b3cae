package main

import (
	"runtime"
	"sync/atomic"
	"time"
)

const (
	shortestBeat = 250 * time.Microsecond // faster plans send several messages in a turn
	longestBeat  = 10 * time.Millisecond  // when nothing is planned: how often lag is measured
)

// metronome wakes the event loops when something is due, on the plan's own
// times where these are not too dense: a timer that is late would show in
// every latency, which count from the planned time. The loops compare the first
// beat since their last turn with the time it is; that is their lag.
//
// It sleeps on a thread of its own, to less than the millisecond (sleep).
type metronome struct {
	clock clock
	beat  func(due int64) // wakes the loops; due is clock ns

	// atomic
	plan atomic.Pointer[plan] // what the loops are following; nil: nothing
	also atomic.Pointer[plan] // beside it
	stop atomic.Bool
}

// run beats until stop is set.
func (m *metronome) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for !m.stop.Load() {
		now := m.clock.now()
		next := max(min(m.plan.Load().nextDue(now, longestBeat), m.also.Load().nextDue(now, longestBeat)), now+int64(shortestBeat))
		for left := next - now; left > 0; left = next - m.clock.now() {
			sleep(time.Duration(left))
		}
		m.beat(next)
	}
}
