package check

import (
	"encoding/json"
	"testing"
)

func TestPayload(t *testing.T) {
	const run = "0123abcd"
	for _, p := range []Payload{
		{},
		{1, 2, 3, 4},
		{1<<32 - 1, 1<<32 - 1, 1<<63 - 1, maxLag},
	} {
		for _, size := range []int{MinPayload, MinPayload + 1, 200, 2000, 65536} {
			b := p.Append([]byte("before"), run, size)[len("before"):]
			if len(b) != size || !json.Valid(b) {
				t.Fatalf("%+v: %d bytes, want %d: %s", p, len(b), size, b)
			}
			got, ok := ParsePayload(b, run, Exactly(size))
			if !ok || got != p {
				t.Fatalf("%+v read as %+v, %t", p, got, ok)
			}
			for name, bad := range map[string]bool{
				"another run":  accepted(ParsePayload(b, "ffffffff", Exactly(size))),
				"another size": accepted(ParsePayload(b, run, Exactly(size+1))),
				"cut":          accepted(ParsePayload(b[:size-1], run, Exactly(size-1))),
			} {
				if bad {
					t.Errorf("%+v: accepted from %s", p, name)
				}
			}
		}
	}
}

func accepted(_ Payload, ok bool) bool { return ok }

func FuzzPayload(f *testing.F) {
	f.Add(Payload{1, 2, 3, 4}.Append(nil, "0123abcd", 200))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := ParsePayload(b, "0123abcd", Exactly(len(b)))
		if !ok || len(b) < MinPayload {
			return
		}
		again, ok := ParsePayload(p.Append(nil, "0123abcd", len(b)), "0123abcd", Exactly(len(b)))
		if !ok || again != p {
			t.Fatalf("%+v, again %+v, %t", p, again, ok)
		}
	})
}
