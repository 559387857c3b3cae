package main

import "time"

// clock tells the time in nanoseconds since 1970, never backwards: a wall
// clock that was read once and then goes by the monotonic one. Times in
// messages can therefore be compared between processes of one machine, and
// between those of several where each is told by how much it is off.
type clock struct {
	base time.Time
	unix int64
}

func newClock(off time.Duration) clock {
	now := time.Now()
	return clock{now, now.UnixNano() + int64(off)}
}

func (c clock) now() int64 { return c.unix + int64(time.Since(c.base)) }
