// Package backoff says how long to wait before something is tried again. Every
// loop that retries takes its pace from here, so that none can spin.
package backoff

import (
	"math/rand/v2"
	"time"
)

const (
	first   = 50 * time.Millisecond
	longest = 2 * time.Second
)

// Wait is how long to wait before the n-th retry, counted from 1: twice as long
// each time up to two seconds, and half of it at random, so that all clients of
// a server that failed do not come back at once.
func Wait(n int) time.Duration {
	wait := min(first<<min(max(n-1, 0), 10), longest)
	return wait/2 + rand.N(wait/2)
}
