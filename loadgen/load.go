package main

import (
	"slices"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/loadgen/check"
)

// load is what a member does that was told to begin anew: it reads the history from
// its last offset to where its new subscription begins, as an application does, and
// holds back what comes live meanwhile. What is not in the history either is lost.
type load struct {
	until uint64 // where the new subscription began
	at    uint64 // how far the history was read
	tries int    // pages asked for
	held  []held // in the order in which it came
}

// held is a publication that came live while its member read the history.
type held struct {
	offset uint64
	data   []byte
}

const (
	maxPages = 200             // read by one load; what is behind them counts as lost
	maxHeld  = 1 << 13         // publications; a member with more lets its connection go, and begins again
	loadWait = time.Second     // before a page is asked for again that was refused
	healing  = 2 * time.Minute // a server that lost something may say so twice: when it did, and when its history is whole again
)

// restart is where a member stood when it was told to begin anew.
type restart struct {
	offset uint64
	at     int64 // clock ns
}

// reload begins to load what c has missed before its new subscription.
func (c *client) reload(until uint64, now int64) {
	w := c.worker
	from := restart{c.offset, now}
	if last, ok := w.restarts[c]; ok && now-last.at < int64(healing) {
		from = last
	}
	w.restarts[c] = from
	if from.offset >= until {
		return
	}
	l := &load{until: until, at: from.offset}
	w.loads[c] = l
	c.askOn(l, now)
}

// askOn asks for the next page.
func (c *client) askOn(l *load, now int64) {
	l.tries++
	c.ask(page{since: l.at, limit: historyPage, due: now, load: l})
}

// loaded takes a page.
func (c *client) loaded(l *load, r *protocol.Reply, now int64) {
	w := c.worker
	if w.loads[c] != l {
		return // it has begun anew since
	}
	if r.History == nil {
		if l.tries < maxPages/10 { // it may be a matter of time
			w.plan(chore{at: now + int64(loadWait), client: c, what: loads, session: c.session, load: l})
			return
		}
		c.finishLoad(l, now)
		return
	}
	before := l.at
	for _, p := range r.History.Publications {
		if p.Offset > l.until {
			break // it comes, or has come, live
		}
		c.found(l, p.Offset, p.Data, now)
	}
	if l.at == before || l.at >= l.until || l.tries >= maxPages {
		c.finishLoad(l, now)
		return
	}
	c.askOn(l, now)
}

// found takes a message of a page.
func (c *client) found(l *load, offset uint64, data []byte, now int64) {
	rec := c.worker.rec
	if offset <= l.at {
		rec.Reordered++
		return
	}
	l.at = offset
	p, ok := check.ParsePayload(data, c.worker.fleet.run, c.worker.fleet.payload)
	if !ok {
		rec.Unexpected++
		return
	}
	v, got := c.part.Load(&c.reader, check.Entry{Offset: offset, ID: p.ID()})
	rec.Fault(v)
	c.part.trail.See(check.Entry{Offset: offset, ID: p.ID()})
	if got {
		rec.Loaded++
		rec.Delivered++
		rec.delivered(&p, now, true, false)
		if p.Publisher == c.number() {
			c.own.see(p.N)
		}
	}
}

// finishLoad goes on with what came live.
func (c *client) finishLoad(l *load, now int64) {
	delete(c.worker.loads, c)
	c.offset = max(c.offset, l.until)
	for i := range l.held {
		c.publication([]byte(c.part.Room.Name), l.held[i].data, l.held[i].offset, now)
	}
}

// hold keeps a publication back that came while c loads.
func (c *client) hold(l *load, offset uint64, data []byte) {
	if len(l.held) >= maxHeld {
		c.conn.Drop()
		return
	}
	l.held = append(l.held, held{offset, slices.Clone(data)})
}
