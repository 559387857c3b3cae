// Package contact holds one notion of contact with a back end: it answers, it
// refuses writes, or it is silent. Readiness, metrics, log lines, isolation and
// admission all follow from it, so that they cannot disagree.
//
// An answer that is an error is contact. A server that is out of memory, that
// has become read-only or whose disk is full is Refuses and never Silent: it
// still serves reads, and those who listen to it miss nothing.
//
// The package's nouns are Contact and State. It runs no goroutine: a Contact
// changes when somebody reports the outcome of a call, and is looked at by
// whoever asks. Who owns a back end keeps asking it (a heartbeat, a probe), so
// that an outage ends without anybody's traffic.
package contact

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// State is what a back end did when it was last asked.
type State uint8

const (
	Answers State = iota // it answers, and takes writes
	Refuses              // it answers, and refuses writes
	Silent               // it does not answer
)

// States are all of them, for metrics.
var States = [...]State{Answers, Refuses, Silent}

func (s State) String() string {
	switch s {
	case Answers:
		return "answers"
	case Refuses:
		return "refuses"
	case Silent:
		return "silent"
	}
	return "unknown"
}

// Status is a State with its reason.
type Status struct {
	State State
	Since time.Time // of the first call that showed it; zero for Answers
	Err   error     // of the latest call that showed it; nil for Answers
}

// Problem returns nil for a back end that answers, and else an error of one
// line for readiness probes.
func (s Status) Problem(name string) error {
	switch s.State {
	case Refuses:
		return fmt.Errorf("%s refuses writes: %w", name, s.Err)
	case Silent:
		return fmt.Errorf("%s does not answer: %w", name, s.Err)
	}
	return nil
}

// Config describes a back end. The zero value of a number means its default.
type Config struct {
	Name string // as operators know it: "redis", "kafka", "mysql", "sqlite"

	// Patience is how long calls have to fail without any answer before the
	// back end is Silent, default 1 s. One broken connection is no outage.
	Patience time.Duration

	Log *zap.Logger // one line for each change of state; nil: none
}

const (
	defaultPatience = time.Second

	// quiet is the shortest time between two lines: a back end that takes one
	// write and refuses the next changes its state with every call.
	quiet = 5 * time.Second
)

// Contact is what is known of one back end. All methods may be called
// concurrently and never block. While the back end answers, reporting an
// outcome is one atomic load.
type Contact struct {
	cfg Config // immutable
	now func() time.Time

	troubled atomic.Bool // refused or failing is set

	// Guarded by mu.
	mu       sync.Mutex
	refusing trouble
	failing  trouble
	logged   State     // of the last line
	loggedAt time.Time // zero: no line yet
	began    time.Time // of the outage that the last line was about
}

// trouble is an outage of one kind. It has begun when since is not zero.
type trouble struct {
	since time.Time
	err   error
}

func (t *trouble) note(now time.Time, err error) {
	if t.since.IsZero() {
		t.since = now
	}
	t.err = err
}

// New returns a Contact with a back end that answers until somebody reports
// otherwise.
func New(cfg Config) *Contact {
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Contact{cfg: cfg, now: time.Now}
}

// Name is the back end's.
func (c *Contact) Name() string { return c.cfg.Name }

// Heard reports an answer that says nothing about writes.
func (c *Contact) Heard() {
	if c.troubled.Load() {
		c.update(func(time.Time) { c.failing = trouble{} })
	}
}

// Wrote reports a write that was accepted.
func (c *Contact) Wrote() {
	if c.troubled.Load() {
		c.update(func(time.Time) { c.failing, c.refusing = trouble{}, trouble{} })
	}
}

// Refused reports a write that was answered with an error which is about the
// back end's state and not about what was written.
func (c *Contact) Refused(err error) {
	c.update(func(now time.Time) {
		c.failing = trouble{}
		c.refusing.note(now, err)
	})
}

// Failed reports a call without an answer.
func (c *Contact) Failed(err error) {
	c.update(func(now time.Time) { c.failing.note(now, err) })
}

// Status returns what is known now.
func (c *Contact) Status() Status {
	if !c.troubled.Load() {
		return Status{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	s := c.status(now)
	c.report(now, s)
	return s
}

// State is the State of Status.
func (c *Contact) State() State { return c.Status().State }

// Troubled reports whether the latest calls were refused or not answered, even
// if it is too early to call that a State: then the back end is worth asking
// again soon.
func (c *Contact) Troubled() bool { return c.troubled.Load() }

// update changes what is known, and logs a change of state.
func (c *Contact) update(change func(now time.Time)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	change(now)
	s := c.status(now)
	c.report(now, s)
	// A line that is still to be written keeps Status looking.
	c.troubled.Store(!c.failing.since.IsZero() || !c.refusing.since.IsZero() || c.logged != s.State)
}

// status derives the state. The caller holds mu.
func (c *Contact) status(now time.Time) Status {
	switch {
	case !c.failing.since.IsZero() && now.Sub(c.failing.since) >= c.cfg.Patience:
		return Status{Silent, c.failing.since, c.failing.err}
	case !c.refusing.since.IsZero():
		return Status{Refuses, c.refusing.since, c.refusing.err}
	}
	return Status{}
}

// report writes a line if the state is not that of the last one. The caller
// holds mu.
func (c *Contact) report(now time.Time, s Status) {
	if s.State == c.logged || !c.loggedAt.IsZero() && now.Sub(c.loggedAt) < quiet {
		return
	}
	name := zap.String("backend", c.cfg.Name)
	switch s.State {
	case Refuses:
		c.cfg.Log.Error("back end refuses writes", name, zap.Error(s.Err))
	case Silent:
		c.cfg.Log.Error("back end does not answer", name, zap.Time("since", s.Since), zap.Error(s.Err))
	case Answers:
		c.cfg.Log.Info("back end answers again", name, zap.Duration("after", now.Sub(c.began)))
	}
	if c.logged == Answers {
		c.began = s.Since
	}
	c.logged, c.loggedAt = s.State, now
}
