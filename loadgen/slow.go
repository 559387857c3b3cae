package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/pace"
	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// slowCmd is the scenario `slow`: one member of a room stops reading.
type slowCmd struct {
	target
	Members int           `help:"Members of the room, the slow one included (default ${default})." default:"100" json:"members"`
	Rate    float64       `help:"Messages published a second (default ${default})." default:"400" short:"r" json:"rate"`
	Payload int           `help:"Bytes of a message's data, 96 at least (default ${default})." default:"2000" json:"payload"`
	Buffer  int           `help:"Receive buffer of the slow member, bytes (default ${default})." default:"8192" json:"buffer"`
	Before  time.Duration `help:"Time in which it still reads (default ${default})." default:"5s" json:"before_ns"`
	Stall   time.Duration `help:"Time in which it does not (default ${default})." default:"10s" json:"stall_ns"`
	After   time.Duration `help:"Time of publishing after it has come back (default ${default})." default:"5s" json:"after_ns"`
	Drain   time.Duration `help:"How long to wait at the end for what was published (default ${default})." default:"5s" json:"drain_ns"`
}

func (c *slowCmd) check() error {
	switch {
	case c.Members < 2:
		return usageError("--members must be above 1")
	case c.Rate <= 0 || c.Rate > 1e6:
		return usageError("--rate must be above 0, and at most 1,000,000 messages/s")
	case c.Payload < check.MinPayload || c.Payload > 1<<20:
		return usageError(fmt.Sprintf("--payload must be from %d to %d bytes", check.MinPayload, 1<<20))
	case c.Buffer < 1:
		return usageError("--buffer must be above 0")
	case c.Before <= 0 || c.Stall <= 0 || c.After < 0 || c.Drain < 0:
		return usageError("--before and --stall must be above 0, --after and --drain not below")
	}
	return nil
}

// Run is kong's entry.
func (c *slowCmd) Run(env environment) error {
	if err := c.check(); err != nil {
		return err
	}
	l := inTurn(c.Members-1, 1)
	s, err := newSession(env, &c.target, "slow", c, l, check.Exactly(c.Payload))
	if err != nil {
		return err
	}
	if s.join(0, l.conns) != nil {
		return s.finish(nil)
	}
	f := s.fleet
	ctx, end := context.WithCancel(env.ctx)
	defer end()
	slow := newSleeper(f, &f.rooms[0], c.Buffer)
	go slow.run(ctx) // ends with ctx
	select {
	case <-slow.joined:
	case <-slow.done:
	}

	part := &report.Slow{}
	s.report.Slow = part
	c.phases(s, slow, part)
	wait, cancel := context.WithTimeout(ctx, c.Drain)
	slow.catchUp(wait)
	cancel()
	s.report.Check = s.checked(1)
	end()
	<-slow.done
	part.SlowResult, part.Missing = slow.result, slow.missing()
	return s.finish(nil)
}

// phases publishes, and measures before, while and after the sleeper sleeps.
func (c *slowCmd) phases(s *session, slow *sleeper, part *report.Slow) {
	f := s.fleet
	all := newRecorder()
	// Phases begin and end by the plan: what one is late by is not the next one's.
	at := f.clock.now()
	hold := func(d time.Duration) report.Snapshot {
		at += int64(d)
		now, _ := s.hold(time.Duration(at - f.clock.now()))
		return now
	}
	phase := func(q *report.Quantiles) {
		rec := f.forget(at)
		*q = rec.now.Delivery.Quantiles()
		all.merge(rec)
	}
	from := f.counts()
	count := int64(c.Rate * (c.Before + c.Stall + c.After).Seconds())
	f.talk(&plan{Pacer: pace.Even(c.Rate, count), start: at, layout: &f.layout})
	hold(c.Before)
	phase(&part.Before)
	slow.asleep.Store(true)
	hold(c.Stall)
	phase(&part.During)
	close(slow.wake)
	to := hold(c.After)
	s.drain(c.Drain)
	phase(&part.After)
	s.times = &all.now
	s.report.Messages = report.NewMessages(&from, &to, &all.now)
}

// catchUp waits until the sleeper has everything, or has ended.
func (s *sleeper) catchUp(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for s.missing() > 0 {
		select {
		case <-tick.C:
		case <-s.done:
			return
		case <-ctx.Done():
			return
		}
	}
}
