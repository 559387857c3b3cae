package main

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// pulse is how far a crew is: the latest that each worker has told.
type pulse struct {
	mu     sync.Mutex
	latest []report.Snapshot // by worker
}

func (p *pulse) hear(i int, s *report.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest[i] = *s
}

// sum is what all have done together.
func (p *pulse) sum(at int64) *report.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := &report.Snapshot{At: at}
	for i := range p.latest {
		sum.Add(&p.latest[i].Counts)
		sum.BytesIn += p.latest[i].BytesIn
	}
	return sum
}

// recent is the latency of deliveries in the worker where it is highest: there
// are no histograms to be added up.
func (p *pulse) recent() (worst report.Quantiles) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.latest {
		q := &p.latest[i].Recent
		worst.Count += q.Count
		worst.P50, worst.P99, worst.Max = max(worst.P50, q.P50), max(worst.P99, q.P99), max(worst.Max, q.Max)
	}
	return worst
}

// lookEvery is how often the coordinator looks whether there is something to
// tell.
const lookEvery = 200 * time.Millisecond

func (c *coordinator) look() { c.progress.now(c.pulse.sum(c.clock.now())) }

// await waits for so many workers to have their connections.
func (c *coordinator) await(ctx context.Context, arrived <-chan struct{}, n int) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for n > 0 {
		select {
		case <-arrived:
			n--
		case <-tick.C:
			c.look()
		case <-ctx.Done():
			return
		}
	}
}

// beside does, while the workers play, what is done once: the commands of the
// phases, looking at the server when what is measured begins and ends, and
// telling of it all.
func (c *coordinator) beside(at int64, u *usages, over <-chan struct{}) {
	until := func(at int64) bool { // false: the workers have ended before
		for {
			left := time.Duration(at - c.clock.now())
			if left <= 0 {
				return true
			}
			select {
			case <-time.After(min(left, lookEvery)):
				c.look()
			case <-over:
				return false
			}
		}
	}
	if !until(at) {
		return
	}
	c.progress.began, c.progress.total = at, c.scenario.Total()
	round, measuring := 0, false
	for i := range c.scenario.Phases {
		ph := &c.scenario.Phases[i]
		if ph.Measured() && !measuring {
			measuring, u.from = true, c.server()
		}
		c.progress.phase = ph.Name
		done := func() error { return nil }
		if ph.Do != nil {
			if len(ph.Do.Command) > 0 {
				done = command(c.env, ph.Do.Command, round)
			}
			round++
		}
		at += int64(ph.For.Value)
		more := until(at)
		if err := done(); err != nil {
			c.faults = append(c.faults, fmt.Sprintf("%s: %v", ph.Name, err))
		}
		if ph.Measured() {
			u.to = c.server()
		}
		if !more {
			return
		}
	}
	until(math.MaxInt64) // what was published still has to arrive
}

func (c *coordinator) failed(i int, err error) error {
	return fmt.Errorf("worker %d (%s): %w", i, c.workers[i], err)
}
