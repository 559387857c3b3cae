package redis

import (
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/hubbub-chat/hubbub/schema"
)

// What an older node has left in a stream, and no reader could parse, is shown
// as unreadable in its place; what surrounds it is as it was.
func TestUnreadableInStream(t *testing.T) {
	deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
	var entries []rueidis.XRangeEntry
	for i, data := range []string{`{"text":"before"}`, deep, `{"cut":`, `{"text":"behind"}`} {
		m := &schema.Message{User: "u", Client: "c", Info: []byte(deep), Data: []byte(data)}
		body := appendBody(nil, sent{boot: strings.Repeat("0", bootLen), counter: 1}, m)
		entries = append(entries, rueidis.XRangeEntry{
			ID: decimal(uint64(i)+8) + "-0", FieldValues: map[string]string{"p": decimal(uint64(i) + 7), "b": string(body)},
		})
	}
	list, unreadable := parseEntries("r", entries)
	if unreadable > 0 {
		t.Fatalf("%d of them are left out", unreadable)
	}
	for i, want := range []string{`{"text":"before"}`, `{"type":"unreadable"}`, `{"type":"unreadable"}`, `{"text":"behind"}`} {
		if m := list[i]; string(m.Data) != want || m.Info != nil || m.Offset != uint64(i)+8 || m.Prev != uint64(i)+7 || m.User != "u" {
			t.Errorf("entry %d is %+v", i, m)
		}
	}
}
