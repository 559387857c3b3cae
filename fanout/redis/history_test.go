package redis

import (
	"context"
	"fmt"
	"testing"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
)

// The stream has the last hundred of 250 messages; whatever is asked, and
// wherever a page begins, the answer is what the store would give, and the
// store is asked for what the stream has not.
func TestHistory(t *testing.T) {
	w := newWorld(t, "redis://"+backends.Redis(t).Addr)
	a := w.node()
	h := NewHistory(a.relay)
	ctx := context.Background()
	const total, kept = 250, 100
	for i := range total {
		if err := a.publish(message("lobby", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("Redis knows that all is stored", func() bool {
		s, err := a.relay.standing("lobby", "", 0)
		return err == nil && len(s.marks) == 0
	})
	a.relay.client.Do(ctx, a.relay.client.B().Arbitrary("XTRIM", stream(a.relay.keys.state("lobby")), "MAXLEN", fmt.Sprint(kept)).Build())
	all := w.stored("lobby")
	same := func(what string, got, want []*schema.Message, err error) {
		t.Helper()
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %d messages, want %d, %v", what, len(got), len(want), err)
			return
		}
		for i := range got {
			if got[i].Offset != want[i].Offset || got[i].Prev != want[i].Prev || string(got[i].Data) != string(want[i].Data) || got[i].Room != "lobby" {
				t.Errorf("%s: message %d is %+v, want %+v", what, i, got[i], want[i])
				return
			}
		}
	}
	at := func(i int) uint64 {
		if i < 0 {
			return 0
		}
		return all[i].Offset
	}
	for _, from := range []int{-1, 0, 100, 148, 149, 150, 151, 200, 248, 249} {
		for _, upTo := range []int{149, 150, 200, 249} {
			for _, limit := range []int{1, 7, 100, 1000} {
				// A reader takes page after page.
				var got []*schema.Message
				for position := at(from); ; {
					page, err := h.After(ctx, "lobby", position, at(upTo), limit, 1<<20)
					if err != nil {
						t.Fatal(err)
					}
					if len(page) == 0 || len(page) > limit {
						break
					}
					got = append(got, page...)
					position = page[len(page)-1].Offset
				}
				same(fmt.Sprintf("after %d up to %d by %d", from, upTo, limit), got, all[min(from+1, upTo+1):upTo+1], nil)
			}
			n, err := h.Count(ctx, "lobby", at(from), at(upTo), 1000)
			if want := max(0, upTo-from); n != want || err != nil {
				t.Errorf("count of (%d, %d]: %d, want %d, %v", from, upTo, n, want, err)
			}
		}
	}
	for _, limit := range []int{1, 7, 100, 120, 1000} {
		var got []*schema.Message
		for position := uint64(0); ; {
			page, err := h.Before(ctx, "lobby", position, limit, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 || len(page) > limit {
				break
			}
			got = append(got, page...)
			position = page[len(page)-1].Offset
		}
		reversed := make([]*schema.Message, total)
		for i, m := range all {
			reversed[total-1-i] = m
		}
		same(fmt.Sprintf("back by %d", limit), got, reversed, nil)
	}
	if page, err := h.After(ctx, "lobby", at(200), 0, 1000, 3*all[0].Size()); err != nil || len(page) > 4 || len(page) < 2 {
		t.Errorf("a page bounded by bytes has %d messages, %v", len(page), err)
	}
	page, err := h.After(ctx, "lobby", at(139), 0, 50, 1<<20)
	same("a page across the border", page, all[140:190], err)
	_, before := h.Asked()
	for range 50 {
		page, err := h.After(ctx, "lobby", at(200), at(249), 1000, 1<<20)
		same("again", page, all[201:], err)
	}
	if _, after := h.Asked(); after != before {
		t.Errorf("the store was asked %d times for what the stream has", after-before)
	}
	if last, err := h.Last(ctx, "lobby"); last != at(249) || err != nil {
		t.Errorf("last is %d, %v", last, err)
	}
}

// The store has not got everything up to where the stream begins: the room is
// healed, once.
func TestHistoryHeals(t *testing.T) {
	w := newWorld(t, "redis://"+backends.Redis(t).Addr)
	a := w.node()
	l := a.listen("lobby")
	h := NewHistory(a.relay)
	ctx := context.Background()
	var last uint64
	for i := range 20 {
		m := message("lobby", fmt.Sprint(i))
		if err := a.publish(m); err != nil {
			t.Fatal(err)
		}
		last = m.Offset
	}
	w.mu.Lock()
	for offset := range w.rows["lobby"] {
		if offset < last {
			delete(w.rows["lobby"], offset) // the writer is behind
		}
	}
	delete(w.rows["lobby"], last)
	w.mu.Unlock()
	w.eventually("Redis knows that all is stored", func() bool {
		s, err := a.relay.standing("lobby", "", 0)
		return err == nil && len(s.marks) == 0
	})
	a.relay.client.Do(ctx, a.relay.client.B().Arbitrary("XTRIM", stream(a.relay.keys.state("lobby")), "MAXLEN", "5").Build())
	for range 3 {
		if page, err := h.Before(ctx, "lobby", 0, 100, 1<<20); err != nil || len(page) != 5 {
			t.Errorf("a page of %d, %v", len(page), err)
		}
	}
	w.mu.Lock()
	heal := w.heal
	w.mu.Unlock()
	if len(heal) != 1 || heal[0] != l.epoch {
		t.Fatalf("healed %v, the epoch is %q", heal, l.epoch)
	}
	if err := a.relay.Healed(ctx, "lobby", heal[0]); err != nil {
		t.Fatal(err)
	}
	w.eventually("members are told", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.resets == 1 })
	if err := l.join(); err != nil || l.epoch == heal[0] || l.epoch[:9] != heal[0][:9] || l.start != last {
		t.Errorf("back at %d in %q, before in %q: %v", l.start, l.epoch, heal[0], err)
	}
	if err := a.relay.Healed(ctx, "lobby", testEpoch); err != nil {
		t.Fatal(err)
	}
	if s, err := a.relay.standing("lobby", "", 0); err != nil || s.epoch != l.epoch {
		t.Errorf("the heal of another history made it %q, %v", s.epoch, err)
	}
}
