package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// session is one run of a scenario: the fleet, the report that grows, and
// what to measure it against.
type session struct {
	env    environment
	target *target
	fleet  *fleet
	tell   *progress
	report *report.Report
	began  report.Usage // the server before the first connection
	own    report.Usage // ourselves then

	exporter   *exporter      // nil: nobody asked
	times      *report.Times  // of all measured messages; nil: there were none
	phaseTimes []report.Times // of each phase, where there are phases
	lastOpen   int64          // when there was last a connection, clock ns
	unquiet    uint64         // connections that may still have had something under way at the end
}

func newSession(env environment, t *target, scenario string, setup any, l layout, payload check.Sizes, more ...func(*fleetConfig)) (*session, error) {
	cfg, err := t.config(env, l, payload)
	if err != nil {
		return nil, err
	}
	for _, set := range more {
		set(&cfg)
	}
	s := &session{env: env, target: t, own: ownUsage()}
	if t.ServerPid > 0 {
		if s.began, err = processUsage(t.ServerPid); err != nil {
			return nil, usageError(fmt.Sprintf("--server-pid: %v", err))
		}
	}
	if s.fleet, err = newFleet(cfg); err != nil {
		return nil, err
	}
	s.tell = newProgress(env.stderr, s.fleet.clock.unix, s.fleet.recent, s.server)
	for _, note := range cfg.notes {
		fmt.Fprintln(env.stderr, note) // a lost line changes nothing
	}
	if env.shift != nil {
		s.tell.pass = env.shift.pass
	}
	if t.Prometheus != "" {
		if s.exporter, err = startExporter(t.Prometheus, s.tell); err != nil {
			s.fleet.close()
			return nil, usageError(fmt.Sprintf("--prometheus: %v", err))
		}
	}
	s.report = &report.Report{Scenario: scenario, Run: s.fleet.run, Began: time.Now(), Setup: setup, Notes: cfg.notes}
	s.report.Connections.Wanted = l.conns
	return s, nil
}

// server reads the server's usage; zeros when it was not asked for, or has
// died, which the report tells in other ways.
func (s *session) server() report.Usage {
	if s.target.ServerPid == 0 {
		return report.Usage{}
	}
	u, _ := processUsage(s.target.ServerPid)
	return u
}

// join opens connections up to last and waits until all have joined or
// failed. The error is that the run was interrupted.
func (s *session) join(first, last int) error {
	rate := s.target.ConnectRate
	began := s.fleet.clock.now()
	s.fleet.open(first, last, rate)
	limit := time.Duration(float64(last-first)/rate*1e9) + s.target.JoinTimeout
	// A slow machine has the time that it takes, as long as one after the other joins.
	now, err := s.fleet.persist(s.env.ctx, limit, s.target.JoinTimeout, s.tell, func(c *report.Snapshot) bool { return c.Settled() >= uint64(last) })
	if err != nil {
		s.report.Interrupted = true
	}
	s.report.Connections.Seconds += float64(now.At-began) / 1e9
	return err
}

// hold waits, telling of progress, for at most d. It ends early when no
// connection is left; interrupted says that it was cancelled.
func (s *session) hold(d time.Duration) (now report.Snapshot, interrupted bool) {
	now, err := s.fleet.watch(s.env.ctx, d, s.tell, s.deserted)
	if err != nil {
		s.report.Interrupted = true
	}
	return now, err != nil
}

// giveUp is how long a run in which clients come back goes on without any.
const giveUp = 30 * time.Second

// deserted reports whether no connection is left, or is likely to come back.
func (s *session) deserted(now *report.Snapshot) bool {
	if now.Open() > 0 {
		s.lastOpen = now.At
		return false
	}
	return !s.fleet.comeback.on() || s.lastOpen > 0 && now.At-s.lastOpen > int64(giveUp)
}

// drain ends the talking, waits until everything has arrived or nothing has for so
// long, and closes the books.
func (s *session) drain(limit time.Duration) {
	ctx, pong := s.env.ctx, pongWait
	s.fleet.finish(ctx, limit, s.tell)
	s.fleet.talk(nil)
	s.fleet.scroll(nil)
	if ctx.Err() != nil {
		// Interrupted: what was sent is still worth waiting for a moment.
		ctx, limit, pong = context.WithoutCancel(ctx), min(limit, time.Second), time.Second
	}
	s.unquiet = s.fleet.settle(ctx, limit, pong, s.tell)
	if s.env.shift != nil {
		s.unquiet = max(s.unquiet, s.env.shift.settle(s.fleet, limit, pong, s.tell))
	}
	s.fleet.end()
}

// finish closes the fleet, completes the report and hands it out.
func (s *session) finish(setup func(*report.Report)) error {
	f, r := s.fleet, s.report
	rec := f.recorded()
	seconds := time.Since(f.clock.base).Seconds()
	own := ownUsage()
	f.close()
	c := &r.Connections
	c.Joined, c.Failed, c.Closed = rec.Joined, rec.Failed, rec.Closed
	c.Retried, c.Rejoined, c.Unrecovered = rec.Retried, rec.Rejoined, rec.Unrecovered
	c.TCP, c.Handshake = rec.tcp.Quantiles(), rec.handshake.Quantiles()
	c.Connect, c.Subscribe = rec.connect.Quantiles(), rec.subscribe.Quantiles()
	c.Refresh, c.Page = rec.refresh.Quantiles(), rec.page.Quantiles()
	c.Recovery, c.Away = rec.recovery.Quantiles(), rec.away.Quantiles()
	c.Errors, c.Closes, c.Unsubs = report.NewCodes(rec.errors), report.NewCodes(rec.closes), report.NewCodes(rec.unsubs)
	c.Reasons = report.Codes(rec.reasons)
	c.Stalled, c.Silenced = rec.stalled.report(), rec.silenced.report()
	if err := f.firstDialError(); err != nil {
		c.DialError = err.Error()
	}
	rec.lag.Merge(rec.lifeLag)
	r.Tool = report.Tool{CPU: float64(own.CPU - s.own.CPU), Seconds: seconds, Loops: len(f.workers),
		Lag: rec.lag.Quantiles(), RSS: own.RSS, RSSAnon: own.RSSAnon}
	s.tell.end()
	if s.exporter != nil {
		s.exporter.stop()
	}
	if s.times == nil {
		s.times = &rec.now
	}
	all := measured(rec, s.times)
	for i := range all {
		r.Curves = append(r.Curves, all[i].Curve())
	}
	r.Timeline = s.tell.timeline
	if setup != nil {
		setup(r)
	}
	r.Judge()
	return s.env.handOut(s.target, &report.Outcome{Report: r, Series: all, Phases: s.phaseTimes})
}

// handOut gives a report to everybody who asked for it. The error is what the
// exit code tells.
func (env environment) handOut(t *target, o *report.Outcome) error {
	r := o.Report
	if env.keep != nil {
		env.keep(o)
	}
	err := errors.Join(report.WriteTable(env.stdout, r), t.Save(r, o.Series))
	switch {
	case err != nil:
		return err
	case len(r.Faults) > 0:
		return errFaults
	case len(r.Invalid) > 0 && t.Strict:
		return errInvalid
	}
	return nil
}

// checked sums up the checks at the end of the drain.
func (s *session) checked(sample int) *report.Check {
	lost, surplus := s.fleet.missing()
	k := &report.Check{Counts: s.fleet.counts().Counts, Lost: lost, Sample: sample}
	k.Duplicated += surplus
	k.Away = s.fleet.away()
	k.ComesBack = s.fleet.comeback.on()
	k.Unanswered, k.Unquiet = k.Pending(), s.unquiet
	return k
}
