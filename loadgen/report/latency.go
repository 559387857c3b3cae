package report

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency is a histogram of times: 1 µs to 10 min, to three digits. What is
// outside counts as the nearest of these.
type Latency struct{ h *hdrhistogram.Histogram }

const maxLatency = 10 * time.Minute

// NewLatency is an empty one.
func NewLatency() Latency {
	return Latency{hdrhistogram.New(int64(time.Microsecond), int64(maxLatency), 3)}
}

// Record counts one time.
func (l Latency) Record(ns int64) {
	// Within its bounds a histogram takes every value.
	_ = l.h.RecordValue(min(max(ns, 0), int64(maxLatency)))
}

// Merge adds another.
func (l Latency) Merge(from Latency) { l.h.Merge(from.h) } // of the same bounds: drops nothing

// Reset empties it; Empty reports whether it is.
func (l Latency) Reset()      { l.h.Reset() }
func (l Latency) Empty() bool { return l.h.TotalCount() == 0 }

// Quantiles is what a report says of a latency. Times are in microseconds.
type Quantiles struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_us"`
	P90   float64 `json:"p90_us"`
	P99   float64 `json:"p99_us"`
	P999  float64 `json:"p99_9_us"`
	P9999 float64 `json:"p99_99_us"`
	Max   float64 `json:"max_us"`
}

// Quantiles reads them off.
func (l Latency) Quantiles() Quantiles {
	at := func(q float64) float64 { return float64(l.h.ValueAtQuantile(q)) / 1e3 }
	return Quantiles{l.h.TotalCount(), at(50), at(90), at(99), at(99.9), at(99.99), at(100)}
}

// Short writes microseconds in the unit a person would choose.
func Short(us float64) string {
	switch {
	case us == 0:
		return "0"
	case us < 1e3:
		return fmt.Sprintf("%.0fµs", us)
	case us < 1e4:
		return fmt.Sprintf("%.2fms", us/1e3)
	case us < 1e6:
		return fmt.Sprintf("%.1fms", us/1e3)
	}
	return fmt.Sprintf("%.2fs", us/1e6)
}

// Broken says why a promise about the p99 was not kept: it is above most, or there is
// nothing that it could be the p99 of. Empty: it was kept, or most is 0 and there is
// no promise.
func (q Quantiles) Broken(what string, most time.Duration) string {
	switch {
	case most <= 0:
		return ""
	case q.Count == 0:
		return what + " p99: nothing was measured"
	case q.P99 > float64(most.Microseconds()):
		return fmt.Sprintf("%s p99 %s is above %s", what, Short(q.P99), most)
	}
	return ""
}
