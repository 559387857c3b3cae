package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// session is one run of a scenario: the fleet, the report that grows, and
// what to measure it against.
type session struct {
	env    environment
	target *target
	fleet  *fleet
	tell   *progress
	report *report
	began  usage // the server before the first connection
	own    usage // ourselves then

	exporter   *exporter // nil: nobody asked
	times      *times    // of all measured messages; nil: there were none
	phaseTimes []times   // of each phase, where there are phases
	lastOpen   int64     // when there was last a connection, clock ns
}

func newSession(env environment, t *target, scenario string, setup any, l layout, payload sizes, more ...func(*fleetConfig)) (*session, error) {
	cfg, err := t.config(l, payload)
	if err != nil {
		return nil, err
	}
	for _, set := range more {
		set(&cfg)
	}
	s := &session{env: env, target: t, own: ownUsage()}
	s.tell = newProgress(env.stderr, s.server)
	if t.ServerPid > 0 {
		if s.began, err = processUsage(t.ServerPid); err != nil {
			return nil, usageError(fmt.Sprintf("--server-pid: %v", err))
		}
	}
	if s.fleet, err = newFleet(cfg); err != nil {
		return nil, err
	}
	if t.Prometheus != "" {
		if s.exporter, err = startExporter(t.Prometheus, s.tell); err != nil {
			s.fleet.close()
			return nil, usageError(fmt.Sprintf("--prometheus: %v", err))
		}
	}
	s.report = &report{Scenario: scenario, Run: s.fleet.run, Began: time.Now(), Setup: setup}
	s.report.Connections.Wanted = l.conns
	return s, nil
}

// server reads the server's usage; zeros when it was not asked for, or has
// died, which the report tells in other ways.
func (s *session) server() usage {
	if s.target.ServerPid == 0 {
		return usage{}
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
	now, err := s.fleet.watch(s.env.ctx, limit, s.tell, func(c *snapshot) bool { return c.settled() >= uint64(last) })
	if err != nil {
		s.report.Interrupted = true
	}
	s.report.Connections.Seconds += float64(now.at-began) / 1e9
	return err
}

// hold waits, telling of progress, for at most d. It ends early when no
// connection is left; interrupted says that it was cancelled.
func (s *session) hold(d time.Duration) (now snapshot, interrupted bool) {
	now, err := s.fleet.watch(s.env.ctx, d, s.tell, s.deserted)
	if err != nil {
		s.report.Interrupted = true
	}
	return now, err != nil
}

// giveUp is how long a run in which clients come back goes on without any.
const giveUp = 30 * time.Second

// fault writes down a reason for exit code 1.
func (s *session) fault(text string) {
	s.report.Faults = append(s.report.Faults, text)
	s.report.Expected = append(s.report.Expected, text)
}

// deserted reports whether no connection is left, or is likely to come back.
func (s *session) deserted(now *snapshot) bool {
	if now.open() > 0 {
		s.lastOpen = now.at
		return false
	}
	return !s.fleet.comeback.on() || s.lastOpen > 0 && now.at-s.lastOpen > int64(giveUp)
}

// drain ends the talking, waits until everything has arrived, and closes the
// books.
func (s *session) drain(limit time.Duration) {
	s.fleet.talk(nil)
	ctx := s.env.ctx
	if ctx.Err() != nil {
		// Interrupted: what was sent is still worth waiting for a moment.
		ctx, limit = context.WithoutCancel(ctx), min(limit, time.Second)
	}
	s.fleet.settle(ctx, limit, s.tell)
	s.fleet.end()
}

// finish closes the fleet, completes the report and hands it out.
func (s *session) finish(setup func(*report)) error {
	f, r := s.fleet, s.report
	rec := f.recorded()
	seconds := time.Since(f.clock.base).Seconds()
	own := ownUsage()
	f.close()
	c := &r.Connections
	c.Joined, c.Failed, c.Closed = rec.Joined, rec.Failed, rec.Closed
	c.Retried, c.Rejoined, c.Unrecovered = rec.Retried, rec.Rejoined, rec.Unrecovered
	c.TCP, c.Handshake = rec.tcp.quantiles(), rec.handshake.quantiles()
	c.Connect, c.Subscribe = rec.connect.quantiles(), rec.subscribe.quantiles()
	c.Refresh = rec.refresh.quantiles()
	c.Recovery, c.Away = rec.recovery.quantiles(), rec.away.quantiles()
	c.Errors, c.Closes, c.Unsubs = newCodes(rec.errors), newCodes(rec.closes), newCodes(rec.unsubs)
	if err := f.firstDialError(); err != nil {
		c.DialError = err.Error()
	}
	rec.lag.merge(rec.lifeLag)
	r.Tool = tool{CPU: (own.CPU - s.own.CPU).Seconds(), Seconds: seconds, Loops: len(f.workers),
		Lag: rec.lag.quantiles(), RSS: own.RSS, RSSAnon: own.RSSAnon}
	s.tell.end()
	if s.exporter != nil {
		s.exporter.stop()
	}
	if s.times == nil {
		s.times = &rec.now
	}
	all := measured(rec, s.times)
	for i := range all {
		r.Curves = append(r.Curves, all[i].curve())
	}
	r.Timeline = s.tell.timeline
	if setup != nil {
		setup(r)
	}
	r.judge()
	return s.env.handOut(s.target, &outcome{r, all, s.phaseTimes})
}

// handOut gives a report to everybody who asked for it. The error is what the
// exit code tells.
func (env environment) handOut(t *target, o *outcome) error {
	r := o.report
	if env.keep != nil {
		env.keep(o)
	}
	err := errors.Join(writeTable(env.stdout, r), t.save(r, o.series))
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
func (s *session) checked(sample int) *check {
	lost, surplus := s.fleet.missing()
	k := &check{counts: s.fleet.counts().counts, Lost: lost, Sample: sample}
	k.Duplicated += surplus
	k.Away = s.fleet.away()
	k.ComesBack = s.fleet.comeback.on()
	k.Unanswered = k.unanswered()
	return k
}
