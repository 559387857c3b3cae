package sink

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/hubbub-chat/hubbub/schema"
)

// chain returns n messages of room with offsets 10, 20, 30, ... and a Size of
// 100 bytes each.
func chain(room string, n int) []*schema.Message {
	batch := make([]*schema.Message, n)
	for i := range batch {
		m := &schema.Message{Room: room, Offset: uint64(i+1) * 10, Prev: uint64(i) * 10, User: "u"}
		m.Data = []byte(`"` + strings.Repeat("x", 100-2-m.Size()) + `"`)
		batch[i] = m
	}
	return batch
}

func offsets(page []*schema.Message) string {
	var b strings.Builder
	for _, m := range page {
		fmt.Fprintf(&b, "%d ", m.Offset)
	}
	return strings.TrimSpace(b.String())
}

func TestPages(t *testing.T) { onEach(t, testPages) }

func testPages(t *testing.T, s *Store) {
	mustAppend(t, s, chain("r", 5)...)
	mustAppend(t, s, chain("r2", 2)...) // neighbours in the key must not show
	mustAppend(t, s, chain("q", 2)...)
	const many, lots = 100, 1 << 20
	for _, c := range []struct {
		name            string
		descending      bool
		room            string
		from, upTo      uint64
		limit, maxBytes int
		want            string
	}{
		{"all", false, "r", 0, 0, many, lots, "10 20 30 40 50"},
		{"after one", false, "r", 20, 0, many, lots, "30 40 50"},
		{"after a number between", false, "r", 25, 0, many, lots, "30 40 50"},
		{"after the last", false, "r", 50, 0, many, lots, ""},
		{"after everything", false, "r", 1<<64 - 1, 0, many, lots, ""},
		{"up to inclusive", false, "r", 10, 40, many, lots, "20 30 40"},
		{"up to a number between", false, "r", 10, 39, many, lots, "20 30"},
		{"up to the start", false, "r", 40, 40, many, lots, ""},
		{"up to beyond int64", false, "r", 40, 1<<64 - 1, many, lots, "50"},
		{"limit", false, "r", 10, 0, 2, lots, "20 30"},
		{"limit 0", false, "r", 0, 0, 0, lots, ""},
		{"limit below 0 is not infinity", false, "r", 0, 0, -1, lots, ""},
		{"bytes fit exactly", false, "r", 0, 0, many, 300, "10 20 30"},
		{"bytes one short", false, "r", 0, 0, many, 299, "10 20"},
		{"one message even so", false, "r", 0, 0, many, 1, "10"},
		{"one message for no bytes", false, "r", 0, 0, many, 0, "10"},
		{"unknown room", false, "nope", 0, 0, many, lots, ""},
		{"from the newest", true, "r", 0, 0, many, lots, "50 40 30 20 10"},
		{"before one", true, "r", 40, 0, many, lots, "30 20 10"},
		{"before a number between", true, "r", 35, 0, many, lots, "30 20 10"},
		{"before the first", true, "r", 10, 0, many, lots, ""},
		{"before everything", true, "r", 1<<64 - 1, 0, many, lots, "50 40 30 20 10"},
		{"before, limit", true, "r", 50, 0, 2, lots, "40 30"},
		{"before, bytes fit exactly", true, "r", 0, 0, many, 200, "50 40"},
		{"before, bytes one short", true, "r", 0, 0, many, 199, "50"},
		{"before, one message even so", true, "r", 0, 0, many, 1, "50"},
		{"before, unknown room", true, "nope", 0, 0, many, lots, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var page []*schema.Message
			var err error
			if c.descending {
				page, err = s.Before(t.Context(), c.room, c.from, c.limit, c.maxBytes)
			} else {
				page, err = s.After(t.Context(), c.room, c.from, c.upTo, c.limit, c.maxBytes)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := offsets(page); got != c.want {
				t.Errorf("offsets %q, want %q", got, c.want)
			}
		})
	}
}

// TestPagesAgainstModel compares random pages with a slice.
func TestPagesAgainstModel(t *testing.T) { onEach(t, testPagesAgainstModel) }

func testPagesAgainstModel(t *testing.T, s *Store) {
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		room := fmt.Sprint("room ", run)
		var model []*schema.Message // ascending
		var prev uint64
		keys := make(map[string]bool)
		for range rapid.IntRange(0, 60).Draw(t, "messages") {
			m := &schema.Message{Room: room, Prev: prev, Offset: prev + uint64(rapid.IntRange(1, 3).Draw(t, "step"))}
			m.Data = make([]byte, rapid.IntRange(1, 60).Draw(t, "bytes"))
			m.Key = rapid.SampledFrom([]string{"", "", "", "a", "b", "c"}).Draw(t, "key")
			prev = m.Offset
			if err := s.Append(context.Background(), []*schema.Message{m}); err != nil {
				t.Fatal(err)
			}
			if m.Key == "" || !keys[m.Key] {
				model = append(model, m)
			}
			keys[m.Key] = true
		}
		for range 10 {
			from := uint64(rapid.IntRange(0, int(prev)+2).Draw(t, "from"))
			upTo := uint64(rapid.IntRange(0, int(prev)+2).Draw(t, "upTo"))
			limit := rapid.IntRange(0, 20).Draw(t, "limit")
			maxBytes := rapid.IntRange(0, 2000).Draw(t, "maxBytes")

			up, err := s.After(context.Background(), room, from, upTo, limit, maxBytes)
			if err != nil {
				t.Fatal(err)
			}
			want := cut(model, limit, maxBytes, func(o uint64) bool { return o > from && (upTo == 0 || o <= upTo) })
			if diff := cmp.Diff(want, up); diff != "" {
				t.Fatalf("After: %s", diff)
			}

			down, err := s.Before(context.Background(), room, from, limit, maxBytes)
			if err != nil {
				t.Fatal(err)
			}
			backward := make([]*schema.Message, 0, len(model))
			for i := range model {
				backward = append(backward, model[len(model)-1-i])
			}
			want = cut(backward, limit, maxBytes, func(o uint64) bool { return from == 0 || o < from })
			if diff := cmp.Diff(want, down); diff != "" {
				t.Fatalf("Before: %s", diff)
			}
		}
	})
}

// cut is the model of a page: the first of all that are wanted and fit.
func cut(all []*schema.Message, limit, maxBytes int, wanted func(uint64) bool) (page []*schema.Message) {
	size := 0
	for _, m := range all {
		if !wanted(m.Offset) {
			continue
		}
		size += m.Size()
		if len(page) == limit || len(page) > 0 && size > maxBytes {
			break
		}
		page = append(page, m)
	}
	return page
}
