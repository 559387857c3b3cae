// Package pace says how many things are due after so much time: an open-loop
// schedule as a pure function of the time elapsed, so that a late caller
// learns how much is overdue and the schedule never slips.
package pace

import (
	"math"
	"sort"
	"time"
)

// Segment is a stretch of time in which the rate goes evenly from one value to
// another, both in events a second.
type Segment struct {
	For      time.Duration
	From, To float64
}

// Pacer is a schedule of events, made of segments that follow one another. The
// first event is due at once. The zero Pacer has none.
type Pacer struct {
	parts []part
	count int64
}

// part is a segment with what lies before it.
type part struct {
	begin  time.Duration
	first  float64 // events before it
	from   float64 // events a second at its beginning
	slope  float64 // events a second, each second
	length float64 // seconds
	events float64 // in it
}

// New makes a Pacer of segments.
func New(segments ...Segment) Pacer {
	var p Pacer
	var begin time.Duration
	var first float64
	for _, s := range segments {
		length := s.For.Seconds()
		if length <= 0 {
			continue
		}
		q := part{begin, first, s.From, (s.To - s.From) / length, length, (s.From + s.To) / 2 * length}
		p.parts = append(p.parts, q)
		begin += s.For
		first += q.events
	}
	// What rounding took from a whole number is given back.
	p.count = int64(math.Floor(first + 1e-6))
	return p
}

// Even is a Pacer of count events, rate of them a second.
func Even(rate float64, count int64) Pacer {
	if rate <= 0 || count <= 0 {
		return Pacer{}
	}
	length := float64(count) / rate
	return Pacer{[]part{{from: rate, length: length, events: float64(count)}}, count}
}

// Count is the number of events in all.
func (p Pacer) Count() int64 { return p.count }

// At is when event k, which must be below Count, is due, counted from the
// beginning: within 292 years, where time.Duration ends.
func (p Pacer) At(k int64) time.Duration {
	x := float64(k)
	i := sort.Search(len(p.parts), func(i int) bool { return p.parts[i].first+p.parts[i].events > x })
	i = min(i, len(p.parts)-1)
	q := &p.parts[i]
	x = max(x-q.first, 0)
	if q.slope == 0 {
		return q.begin + time.Duration(x*float64(time.Second)/q.from)
	}
	// from·t + slope·t²/2 = x, solved in the form that loses no digits.
	t := 2 * x / (q.from + math.Sqrt(max(0, q.from*q.from+2*q.slope*x)))
	if x == 0 {
		t = 0
	}
	return q.begin + time.Duration(min(t, q.length)*float64(time.Second))
}

// Due is the number of events whose time has come.
func (p Pacer) Due(elapsed time.Duration) int64 {
	if elapsed < 0 || p.count == 0 {
		return 0
	}
	i := sort.Search(len(p.parts), func(i int) bool { return p.parts[i].begin > elapsed }) - 1
	q := &p.parts[i]
	t := min((elapsed - q.begin).Seconds(), q.length)
	n := q.first + q.from*t + q.slope*t*t/2 + 1
	if n >= float64(p.count) {
		n = float64(p.count)
	}
	k := int64(n)
	// Multiplying may round another way than At, and the two must agree:
	// k is due exactly when At(k) has come.
	for k < p.count && p.At(k) <= elapsed {
		k++
	}
	for k > 0 && p.At(k-1) > elapsed {
		k--
	}
	return k
}
