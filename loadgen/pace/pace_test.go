package pace

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPacer(t *testing.T) {
	ramp := New(Segment{10 * time.Second, 0, 100}) // t²·5 events after t seconds
	spike := New(Segment{time.Second, 10, 10}, Segment{time.Second, 0, 0}, Segment{time.Second, 100, 100})
	for _, c := range []struct {
		name    string
		pacer   Pacer
		elapsed time.Duration
		due     int64
	}{
		{"before the start", Even(1000, 10), -1, 0},
		{"the first at once", Even(1000, 10), 0, 1},
		{"just before the second", Even(1000, 10), time.Millisecond - 1, 1},
		{"the second", Even(1000, 10), time.Millisecond, 2},
		{"late: all that are overdue", Even(1000, 10), 5 * time.Millisecond, 6},
		{"never more than count", Even(1000, 10), time.Hour, 10},
		{"less than one a second", Even(0.1, 10), 19 * time.Second, 2},
		{"no rate", Even(0, 10), time.Hour, 0},
		{"no events", Even(1000, 0), time.Hour, 0},
		{"a ramp begins slowly", ramp, time.Second, 6},
		{"and rises", ramp, 2 * time.Second, 21},
		{"to its end", ramp, time.Hour, 500},
		{"the end of a stretch", spike, time.Second - 1, 10},
		{"a pause", spike, 2*time.Second - 1, 10},
		{"behind it", spike, 2 * time.Second, 11},
		{"at another rate", spike, 2*time.Second + 15*time.Millisecond, 12},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.pacer.Due(c.elapsed); got != c.due {
				t.Fatalf("Due(%v) = %d, want %d", c.elapsed, got, c.due)
			}
		})
	}
}

func draw(t *rapid.T) Pacer {
	if rapid.Bool().Draw(t, "even") {
		return Even(rapid.Float64Range(0.01, 1e7).Draw(t, "rate"), rapid.Int64Range(1, 1e9).Draw(t, "count"))
	}
	rate := rapid.Float64Range(0, 1e6)
	return New(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Segment {
		return Segment{time.Duration(rapid.Int64Range(1e6, 3600e9).Draw(t, "for")), rate.Draw(t, "from"), rate.Draw(t, "to")}
	}), 1, 6).Draw(t, "segments")...)
}

// TestPacerAgrees: event k is due exactly when At(k) has come, and those
// before it are not due later.
func TestPacerAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := draw(t)
		if p.Count() == 0 {
			return
		}
		most := p.Count() - 1
		if len(p.parts) == 1 {
			const year = 365 * 24 * 3600 // no schedule is longer; a time.Duration ends after 292
			most = int64(min(float64(most), p.parts[0].events-1, (p.parts[0].from+1)*year))
		}
		k := rapid.Int64Range(0, max(most, 0)).Draw(t, "k")
		at := p.At(k)
		if got := p.Due(at); got <= k {
			t.Fatalf("Due(At(%d)) = %d", k, got)
		}
		if got := p.Due(at - 1); got > k {
			t.Fatalf("Due(At(%d)-1) = %d", k, got)
		}
		if k > 0 && p.At(k-1) > at {
			t.Fatalf("event %d is due at %v, and the one before it at %v", k, at, p.At(k-1))
		}
	})
}

// TestSegments: as many events as the rates promise, each in its stretch.
func TestSegments(t *testing.T) {
	p := New(Segment{10 * time.Second, 100, 100}, Segment{10 * time.Second, 100, 300}, Segment{5 * time.Second, 300, 0})
	if p.Count() != 1000+2000+750 {
		t.Fatalf("%d events", p.Count())
	}
	for k, want := range map[int64]float64{0: 0, 999: 9.99, 1000: 10, 1750: 15, 3000: 20, 3749: 24.82} {
		if got := p.At(k).Seconds(); math.Abs(got-want) > 0.01*max(1, want/2) {
			t.Errorf("event %d is due after %v s, want %v", k, got, want)
		}
	}
}
