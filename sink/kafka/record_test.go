package kafka

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubbub-chat/hubbub/schema"
)

func TestRecordsComeBack(t *testing.T) {
	for _, m := range []*schema.Message{
		{Room: "r", Offset: 1, Data: []byte(`1`)},
		{Room: "full", Offset: 1<<63 - 1, Prev: 1<<63 - 2, User: "alice", Client: "c1", Info: []byte(`{"n":1}`), Key: "k", Data: []byte(`{"a":"ü"}`)},
		{Room: "any bytes", Offset: 2, Prev: 1, User: "a\x00b", Key: "\xff", Data: []byte("\x00\xff\n")},
		{Room: "no data", Offset: 7, Data: []byte{}},
		{Room: strings.Repeat("ü", 127), Offset: 7, User: strings.Repeat("x", 255), Data: []byte(strings.Repeat("x", 1<<16))},
	} {
		value := AppendMessage(nil, m)
		if len(value)+len(m.Room) > m.Size() {
			t.Errorf("%.10s: the record has %d bytes, the message is counted as %d", m.Room, len(value)+len(m.Room), m.Size())
		}
		r, err := Parse([]byte(m.Room), value)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Record{Message: m, Room: m.Room}, r); diff != "" {
			t.Error(diff)
		}
	}
	r, err := Parse([]byte("r"), AppendHeal(nil, "a.b"))
	if diff := cmp.Diff(Record{Room: "r", Epoch: "a.b"}, r); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestParseRefuses(t *testing.T) {
	good := func(m schema.Message) string { return string(AppendMessage(nil, &m)) }
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name, key, value string
		want             error
	}{
		{"nothing", "r", "", ErrForeign},
		{"JSON", "r", `{"text":"hi"}`, ErrForeign},
		{"version 0", "r", "hb\x00m", ErrForeign},
		{"version 2", "r", "hb\x02m", ErrNewer},
		{"unknown kind", "r", "hb\x01x", ErrForeign},
		{"no room", "", good(schema.Message{Offset: 1}), ErrForeign},
		{"room with a blank at its end", "r ", good(schema.Message{Offset: 1}), ErrForeign},
		{"room too long", long, good(schema.Message{Offset: 1}), ErrForeign},
		{"offset 0", "r", good(schema.Message{}), ErrForeign},
		{"offset beyond int64", "r", good(schema.Message{Offset: 1 << 63}), ErrForeign},
		{"prev not before offset", "r", good(schema.Message{Offset: 5, Prev: 5}), ErrForeign},
		{"prev after offset", "r", good(schema.Message{Offset: 5, Prev: 6}), ErrForeign},
		{"user too long", "r", good(schema.Message{Offset: 1, User: long}), ErrForeign},
		{"key too long", "r", good(schema.Message{Offset: 1, Key: long}), ErrForeign},
		{"cut off", "r", good(schema.Message{Offset: 1, User: "alice", Key: "k"})[:10], ErrForeign},
		{"a length beyond everything", "r", "hb\x01m\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", ErrForeign},
		{"a heal without an epoch", "r", "hb\x01h", ErrForeign},
		{"a heal with a long one", "r", "hb\x01h" + long, ErrForeign},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r, err := Parse([]byte(c.key), []byte(c.value)); !errors.Is(err, c.want) {
				t.Errorf("%+v, error %v, want %v", r, err, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("lobby", AppendMessage(nil, &schema.Message{Offset: 1 << 52, Prev: 1<<52 - 9, User: "alice", Client: "c", Info: []byte(`{}`), Key: "k", Data: []byte(`{"text":"hi"}`)}))
	f.Add("lobby", AppendMessage(nil, &schema.Message{Offset: 1, Data: []byte(`1`)}))
	f.Add("lobby", AppendHeal(nil, "0011.2233"))
	f.Add("lobby", []byte("hb\x01m\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add("", []byte("hb\x02"))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		r, err := Parse([]byte(key), value)
		if err != nil {
			if !errors.Is(err, ErrForeign) && !errors.Is(err, ErrNewer) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		again := AppendHeal(nil, r.Epoch)
		if m := r.Message; m != nil {
			if m.Room != key || m.Prev >= m.Offset || len(m.User) > maxName || len(m.Client) > maxName || len(m.Key) > maxName {
				t.Fatalf("%+v passed", m)
			}
			again = AppendMessage(nil, m)
		}
		// The numbers may be written in more than one way; what they say is one.
		back, err := Parse([]byte(key), again)
		if diff := cmp.Diff(r, back); diff != "" || err != nil {
			t.Fatal(diff, err)
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	m := &schema.Message{
		Room: "room-0001", Offset: 1_800_000_000_000_000, Prev: 1_799_999_999_999_000, User: "user-12345",
		Client: "8f7a6b5c-4d3e-2f10", Data: []byte(`{"text":"` + strings.Repeat("x", 189) + `"}`),
	}
	key, value := []byte(m.Room), AppendMessage(nil, m)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			value = AppendMessage(value[:0], m)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Parse(key, value); err != nil {
				b.Fatal(err)
			}
		}
	})
}
