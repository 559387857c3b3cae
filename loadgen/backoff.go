package main

import (
	"math/rand/v2"
	"time"
)

// backoff is how long a client whose connection ended waits before it comes
// again: anything up to least, doubled by every attempt that failed, and at
// most most. Drawing from the whole span is what the SDKs do ("full jitter"):
// ten thousand clients that lose their node together come back one by one.
type backoff struct{ least, most time.Duration }

// on reports whether clients come back at all.
func (b backoff) on() bool { return b.most > 0 }

// wait is how long to wait before the next attempt after so many that failed.
func (b backoff) wait(failed int, chance *rand.Rand) time.Duration {
	span := b.least << min(failed, 20)
	if span <= 0 || span > b.most {
		span = b.most
	}
	return time.Duration(chance.Int64N(int64(span) + 1))
}

// comesBack reports whether a client may come again after an end with this
// close code: the protocol keeps 3500 to 3999 and 4500 to 4999 for ends that
// another attempt would not change.
func comesBack(code uint16) bool {
	return !(code >= 3500 && code < 4000 || code >= 4500 && code < 5000)
}
