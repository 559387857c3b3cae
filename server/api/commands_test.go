package api

import (
	"strings"
	"testing"
)

// FuzzCommands reads any body in the form of former SDKs: into at most 1,000 requests,
// each of which can be run or says why not, or an error.
func FuzzCommands(f *testing.F) {
	for _, body := range []string{
		`{"method":"publish","params":{"channel":"a","data":1}}` + "\n" + `{"method":"info","params":{}}`, `{"method":"nonsense"}{"method":"history","params":null}`,
		`{}`, `{"method":5}`, `[]`, "", "{\"method\":\"\xff\"}", `{"method":"batch","params":{"commands":[]}}`, strings.Repeat(`{"method":"info"} `, 1001),
		`{"method":"publish","params":"x"}`, `{"METHOD":"info","Params":[1]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := decodeCommands(body)
		if (err != nil) == (len(list) > 0) || len(list) > maxMany {
			t.Fatalf("%d requests, %v", len(list), err)
		}
		for i, req := range list {
			if req == nil {
				t.Fatalf("request %d of %q is none", i, body)
			}
			if r, ok := req.(refused); ok && r.err == nil {
				t.Fatalf("request %d of %q is refused for nothing", i, body)
			}
		}
	})
}
