package api

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/hubbub-chat/hubbub/fanout"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/server/channels"
)

// history is one page of a channel's messages, by keyset: from a position, in
// a direction. Without a limit it tells where the channel ends.
type history struct {
	Channel string    `json:"channel"`
	Limit   int64     `json:"limit"` // below 0: as many as a page holds
	Since   *position `json:"since"`
	Reverse bool      `json:"reverse"` // newest first
}

type position struct {
	Offset uint64 `json:"offset"`
	Epoch  string `json:"epoch"`
}

// page is the result.
type page struct {
	Publications []pub  `json:"publications"`
	Epoch        string `json:"epoch"`
	Offset       uint64 `json:"offset"` // of the channel's newest message
}

// pub is a message as it is listed.
type pub struct {
	Data   json.RawMessage `json:"data"`
	Info   *client         `json:"info,omitempty"` // of its sender, when a client sent it
	Offset uint64          `json:"offset"`
}

func (h *history) run(ctx context.Context, a *API) pending {
	if err := h.check(a); err != nil {
		return done(nil, err)
	}
	list, epoch, top, err := h.read(ctx, a)
	if errors.Is(err, fanout.ErrBusy) {
		err = errBusy
	}
	r := page{Publications: make([]pub, len(list)), Epoch: epoch, Offset: top}
	for i, m := range list {
		r.Publications[i] = pub{Data: m.Data, Offset: m.Offset}
		if m.User != "" || m.Client != "" {
			r.Publications[i].Info = &client{m.User, m.Client, m.Info}
		}
	}
	return done(r, err)
}

func (h *history) check(a *API) error {
	if err := a.authorize(channels.History, h.Channel); err != nil {
		return err
	}
	if s := h.Since; s != nil {
		if s.Offset == 0 && h.Reverse {
			return schema.ErrBadRequest.Because("nothing lies before offset 0")
		}
	}
	return nil
}

// read takes the page out of memory where that has it, else from the store.
// Both stop at the room's top: what is stored but not yet delivered will come
// as a publication.
func (h *history) read(ctx context.Context, a *API) (list []*schema.Message, epoch string, top uint64, err error) {
	room, err := a.open(ctx, h.Channel)
	if err != nil {
		return nil, "", 0, err
	}
	epoch, top = room.End()
	if s := h.Since; s != nil && s.Epoch != "" && s.Epoch != epoch {
		return nil, "", 0, schema.ErrUnrecoverable
	}
	limit := a.cfg.PageMessages
	if h.Limit >= 0 && h.Limit < int64(limit) {
		limit = int(h.Limit)
	}
	if limit == 0 || top == 0 {
		return nil, epoch, top, nil
	}
	if list, ok := h.inMemory(room, top, limit); ok {
		return list, epoch, top, nil
	}
	type answer struct {
		list []*schema.Message
		err  error
	}
	c := make(chan answer, 1)
	if !a.cfg.Reads.Do(func(ctx context.Context) {
		list, err := h.inStore(ctx, a.cfg.Store, top, limit)
		c <- answer{list, err}
	}) {
		return nil, epoch, top, fanout.ErrBusy
	}
	select {
	case r := <-c:
		return r.list, epoch, top, r.err
	case <-ctx.Done():
		return nil, epoch, top, ctx.Err()
	}
}

// open brings the room's newest messages into memory.
func (a *API) open(ctx context.Context, channel string) (*fanout.Room, error) {
	if room := a.cfg.Hub.Loaded(channel); room != nil {
		return room, nil
	}
	type answer struct {
		room *fanout.Room
		err  error
	}
	c := make(chan answer, 1)
	a.cfg.Hub.Open(channel, func(room *fanout.Room, err error) { c <- answer{room, err} })
	select {
	case r := <-c:
		return r.room, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (h *history) since() uint64 {
	if h.Since == nil {
		return 0
	}
	return h.Since.Offset
}

// before is where a page that goes back begins, exclusive.
func (h *history) before(top uint64) uint64 {
	if h.Since == nil {
		return top + 1
	}
	return min(h.Since.Offset, top+1)
}

func (h *history) inMemory(room *fanout.Room, top uint64, limit int) ([]*schema.Message, bool) {
	if h.Reverse {
		list, ok := room.Before(h.before(top), limit)
		slices.Reverse(list)
		return list, ok
	}
	list, ok := room.After(h.since(), top)
	return list[:min(len(list), limit)], ok
}

func (h *history) inStore(ctx context.Context, store Store, top uint64, limit int) ([]*schema.Message, error) {
	if h.Reverse {
		return store.Before(ctx, h.Channel, h.before(top), limit, pageBytes)
	}
	return store.After(ctx, h.Channel, h.since(), top, limit, pageBytes)
}
