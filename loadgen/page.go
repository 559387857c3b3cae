package main

import (
	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/loadgen/check"
)

// page is a part of a room's history that a member asks for: because it was told to
// begin anew (a load), or because people scroll (history_rate).
type page struct {
	since   uint64 // from behind this offset; backwards, from before it
	limit   int32
	reverse bool
	due     int64  // clock ns
	upto    uint64 // how far the member had seen the room
	load    *load  // that it belongs to; nil: none
}

func (p *page) command(c *client, id uint32) *protocol.Command {
	return &protocol.Command{Id: id, History: &protocol.HistoryRequest{
		Channel: c.part.Room.Name, Limit: p.limit, Reverse: p.reverse,
		Since: &protocol.StreamPosition{Offset: p.since, Epoch: c.epoch},
	}}
}

// question names a page by who has asked for it, and under which id.
type question struct {
	client *client
	id     uint32
}

// ask asks for a page.
func (c *client) ask(p page) {
	id := c.nextID()
	c.worker.questions[question{c, id}] = p
	c.worker.fleet.dialect.history(c, id, p)
}

// scroll has connection i ask for page k, which was due at a time: by turns backwards from
// what it has seen last, and forwards from where the loop's trail of the room begins.
func (w *worker) scroll(i int, k, due int64) {
	c := &w.fleet.clients[i]
	if c.state != joined || c.deaf() || w.loads[c] != nil || !c.conn.Open() || c.conn.Queued() > maxUnsent {
		w.rec.PagesUnsent++
		return
	}
	p := page{limit: w.fleet.pageLimit, reverse: k%2 == 0, due: due, upto: c.offset}
	if p.reverse = p.reverse && c.offset > 0; p.reverse {
		p.since = c.offset
	} else {
		p.since = c.part.trail.Begin()
	}
	c.ask(p)
}

// paged takes a reply, if it is one to a question.
func (c *client) paged(r *protocol.Reply, now int64) bool {
	w := c.worker
	p, ok := w.questions[question{c, r.Id}]
	if !ok {
		return false
	}
	delete(w.questions, question{c, r.Id})
	if r.History != nil {
		w.rec.page.Record(now - p.due)
	}
	switch {
	case p.load != nil:
		c.loaded(p.load, r, now)
	case r.History == nil:
		w.rec.PagesRefused++
	default:
		w.rec.Pages++
		if !c.right(&p, r.History.Publications) {
			w.rec.PagesWrong++
		}
	}
	return true
}

// right compares a page with what the members on this loop have seen.
func (c *client) right(p *page, list []*protocol.Publication) bool {
	f := c.worker.fleet
	entries := make([]check.Entry, 0, len(list))
	for _, pub := range list {
		e := check.Entry{Offset: pub.Offset}
		if said, ok := check.ParsePayload(pub.Data, f.run, f.payload); ok {
			e.ID = said.ID()
		}
		entries = append(entries, e)
	}
	if len(entries) > int(p.limit) {
		return false
	}
	return c.part.trail.Page(entries, p.since, p.upto, p.reverse)
}

func (w *worker) dropQuestion(q question) {
	if w.questions[q].load == nil && !w.over {
		w.rec.PagesCut++
	}
	delete(w.questions, q)
}

// forgetQuestions is told when the connection has ended: no answer will come.
func (c *client) forgetQuestions() {
	for q := range c.worker.questions {
		if q.client == c {
			c.worker.dropQuestion(q)
		}
	}
}
