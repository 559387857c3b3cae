package redis

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubbub-chat/hubbub/schema"
)

const testBoot, testEpoch = "0123456789abcdef", "01234567.89abcdef"

// payloadOf writes what mint.lua writes.
func payloadOf(epoch string, prev uint64, list ...*schema.Message) string {
	b := append([]byte{batchKind}, epoch...)
	b = binary.BigEndian.AppendUint64(b, prev)
	for i, m := range list {
		body := appendBody(nil, sent{testBoot, uint64(i)}, m)
		b = binary.BigEndian.AppendUint64(b, m.Offset)
		b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
		b = append(b, body...)
	}
	return string(b)
}

func TestBatch(t *testing.T) {
	list := []*schema.Message{
		{Room: "r", Prev: 3, Offset: 5, User: "alice", Client: "c", Info: []byte(`{"n":1}`), Key: "k", Data: []byte(`"x"`)},
		{Room: "r", Prev: 5, Offset: 1 << 52, Data: []byte(`[]`)},
	}
	b, err := parseBatch("r", payloadOf(testEpoch, 3, list...))
	if err != nil {
		t.Fatal(err)
	}
	want := batch{testEpoch, list, []sent{{testBoot, 0}, {testBoot, 1}}}
	if diff := cmp.Diff(want, b, cmp.AllowUnexported(batch{}, sent{})); diff != "" {
		t.Error(diff)
	}
}

func TestMalformed(t *testing.T) {
	good := payloadOf(testEpoch, 3, &schema.Message{Offset: 5, Data: []byte(`"x"`)})
	for name, payload := range map[string]string{
		"empty":            "M",
		"no message":       good[:1+epochLen+8],
		"cut":              good[:len(good)-len(`"x"`)-1],
		"no data":          payloadOf(testEpoch, 3, &schema.Message{Offset: 5}),
		"going back":       payloadOf(testEpoch, 5, &schema.Message{Offset: 5, Data: []byte(`1`)}),
		"another version":  strings.Replace(good, "\x01"+testBoot, "\x02"+testBoot, 1),
		"a length too far": good[:1+epochLen+8+8] + "\xff\xff\xff\xff" + good[1+epochLen+8+8+4:],
	} {
		if b, err := parseBatch("r", payload); err == nil {
			t.Errorf("%s: parsed as %+v", name, b)
		}
	}
}

func TestEvent(t *testing.T) {
	payload := string(appendEvent(nil, eventKind, func(b []byte, c schema.Codec) []byte {
		return append(b, map[schema.Codec]string{schema.JSON: `{"push":1}`, schema.Protobuf: "\x00proto"}[c]...)
	}))
	for c, want := range map[schema.Codec]string{schema.JSON: `{"push":1}`, schema.Protobuf: "\x00proto"} {
		if got, err := event(payload, c); err != nil || got != want {
			t.Errorf("%v: %q, %v", c, got, err)
		}
	}
}

func TestKeyspace(t *testing.T) {
	k := keyspace("hubbub")
	seen := map[string]string{}
	for _, room := range []string{"lobby", "{a}", "a}", "%7Ba%7D", "a%", "%257B", "@alice,bob", "}{"} {
		key := k.state(room)
		if strings.Count(key, "{") != 1 || strings.Count(key, "}") != 1 {
			t.Errorf("%q has more than one hash tag: %q", room, key)
		}
		if other, ok := seen[key]; ok {
			t.Errorf("%q and %q share %q", room, other, key)
		}
		seen[key] = room
		if back, ok := k.room(key); !ok || back != room {
			t.Errorf("%q comes back as %q", room, back)
		}
	}
}

func FuzzBatch(f *testing.F) {
	f.Add(payloadOf(testEpoch, 3, &schema.Message{Offset: 5, User: "u", Info: []byte(`{}`), Data: []byte(`"x"`)}))
	f.Add("M")
	f.Fuzz(func(t *testing.T, payload string) {
		if payload == "" {
			return
		}
		b, err := parseBatch("r", payload)
		if err != nil {
			return
		}
		for i, m := range b.messages {
			if i > 0 && m.Prev != b.messages[i-1].Offset || len(m.Data) == 0 {
				t.Fatalf("message %d of a parsed batch: %+v", i, m)
			}
		}
		_, _ = event(payload, schema.JSON)
	})
}

// Positions and clients are read as they are written, and what is not one is
// refused.
func FuzzRegistry(f *testing.F) {
	f.Add("17-3", "\x00\x05alice{}")
	f.Add("-", "\x00\x05a")
	f.Fuzz(func(t *testing.T, id, entry string) {
		if p, err := parsePosition(id); err == nil {
			if again, err := parsePosition(p.String()); err != nil || again != p || again.before(p) {
				t.Fatalf("position %q is %v, then %v, %v", id, p, again, err)
			}
		}
		if c, ok := parseClient("id", entry); ok && appendEntry(c) != entry {
			t.Fatalf("entry %q becomes %q", entry, appendEntry(c))
		}
		s := standings{records: map[string]nodeRecord{}, ages: map[string]time.Duration{}, applied: map[string]position{}}
		s.add(5, id, id, entry) // does not panic
	})
}
