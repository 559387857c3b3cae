package contact

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

var (
	errFull = errors.New("OOM command not allowed")
	errDial = errors.New("connection refused")
)

func TestStates(t *testing.T) {
	type step struct {
		after  time.Duration
		report func(*Contact)
		want   State
	}
	refused := func(c *Contact) { c.Refused(errFull) }
	failed := func(c *Contact) { c.Failed(errDial) }
	nothing := func(*Contact) {}
	for _, tc := range []struct {
		name  string
		steps []step
		lines int
	}{
		{"nothing was asked", []step{{time.Hour, nothing, Answers}}, 0},
		{"an error is an answer", []step{{0, refused, Refuses}, {time.Minute, refused, Refuses}}, 1},
		{"reads do not end a refusal", []step{{0, refused, Refuses}, {time.Second, (*Contact).Heard, Refuses}}, 1},
		{"a write does", []step{{0, refused, Refuses}, {time.Minute, (*Contact).Wrote, Answers}}, 2},
		{"one broken connection is no outage", []step{{0, failed, Answers}, {time.Second / 2, (*Contact).Heard, Answers}, {time.Hour, failed, Answers}}, 0},
		{"silence", []step{{0, failed, Answers}, {time.Second, failed, Silent}, {time.Minute, (*Contact).Wrote, Answers}}, 2},
		{"silence is seen without another call", []step{{0, failed, Answers}, {2 * time.Second, nothing, Silent}}, 1},
		{"silent, then refuses, then answers", []step{
			{0, failed, Answers}, {2 * time.Second, nothing, Silent}, {time.Minute, refused, Refuses}, {time.Minute, (*Contact).Wrote, Answers},
		}, 3},
		{"refuses, then silent", []step{{0, refused, Refuses}, {time.Minute, failed, Refuses}, {time.Second, nothing, Silent}, {time.Minute, (*Contact).Heard, Refuses}}, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.InfoLevel)
				c := New(Config{Name: "redis", Log: zap.New(core)})
				for i, s := range tc.steps {
					time.Sleep(s.after)
					s.report(c)
					got := c.Status()
					if got.State != s.want {
						t.Errorf("step %d: %v, want %v", i, got.State, s.want)
					}
					if (got.State == Answers) != (got.Err == nil && got.Since.IsZero()) {
						t.Errorf("step %d: %+v", i, got)
					}
					if problem := got.Problem("redis"); (problem == nil) != (got.State == Answers) || problem != nil && !errors.Is(problem, got.Err) {
						t.Errorf("step %d: %v", i, problem)
					}
				}
				if logs.Len() != tc.lines {
					t.Errorf("%d lines, want %d: %v", logs.Len(), tc.lines, logs.All())
				}
			})
		})
	}
}

// A back end that takes one write and refuses the next must not fill the log,
// and its last state has to be in it.
func TestChangesAreLoggedSparsely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		c := New(Config{Name: "redis", Log: zap.New(core)})
		for range 10_000 { // 20 s
			c.Refused(errFull)
			time.Sleep(time.Millisecond)
			c.Wrote()
			time.Sleep(time.Millisecond)
		}
		if n := logs.Len(); n < 2 || n > 5 {
			t.Errorf("%d lines in 20 s", n)
		}
		time.Sleep(quiet)
		c.Status()
		all := logs.All()
		if last := all[len(all)-1]; last.Message != "back end answers again" {
			t.Errorf("the last line is %q", last.Message)
		}
		before := logs.Len()
		time.Sleep(time.Hour)
		c.Status()
		if logs.Len() != before {
			t.Error("a line without a change")
		}
	})
}

func TestReportingIsCheap(t *testing.T) {
	c := New(Config{Name: "redis"})
	if n := testing.AllocsPerRun(100, func() { c.Heard(); c.Wrote(); c.Status() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
