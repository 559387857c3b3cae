package redis

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/hubbub-chat/hubbub/schema"
)

// publication is an event on its way to all nodes.
type publication struct{ channel, payload string }

// maxEvents is how many events may wait; nobody keeps them, so more are lost.
const maxEvents = 1 << 14

// Event brings something that is not kept, a join or somebody typing, to a
// room's members on all nodes. encode appends it in a codec, at once. It never
// blocks; while Redis does not answer events are lost.
func (r *Relay) Event(room string, encode func([]byte, schema.Codec) []byte) {
	r.putEvent(room, eventKind, encode)
}

// Announce brings who comes or goes to those members that asked for it, on all
// nodes, as Event does. In a room that is large on this node it does nothing.
func (r *Relay) Announce(room string, encode func([]byte, schema.Codec) []byte) {
	if r.hub.Announces(room) {
		r.putEvent(room, newsKind, encode)
	}
}

func (r *Relay) putEvent(room string, kind byte, encode func([]byte, schema.Codec) []byte) {
	if !r.events.put(publication{r.keys.state(room), string(appendEvent(nil, kind, encode))}) {
		r.stats.dropped.Add(1)
	}
}

// sendEvents publishes events, those of one room in order.
func (r *Relay) sendEvents() {
	for {
		list := r.events.take(256)
		if len(list) == 0 {
			return
		}
		commands := make(rueidis.Commands, len(list))
		for i, p := range list {
			commands[i] = r.client.B().Spublish().Channel(p.channel).Message(p.payload).Build()
		}
		for _, result := range r.client.DoMulti(context.Background(), commands...) {
			if result.Error() != nil {
				r.stats.dropped.Add(1)
			}
		}
	}
}
