package main

import (
	"context"
	"encoding/json"
	"sync"
	"time"
)

// offset is how far the clock of a worker is from the coordinator's, measured
// as NTP does: by asking for the time, and taking the middle of the way there
// and back. It is off by half of that way at most.
type offset struct {
	by, off time.Duration // what has to be added to the worker's; how much that may be wrong
}

// ahead is what is added to the worker's clock: nothing where the two may well
// be the same, as those of one machine are.
func (o offset) ahead() time.Duration {
	if o.by.Abs() <= o.off {
		return 0
	}
	return o.by
}

// askings is how often each worker is asked for the time; the quickest answer
// counts.
const askings = 8

// compareClocks measures the clocks of all workers.
func (c *coordinator) compareClocks(ctx context.Context) error {
	c.clocks = make([]offset, len(c.workers))
	errs := make([]error, len(c.workers))
	var wg sync.WaitGroup
	for i := range c.workers {
		wg.Go(func() { c.clocks[i], errs[i] = c.compareClock(ctx, i) }) // ends by itself
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return c.failed(i, err)
		}
	}
	return nil
}

func (c *coordinator) compareClock(ctx context.Context, i int) (best offset, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for k := range askings {
		asked := c.clock.now()
		resp, err := c.post(ctx, i, "/time", nil)
		if err != nil {
			return best, err
		}
		var theirs int64
		err = json.NewDecoder(resp.Body).Decode(&theirs)
		_ = resp.Body.Close() // it has been read
		if err != nil {
			return best, err
		}
		way := c.clock.now() - asked
		if o := (offset{time.Duration(asked + way/2 - theirs), time.Duration(way / 2)}); k == 0 || o.off < best.off {
			best = o
		}
	}
	return best, nil
}

// lead is how long before all begin they are told of it.
func (c *coordinator) lead() time.Duration {
	lead := 50 * time.Millisecond
	for _, o := range c.clocks {
		lead = max(lead, 10*o.off)
	}
	return lead
}

// clockError is the most by which the time of a message from one worker to
// another may be wrong: by what was not known in the beginning, and by what the
// clocks have moved since. Workers on this machine share one clock.
func (c *coordinator) clockError(ctx context.Context) (most time.Duration) {
	began := c.clocks
	if len(c.clocks) == 0 || c.hired {
		return 0
	}
	if c.compareClocks(ctx) != nil {
		c.clocks = began // it is the beginning's that counts
	}
	for i, now := range c.clocks {
		most = max(most, (now.by-began[i].ahead()).Abs()+now.off)
	}
	return most
}
