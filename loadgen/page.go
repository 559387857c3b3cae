package main

import "github.com/centrifugal/protocol"

// page is a part of a room's history that a member asks for.
type page struct {
	since   uint64 // from behind this offset; backwards, from before it
	limit   int32
	reverse bool
	due     int64 // clock ns
	load    *load // that it belongs to
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
	c.loaded(p.load, r, now)
	return true
}

// forgetQuestions is told when the connection has ended: no answer will come.
func (c *client) forgetQuestions() {
	for q := range c.worker.questions {
		if q.client == c {
			delete(c.worker.questions, q)
		}
	}
}

func (p *page) command(c *client, id uint32) *protocol.Command {
	return &protocol.Command{Id: id, History: &protocol.HistoryRequest{
		Channel: c.part.Room.Name, Limit: p.limit, Reverse: p.reverse,
		Since: &protocol.StreamPosition{Offset: p.since, Epoch: c.epoch},
	}}
}
