package main

import (
	"fmt"
	"io"
	"time"
)

// progress tells of a run while it goes on: a line a second. A nil progress
// is silent.
type progress struct {
	out  io.Writer
	last snapshot
}

// now is called often and writes when a second has passed.
func (p *progress) now(f *fleet, s *snapshot) {
	if p == nil || s.at-p.last.at < int64(time.Second) {
		return
	}
	if p.last.at > 0 {
		s.recent = f.recent()
		p.line(f, s)
	}
	p.last = *s
}

func (p *progress) line(f *fleet, s *snapshot) {
	seconds := float64(s.at-p.last.at) / 1e9
	per := func(now, then uint64) float64 { return float64(now-then) / seconds }
	line := fmt.Sprintf("%4.0fs  %d connections", float64(s.at-f.clock.unix)/1e9, s.open())
	if s.settled() > p.last.settled() {
		line += fmt.Sprintf("  +%.0f/s", per(s.Joined, p.last.Joined))
	}
	if s.Failed > 0 {
		line += fmt.Sprintf("  %d failed", s.Failed)
	}
	if s.Closed > 0 {
		line += fmt.Sprintf("  %d closed", s.Closed)
	}
	if s.Sent > 0 {
		line += fmt.Sprintf("  sent %.0f/s  acked %.0f/s  delivered %.0f/s", per(s.Sent, p.last.Sent),
			per(s.Acked, p.last.Acked), per(s.Delivered, p.last.Delivered))
		if s.recent.Count > 0 {
			line += fmt.Sprintf("  p50 %s p99 %s", short(s.recent.P50), short(s.recent.P99))
		}
		line += fmt.Sprintf("  unanswered %d", s.unanswered())
	}
	if n := s.Refused + s.Unsent; n > 0 {
		line += fmt.Sprintf("  refused or unsent %d", n)
	}
	if n := s.Duplicated + s.Reordered + s.Unexpected; n > 0 {
		line += fmt.Sprintf("  FAULTS %d", n)
	}
	fmt.Fprintln(p.out, line) // a lost line of progress changes nothing
}
