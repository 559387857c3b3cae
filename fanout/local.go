package fanout

import (
	"context"
	"fmt"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// Log makes messages durable, in the order they are submitted.
type Log interface {
	// Submit never blocks. done is called once, when the message is durable
	// or is known not to be.
	Submit(m *schema.Message, done func(error)) error
}

// Local is the relay of a node alone: it gives offsets and delivers in
// process.
//
// Offsets are minted by the goroutine that commits, for a whole batch right
// before its transaction, and a room's last offset moves when the transaction
// has committed. So what failed to commit leaves no hole, order and offsets
// agree without a lock around both, and a crash shows nobody what history
// lacks. (Rejected: minting under the room's lock when the message arrives.
// A failed batch then breaks the chain of everything queued behind it.)
type Local struct {
	hub   *Hub
	rooms *Stored
	log   Log
	now   func() time.Time
	keys  *keys
	mints map[*Room]uint64 // the batch's rooms and their newest offset; owned by the committing goroutine
}

// NewLocal makes a relay on a hub and the source of its rooms. Wire Mint and
// Committed to the log before the first Publish.
func NewLocal(h *Hub, rooms *Stored, log Log) *Local {
	return &Local{hub: h, rooms: rooms, log: log, now: time.Now, keys: newKeys(time.Now), mints: make(map[*Room]uint64)}
}

// Publish accepts a message or returns ErrOverloaded, ErrKeyReused or the
// log's error. done is called once: when the message is durable and on its
// way to the members, with m.Offset set; with a Duplicate, perhaps before
// Publish returns, when it was so already under the same key; or with what
// kept it from that. Publish never blocks.
func (l *Local) Publish(m *schema.Message, done func(error)) error {
	if err := l.hub.Admit(m.Room); err != nil {
		return err
	}
	if m.Key != "" {
		return l.keys.publish(m, done, l.log.Submit)
	}
	return l.log.Submit(m, done)
}

// Mint gives a batch its offsets. The log calls it right before it commits,
// always on the same goroutine.
func (l *Local) Mint(batch []*schema.Message) error {
	clear(l.mints)
	now := l.now()
	for _, m := range batch {
		r := l.hub.room(m.Room)
		last, ok := l.mints[r]
		if !ok {
			if err := l.rooms.load(context.Background(), r); err != nil {
				return fmt.Errorf("read the last offset of a room: %w", err)
			}
			last = r.Top()
		}
		m.Prev, m.Offset = last, schema.NextOffset(last, now)
		l.mints[r] = m.Offset
	}
	return nil
}

// Committed delivers a batch that is durable. A batch that is not was seen by
// nobody, and its offsets will be minted again.
func (l *Local) Committed(batch []*schema.Message, err error) {
	if err == nil {
		l.hub.Deliver(batch)
	}
}

// Event brings something that is not kept to a room's members.
func (l *Local) Event(room string, encode func([]byte, schema.Codec) []byte) {
	l.hub.Event(room, encode)
}

// Announce brings who comes or goes to those members that asked for it.
func (l *Local) Announce(room string, encode func([]byte, schema.Codec) []byte) {
	l.hub.Announce(room, encode)
}
