package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// progress follows a run while it goes on: a line a second, which on a
// terminal takes the place of the last, and the timeline. A nil progress is
// silent and remembers nothing.
type progress struct {
	out      io.Writer
	terminal bool
	zero     int64                   // when the run began, clock ns
	recent   func() report.Quantiles // of deliveries since it was last asked
	server   func() report.Usage
	pass     func(*report.Snapshot) // is told, too; nil: nobody
	total    time.Duration          // of the phases; 0: unknown
	began    int64                  // of the phases, clock ns
	phase    string

	last     report.Snapshot
	timeline []report.Second

	// atomic
	latest atomic.Pointer[report.Snapshot] // for who asks from another goroutine
}

func newProgress(out io.Writer, zero int64, recent func() report.Quantiles, server func() report.Usage) *progress {
	p := &progress{out: out, zero: zero, recent: recent, server: server}
	if f, ok := out.(*os.File); ok {
		_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ) // what else has a window?
		p.terminal = err == nil
	}
	return p
}

// now is called often and does something when a second has passed.
func (p *progress) now(s *report.Snapshot) {
	if p == nil || s.At-p.last.At < int64(time.Second) {
		return
	}
	s.Own, s.Server = ownUsage(), p.server()
	if p.last.At > 0 {
		s.Recent = p.recent()
		point := report.NewSecond(&p.last, s, p.zero)
		point.Phase = p.phase
		if len(p.timeline) < report.MaxSeconds {
			p.timeline = append(p.timeline, point)
		}
		p.write(p.line(s))
	}
	p.last = *s
	latest := *s
	p.latest.Store(&latest)
	if p.pass != nil {
		p.pass(&latest)
	}
}

// write shows a line; one that is lost changes nothing.
func (p *progress) write(line string) {
	if !p.terminal {
		fmt.Fprintln(p.out, line)
		return
	}
	if size, err := unix.IoctlGetWinsize(int(p.out.(*os.File).Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
		line = line[:min(len(line), int(size.Col)-1)]
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s", line)
}

// end leaves the terminal on a fresh line.
func (p *progress) end() {
	if p.terminal && p.last.At > 0 {
		fmt.Fprint(p.out, "\r\x1b[K") // a lost line changes nothing
	}
}

// bar shows how much of the phases is over.
func (p *progress) bar(now int64) string {
	if p.total <= 0 {
		return ""
	}
	const cells = 10
	done := min(1, max(0, float64(now-p.began)/float64(p.total)))
	full := int(done * cells)
	return fmt.Sprintf("[%s%s] %s  ", strings.Repeat("#", full), strings.Repeat(".", cells-full), p.phase)
}

func (p *progress) line(s *report.Snapshot) string {
	seconds := float64(s.At-p.last.At) / 1e9
	per := func(now, then uint64) float64 { return float64(now-then) / seconds }
	line := fmt.Sprintf("%4.0fs  %s%d connections", float64(s.At-p.zero)/1e9, p.bar(s.At), s.Open())
	if s.Settled() > p.last.Settled() {
		line += fmt.Sprintf("  +%.0f/s", per(s.Joined, p.last.Joined))
	}
	if s.Failed > 0 {
		line += fmt.Sprintf("  %d failed", s.Failed)
	}
	if s.Closed > 0 {
		line += fmt.Sprintf("  %d closed", s.Closed)
	}
	if s.Rejoined > 0 {
		line += fmt.Sprintf("  %d came back", s.Rejoined)
	}
	if s.Sent > 0 {
		line += fmt.Sprintf("  sent %.0f/s  acked %.0f/s  delivered %.0f/s", per(s.Sent, p.last.Sent),
			per(s.Acked, p.last.Acked), per(s.Delivered, p.last.Delivered))
		if s.Recent.Count > 0 {
			line += fmt.Sprintf("  p50 %s p99 %s", report.Short(s.Recent.P50), report.Short(s.Recent.P99))
		}
		line += fmt.Sprintf("  unanswered %d", s.Pending())
	}
	if n := s.Refused + s.Unsent; n > 0 {
		line += fmt.Sprintf("  refused or unsent %d", n)
	}
	if n := s.Duplicated + s.Reordered + s.Unexpected; n > 0 {
		line += fmt.Sprintf("  FAULTS %d", n)
	}
	return line
}
