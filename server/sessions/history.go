package sessions

import (
	"context"
	"slices"

	"github.com/centrifugal/protocol"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// historyPage is one page of a room's history, by keyset: from a position, in
// a direction.
type historyPage struct {
	channel string
	epoch   string // that from belongs to; empty when it may be any
	from    uint64 // exclusive; going back, 0 is the room's end
	reverse bool   // newest first
	limit   int
}

func (s *session) history(id uint32, req *protocol.HistoryRequest) {
	ln := s.lane()
	_, err := s.authorize(channels.History, req.Channel)
	if err != nil {
		ln.fail(s, id, err)
		return
	}
	page, err := ln.historyPage(req)
	if err != nil {
		ln.fail(s, id, err)
		return
	}
	t := ln.await(s, id)
	if room := ln.all.cfg.Hub.Loaded(page.channel); room != nil {
		ln.readHistory(t, page, room)
		return
	}
	ln.all.cfg.Hub.Open(page.channel, func(room *fanout.Room, err error) {
		ln.loop.Post(func() {
			if err != nil {
				ln.answerHistory(t, nil, "", 0, err)
				return
			}
			ln.readHistory(t, page, room)
		})
	})
}

func (ln *lane) historyPage(req *protocol.HistoryRequest) (historyPage, error) {
	p := historyPage{channel: req.Channel, reverse: req.Reverse, limit: int(req.Limit)}
	if p.limit < 0 || p.limit > ln.all.cfg.PageMessages {
		p.limit = ln.all.cfg.PageMessages
	}
	if since := req.Since; since != nil {
		if since.Offset == 0 && req.Reverse {
			return p, schema.ErrBadRequest.Because("nothing lies before offset 0")
		}
		p.from, p.epoch = since.Offset, since.Epoch
	}
	return p, nil
}

// readHistory answers from memory where that has the page, else from the
// store. Both stop at the room's top: what is stored but not yet delivered
// will come as a publication.
func (ln *lane) readHistory(t ticket, p historyPage, room *fanout.Room) {
	epoch, top := room.End()
	if p.epoch != "" && p.epoch != epoch {
		ln.answerHistory(t, nil, "", 0, schema.ErrUnrecoverable)
		return
	}
	if list, ok := p.inMemory(room, top); ok {
		ln.answerHistory(t, list, epoch, top, nil)
		return
	}
	cfg := &ln.all.cfg
	ok := cfg.Reads.Do(func(ctx context.Context) {
		list, err := p.inStore(ctx, cfg.Store, top)
		ln.loop.Post(func() { ln.answerHistory(t, list, epoch, top, err) })
	})
	if !ok {
		ln.answerHistory(t, nil, epoch, top, fanout.ErrBusy)
	}
}

func (p *historyPage) inMemory(room *fanout.Room, top uint64) ([]*schema.Message, bool) {
	if p.limit == 0 || top == 0 {
		return nil, true
	}
	if p.reverse {
		list, ok := room.Before(p.before(top), p.limit)
		slices.Reverse(list)
		return list, ok
	}
	list, ok := room.After(p.from, top)
	return list[:min(len(list), p.limit)], ok
}

func (p *historyPage) before(top uint64) uint64 {
	if p.from == 0 {
		return top + 1
	}
	return min(p.from, top+1)
}

func (p *historyPage) inStore(ctx context.Context, store Store, top uint64) ([]*schema.Message, error) {
	if p.reverse {
		return store.Before(ctx, p.channel, p.before(top), p.limit, pageBytes)
	}
	return store.After(ctx, p.channel, p.from, top, p.limit, pageBytes)
}

func (ln *lane) answerHistory(t ticket, list []*schema.Message, epoch string, top uint64, err error) {
	w, ok := ln.waits.take(t)
	if !ok {
		return
	}
	if err != nil {
		ln.fail(w.session, w.id, err)
		return
	}
	if w.session.conn.Queued() > pageBytes {
		// It would be closed as slow for what it has asked for.
		ln.fail(w.session, w.id, schema.ErrTooManyRequests.Because("read the pages you have asked for first"))
		return
	}
	pubs := make([]*protocol.Publication, len(list))
	for i, m := range list {
		pubs[i] = schema.Publication(m)
	}
	ln.reply(w.session, &protocol.Reply{Id: w.id, History: &protocol.HistoryResult{
		Publications: pubs, Epoch: epoch, Offset: top,
	}})
}
