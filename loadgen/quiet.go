package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/netpoll"
)

// What is lost, and what is only late, must not depend on how fast a machine is. So
// no wait here is for a time alone: it goes on while things still happen, and before
// something counts as lost every connection has shown that it is quiet, by the answer
// to a ping. TCP keeps the order, so the answer comes behind what the server had
// written before. When anything came in the meantime, it all begins again.

const (
	watchEvery = 20 * time.Millisecond

	// pongWait is how long a server may take for the answer to a ping before the
	// run says that nothing is known of that connection.
	pongWait = time.Minute
)

// longestDrain is when waiting ends although something still happens: a server
// that sends one message for ever would keep the tool for ever.
func longestDrain(still time.Duration) time.Duration { return 10*still + time.Minute }

// finish waits until every message that is due by now is on its way: a loop that is
// late at the end of a plan has some left. It gives up when none left for a time.
func (f *fleet) finish(ctx context.Context, still time.Duration, tell *progress) {
	end := f.clock.now()
	_, _ = f.persist(ctx, 0, still, tell, func(*report.Snapshot) bool { // what is not sent by then, the plan is without
		var behind atomic.Bool
		f.ask(func(w *worker) {
			if w.talking.due(end) || w.scrolling.due(end) {
				behind.Store(true)
			}
		})
		return !behind.Load()
	})
}

// settle waits until every message was answered and has arrived, or nobody is left to
// get it, or nothing more will come: nothing has happened for a time, and every
// connection is known to be quiet. It returns how many are not.
func (f *fleet) settle(ctx context.Context, still, pong time.Duration, tell *progress) (unquiet uint64) {
	return f.calm(ctx, still, pong, tell, func(s *report.Snapshot) bool {
		if s.Open() == 0 && !f.comeback.on() {
			return true
		}
		if s.Pending() > 0 || s.Open()+s.Gone < s.Joined {
			return false
		}
		missing, _ := f.missing()
		return missing == 0 && f.unsettled() == 0
	})
}

// calm waits until done says so, or nothing more will come.
func (f *fleet) calm(ctx context.Context, still, pong time.Duration, tell *progress, done func(*report.Snapshot) bool) (unquiet uint64) {
	for end := time.Now().Add(longestDrain(still)); ; {
		before, err := f.persist(ctx, 0, still, tell, done)
		if err != nil || done(&before) {
			return 0 // an interrupted wait is like one in which nothing came: the counts tell
		}
		f.probe()
		after, err := f.watch(ctx, pong, tell, func(s *report.Snapshot) bool { return f.probed() == 0 || done(s) })
		switch {
		case err != nil || done(&after):
			return 0
		case f.probed() > 0:
			return f.probed()
		case steady(&after) == steady(&before):
			return 0
		case time.Now().After(end):
			return after.Open()
		}
	}
}

// steady are the counts that change when something has come or was sent. A client that
// tries in vain to come back does neither.
func steady(s *report.Snapshot) report.Counts {
	c := s.Counts
	c.Retried = 0
	return c
}

// probe pings every member that reads.
func (f *fleet) probe() {
	f.ask(func(w *worker) {
		w.probes = map[*netpoll.Conn]struct{}{}
		w.clients(func(c *client) {
			if c.state == joined && !c.deaf() && c.conn.Open() {
				w.probes[c.conn] = struct{}{}
				c.conn.Ping()
			}
		})
	})
}

// probed is the number of connections whose answer has not come, and of clients on
// their way back.
func (f *fleet) probed() uint64 {
	var n atomic.Uint64
	f.ask(func(w *worker) {
		n.Add(uint64(len(w.probes)))
		w.clients(func(c *client) {
			if c.state == dialling || c.state == joining {
				n.Add(1)
			}
		})
	})
	return n.Load()
}

// Ponged implements netpoll.Ponger.
func (c *client) Ponged(conn *netpoll.Conn) { delete(c.worker.probes, conn) }

// unsettled is the number of connections that are in a spell, or were a moment ago, and of
// pages that were asked for.
func (f *fleet) unsettled() (n int) {
	var mu sync.Mutex
	f.ask(func(w *worker) {
		mu.Lock()
		defer mu.Unlock()
		n += len(w.spells) + len(w.questions)
	})
	return n
}

// watch waits until done says so, for at most limit. It returns early, with
// the context's error, when that is cancelled.
func (f *fleet) watch(ctx context.Context, limit time.Duration, tell *progress, done func(*report.Snapshot) bool) (report.Snapshot, error) {
	return f.persist(ctx, limit, 0, tell, done)
}

// persist is watch that goes on, beyond limit, until nothing has happened for a time.
func (f *fleet) persist(ctx context.Context, limit, still time.Duration, tell *progress, done func(*report.Snapshot) bool) (report.Snapshot, error) {
	began := time.Now()
	deadline, end := began.Add(max(limit, still)), began.Add(limit+longestDrain(still))
	var last report.Counts
	for {
		s := f.counts()
		tell.now(&s)
		if now := steady(&s); still > 0 && now != last {
			last = now
			if later := time.Now().Add(still); later.After(deadline) && later.Before(end) {
				deadline = later
			}
		}
		if done(&s) || !time.Now().Before(deadline) {
			return s, nil
		}
		wait := time.NewTimer(min(watchEvery, time.Until(deadline)))
		select {
		case <-ctx.Done():
			wait.Stop()
			return s, ctx.Err()
		case <-wait.C:
		}
	}
}
