package fanout

import (
	"testing"

	"github.com/hubbub-chat/hubbub/schema"
)

// Announcements reach those members that joined for them, in rooms of up to
// maxAnnounced; members of both kinds get the same messages.
func TestAnnounce(t *testing.T) {
	w := newWorld(t, Config{}, 2)
	room := w.open("room")
	plain, asking := &sinkPeer{}, &sinkPeer{}
	w.join(0, room, plain)
	if _, ok := w.hub.Shard(1).Join(room, FormOf(schema.JSON, false).WithAnnouncements(), new(Member), asking); !ok {
		t.Fatal("the room is gone")
	}
	announce := func() (toPlain, toAsking int) {
		a, b := plain.bytes, asking.bytes
		w.relay.Announce("room", func(b []byte, _ schema.Codec) []byte { return append(b, `{"push":{"join":{}}}`...) })
		w.settle()
		return plain.bytes - a, asking.bytes - b
	}
	if a, b := announce(); a != 0 || b == 0 {
		t.Errorf("%d and %d bytes, want none and some", a, b)
	}

	var last *Member
	for range maxAnnounced - 1 {
		last, _ = w.join(0, room, &sinkPeer{})
	}
	if a, b := announce(); a != 0 || b != 0 {
		t.Errorf("%d and %d bytes in a room of one more than %d", a, b, maxAnnounced)
	}
	last.Leave()
	if a, b := announce(); a != 0 || b == 0 {
		t.Errorf("%d and %d bytes in a room of %d", a, b, maxAnnounced)
	}

	a, b := plain.bytes, asking.bytes
	w.publish("room", `"message"`)
	w.commit()
	w.settle()
	if a, b = plain.bytes-a, asking.bytes-b; a != b || a == 0 {
		t.Errorf("a message is %d bytes to one and %d to the other", a, b)
	}

	w.join(0, w.open("nobody asks"), &sinkPeer{})
	never := func([]byte, schema.Codec) []byte { t.Error("encoded for nobody"); return nil }
	for _, room := range []string{"nowhere", "nobody asks"} {
		if n := testing.AllocsPerRun(10, func() { w.hub.Announce(room, never) }); n != 0 {
			t.Errorf("an announcement that nobody wants allocates %v times in %s", n, room)
		}
	}
}
