package limits

import "time"

// Rate allows Burst units at once and one more every Interval. The zero Rate
// allows everything.
type Rate struct {
	Interval time.Duration // between units at the sustained rate
	Burst    int
}

// PerSecond is the Rate of n units a second, with a burst of that many
// seconds' worth. n 0 stands for no limit.
func PerSecond(n int, burst time.Duration) Rate {
	if n <= 0 {
		return Rate{}
	}
	interval := time.Second / time.Duration(n)
	return Rate{Interval: max(interval, 1), Burst: max(1, int(burst/max(interval, 1)))}
}

// Bucket is the state of a Rate: the theoretical arrival time of the generic
// cell rate algorithm (ITU-T I.371), in nanoseconds of any monotonic clock.
// Its zero value is full of credit.
type Bucket int64

// Take spends units at the time now, or spends nothing and returns false.
func (b *Bucket) Take(r Rate, now time.Duration, units int) bool {
	if r.Interval == 0 || units <= 0 {
		return true
	}
	tat := max(int64(*b), int64(now)) + int64(units)*int64(r.Interval)
	if tat-int64(now) > int64(r.Burst)*int64(r.Interval) {
		return false
	}
	*b = Bucket(tat)
	return true
}
