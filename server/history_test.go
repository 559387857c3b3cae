package main

import (
	"testing"

	"github.com/centrifugal/protocol"
	"github.com/google/go-cmp/cmp"

	"github.com/hubbub-chat/hubbub/schema"
)

type (
	historyRequest = protocol.HistoryRequest
	position       = protocol.StreamPosition
)

// History of 1,150 messages, of which the node keeps the last 100 in memory.
func TestHistory(t *testing.T) {
	const n = 1150
	h := start(t)
	room := roomOf(t)
	data := numbered("p", n, 100)
	publisher := h.client(schema.JSON)
	publisher.publishAll(room, data)
	epoch := h.epoch()

	pubs := make([]*protocol.Publication, 0, n) // by paging, checked below
	for _, part := range []bool{false, true} {
		if part { // and once more after the room has been loaded from the store
			h.restart()
		}
		bothCodecs(t, func(t *testing.T, codec schema.Codec) {
			c := h.client(codec)
			c.t = t
			pubs = pubs[:0]
			t.Run("pages forward", func(t *testing.T) {
				for since := uint64(0); ; since = pubs[len(pubs)-1].Offset {
					r := c.history(&historyRequest{Channel: room, Limit: 97, Since: &position{Offset: since, Epoch: epoch}})
					if r.Epoch != epoch || len(r.Publications) > 97 {
						t.Fatalf("a page of %d with epoch %q", len(r.Publications), r.Epoch)
					}
					if len(r.Publications) == 0 {
						break
					}
					pubs = append(pubs, r.Publications...)
				}
				if diff := cmp.Diff(data, dataOf(pubs)); diff != "" {
					t.Fatal(diff)
				}
			})
			t.Run("pages backward", func(t *testing.T) {
				var back []string
				var since *position
				for {
					r := c.history(&historyRequest{Channel: room, Limit: 97, Since: since, Reverse: true})
					if len(r.Publications) == 0 {
						break
					}
					back = append(back, dataOf(r.Publications)...)
					since = &position{Offset: r.Publications[len(r.Publications)-1].Offset, Epoch: epoch}
				}
				want := make([]string, n)
				for i, d := range data {
					want[n-1-i] = d
				}
				if diff := cmp.Diff(want, back); diff != "" {
					t.Fatal(diff)
				}
			})
			if len(pubs) != n {
				t.Fatal("no history to compare with")
			}
			top := pubs[n-1].Offset
			at := func(i int) *position { return &position{Offset: pubs[i].Offset, Epoch: epoch} }
			for _, tc := range []struct {
				name     string
				req      *historyRequest
				from, to int // of data
				reverse  bool
			}{
				{"limit 0", &historyRequest{}, 0, 0, false},
				{"limit 0 since", &historyRequest{Since: at(3)}, 0, 0, false},
				{"limit 0 reverse", &historyRequest{Reverse: true}, 0, 0, false},
				{"first 10", &historyRequest{Limit: 10}, 0, 10, false},
				{"all is one page", &historyRequest{Limit: -1}, 0, 500, false},
				{"too much is one page", &historyRequest{Limit: 1 << 30}, 0, 500, false},
				{"last 10", &historyRequest{Limit: 10, Reverse: true}, n - 10, n, true},
				{"last page", &historyRequest{Limit: -1, Reverse: true}, n - 500, n, true},
				{"exactly memory, backward", &historyRequest{Limit: 100, Reverse: true}, n - 100, n, true},
				{"one more than memory, backward", &historyRequest{Limit: 101, Reverse: true}, n - 101, n, true},
				{"exactly memory, forward", &historyRequest{Limit: -1, Since: at(n - 101)}, n - 100, n, false},
				{"one more than memory, forward", &historyRequest{Limit: -1, Since: at(n - 102)}, n - 101, n, false},
				{"since, in memory", &historyRequest{Limit: 5, Since: at(n - 50)}, n - 49, n - 44, false},
				{"since, in the store", &historyRequest{Limit: 5, Since: at(200)}, 201, 206, false},
				{"since without epoch", &historyRequest{Limit: 5, Since: &position{Offset: pubs[200].Offset}}, 201, 206, false},
				{"since between two offsets", &historyRequest{Limit: 1, Since: &position{Offset: pubs[200].Offset - 1}}, 200, 201, false},
				{"since 0", &historyRequest{Limit: 5, Since: &position{Epoch: epoch}}, 0, 5, false},
				{"since the top", &historyRequest{Limit: 5, Since: at(n - 1)}, 0, 0, false},
				{"since above the top", &historyRequest{Limit: 5, Since: &position{Offset: top + 1<<30}}, 0, 0, false},
				{"before the first", &historyRequest{Limit: 5, Since: at(0), Reverse: true}, 0, 0, true},
				{"before one in the store", &historyRequest{Limit: 5, Since: at(200), Reverse: true}, 195, 200, true},
				{"before one in memory", &historyRequest{Limit: 5, Since: at(n - 50), Reverse: true}, n - 55, n - 50, true},
				{"before, from memory into the store", &historyRequest{Limit: 100, Since: at(n - 50), Reverse: true}, n - 150, n - 50, true},
				{"before above the top", &historyRequest{Limit: 2, Since: &position{Offset: top + 1<<30}, Reverse: true}, n - 2, n, true},
			} {
				t.Run(tc.name, func(t *testing.T) {
					tc.req.Channel = room
					c.t = t
					r := c.history(tc.req)
					want := append([]string{}, data[tc.from:tc.to]...)
					if tc.reverse {
						for i, j := 0, len(want)-1; i < j; i, j = i+1, j-1 {
							want[i], want[j] = want[j], want[i]
						}
					}
					if diff := cmp.Diff(want, dataOf(r.Publications)); diff != "" {
						t.Error(diff)
					}
					if r.Offset != top || r.Epoch != epoch {
						t.Errorf("position %d %q, want %d %q", r.Offset, r.Epoch, top, epoch)
					}
				})
			}
			c.t = t
			c.fails(&command{History: &historyRequest{Channel: room, Limit: 1, Since: &position{Offset: top, Epoch: "other"}}}, 112)
			c.fails(&command{History: &historyRequest{Channel: room, Limit: 0, Since: &position{Epoch: "other"}}}, 112)
		})
	}
}

// A page is bounded in bytes too, and the next one goes on behind it.
func TestHistoryOfLargeMessages(t *testing.T) {
	h := start(t)
	room := roomOf(t)
	data := numbered("p", 60, 30_000)
	c := h.client(schema.JSON)
	c.publishAll(room, data)
	var got []string
	var since *position
	for {
		r := c.history(&historyRequest{Channel: room, Limit: -1, Since: since})
		if len(r.Publications) == 0 {
			break
		}
		if size := len(r.Publications) * 30_000; size > 600_000 {
			t.Errorf("a page of %d bytes", size)
		}
		got = append(got, dataOf(r.Publications)...)
		since = &position{Offset: r.Publications[len(r.Publications)-1].Offset}
	}
	if diff := cmp.Diff(data, got); diff != "" {
		t.Error(diff)
	}
}
