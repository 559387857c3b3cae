package redis

import (
	"context"
	"sync/atomic"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/schema"
)

// History is what rooms have beyond a node's memory: the stream, and behind it
// the store. While the stream covers a question the store is not asked, so
// that clients who come back after a restart cost it nothing.
//
// The stream's oldest entry names the message before it. When the store has
// yet to write that one, a page that goes back behind the stream would miss
// some: the room is healed, that is, its members are told to load it anew when
// it is complete.
type History struct {
	relay *Relay
	store Store

	streamed, asked atomic.Uint64 // questions answered by the stream, and by the store
}

// NewHistory makes the history of a relay's rooms.
func NewHistory(r *Relay) *History { return &History{relay: r, store: r.cfg.Store} }

// Asked returns how many questions the stream has answered, and how many the
// store was asked.
func (h *History) Asked() (stream, store uint64) { return h.streamed.Load(), h.asked.Load() }

const (
	streamPage = 512  // entries of one look into a stream
	countPage  = 4096 // entries that are counted in one look
)

// After returns the room's messages with after < offset <= upTo, oldest first;
// upTo 0 stands for no bound. It returns at most limit messages and about
// maxBytes.
func (h *History) After(ctx context.Context, room string, after, upTo uint64, limit, maxBytes int) ([]*schema.Message, error) {
	list, covered, err := h.streamAfter(ctx, room, after, upTo, limit, maxBytes)
	if err != nil {
		h.without(room, err) // Redis is away: the store has most of it
	} else if covered {
		h.streamed.Add(1)
		return list, nil
	}
	h.asked.Add(1)
	if len(list) == 0 {
		return h.store.After(ctx, room, after, upTo, limit, maxBytes)
	}
	// What lies before the stream comes from the store.
	border := list[0].Prev
	if err := h.bridge(ctx, room, border); err != nil {
		return nil, err
	}
	older, err := h.store.After(ctx, room, after, border, limit, maxBytes)
	if n := len(older); err != nil || n == limit || n > 0 && older[n-1].Offset != border {
		return older, err // there may be more of them
	}
	for _, m := range older {
		maxBytes -= m.Size()
	}
	list = list[:min(len(list), limit-len(older))]
	if list, _ = fit(list, maxBytes); len(older) > 0 && maxBytes <= 0 {
		return older, nil
	}
	return append(older, list...), nil
}

// without tells that the stream could not be asked.
func (h *History) without(room string, err error) {
	if !h.relay.refusedBy(err) { // else contact has a line
		h.relay.rooms.warn(room, "history without the stream", zap.Error(err))
	}
}

// streamAfter reads the stream. covered says that nothing is missing before
// the first message; if something is, the list begins where the stream does.
func (h *History) streamAfter(ctx context.Context, room string, after, upTo uint64, limit, maxBytes int) (list []*schema.Message, covered bool, err error) {
	r := h.relay
	key, end := stream(r.keys.state(room)), "+"
	if upTo > 0 {
		end = decimal(upTo)
	}
	for start, size := decimal(after), 0; ; {
		n := min(limit-len(list)+1, streamPage) // the one before the first may come too
		entries, err := r.client.Do(ctx, r.client.B().Xrange().Key(key).Start(start).End(end).Count(int64(n)).Build()).AsXRange()
		if err != nil {
			return nil, false, err
		}
		if len(entries) > 0 {
			start = behind(entries[len(entries)-1])
		}
		for _, m := range r.readEntries(room, entries) {
			if m.Offset == after {
				covered = true
				continue
			}
			covered = covered || m.Prev == after
			if size += m.Size(); len(list) == limit || size > maxBytes && len(list) > 0 {
				return list, covered, nil
			}
			list = append(list, m)
		}
		if len(entries) < n || len(list) == limit {
			return list, covered, nil
		}
	}
}

// Before returns the room's messages with an offset below before, newest
// first; before 0 starts at the newest.
func (h *History) Before(ctx context.Context, room string, before uint64, limit, maxBytes int) ([]*schema.Message, error) {
	r := h.relay
	start := "+"
	if before > 0 {
		start = decimal(before - 1)
	}
	entries, err := r.client.Do(ctx, r.client.B().Xrevrange().Key(stream(r.keys.state(room))).End(start).Start("-").Count(int64(limit)).Build()).AsXRange()
	var list []*schema.Message
	if err == nil {
		list = r.readEntries(room, entries)
	} else {
		h.without(room, err)
	}
	list, cut := fit(list, maxBytes)
	if len(list) == limit || cut || len(list) > 0 && list[len(list)-1].Prev == 0 {
		h.streamed.Add(1)
		return list, nil
	}
	h.asked.Add(1)
	if len(list) > 0 {
		before = list[len(list)-1].Prev + 1
		if err := h.bridge(ctx, room, before-1); err != nil {
			return nil, err
		}
		for _, m := range list {
			maxBytes -= m.Size()
		}
		if maxBytes <= 0 {
			return list, nil
		}
	}
	older, err := h.store.Before(ctx, room, before, limit-len(list), maxBytes)
	if err != nil && len(list) > 0 {
		return list, nil // a short page is better than none while the store is away
	}
	return append(list, older...), err
}

// fit cuts a list where it exceeds so many bytes, but for its first message.
func fit(list []*schema.Message, maxBytes int) ([]*schema.Message, bool) {
	size := 0
	for i, m := range list {
		if size += m.Size(); size > maxBytes && i > 0 {
			return list[:i], true
		}
	}
	return list, false
}

// Last returns the room's highest offset, as Redis knows it or else the store.
func (h *History) Last(ctx context.Context, room string) (uint64, error) {
	r := h.relay
	last, err := r.client.Do(ctx, r.client.B().Hget().Key(r.keys.state(room)).Field("last").Build()).AsUint64()
	if err == nil {
		return last, nil
	}
	if !rueidis.IsRedisNil(err) {
		h.without(room, err)
	}
	h.asked.Add(1)
	return h.store.Last(ctx, room)
}

// Count counts the messages with after < offset <= upTo, but no more than max.
func (h *History) Count(ctx context.Context, room string, after, upTo uint64, max int) (int, error) {
	list, covered, err := h.streamAfter(ctx, room, after, upTo, min(max, countPage), 1<<30)
	if err == nil && (covered || len(list) >= max) {
		h.streamed.Add(1)
		return len(list), nil
	}
	h.asked.Add(1)
	if len(list) == 0 {
		return h.store.Count(ctx, room, after, upTo, max)
	}
	n, err := h.store.Count(ctx, room, after, list[0].Prev, max-len(list))
	return n + len(list), err
}

// bridge sees to it that the store reaches up to where the stream begins.
func (h *History) bridge(ctx context.Context, room string, border uint64) error {
	last, err := h.store.Last(ctx, room)
	if err != nil || last >= border || border <= unknownFloor {
		return err
	}
	epoch, err := h.relay.client.Do(ctx, h.relay.client.B().Hget().Key(h.relay.keys.state(room)).Field("epoch").Build()).ToString()
	if err == nil {
		h.relay.heal(room, epoch)
	}
	return nil
}
