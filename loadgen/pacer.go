package main

import "time"

// pacer spreads count events evenly: rate of them a second, the first at
// once. It is a pure function of the time elapsed, so a late caller learns
// how much is overdue and the schedule never slips.
type pacer struct {
	rate  float64 // events a second; none are due when it is not positive
	count int64   // events in all
}

// at is when event k is due, counted from the beginning: within 292 years,
// where time.Duration ends.
func (p pacer) at(k int64) time.Duration {
	return time.Duration(float64(k) * float64(time.Second) / p.rate)
}

// due is the number of events whose time has come.
func (p pacer) due(elapsed time.Duration) int64 {
	if elapsed < 0 || p.rate <= 0 {
		return 0
	}
	n := elapsed.Seconds()*p.rate + 1
	if n >= float64(p.count) {
		n = float64(p.count)
	}
	k := int64(n)
	// Multiplying may round another way than at, and the two must agree:
	// k is due exactly when at(k) has come.
	for k < p.count && p.at(k) <= elapsed {
		k++
	}
	for k > 0 && p.at(k-1) > elapsed {
		k--
	}
	return k
}
