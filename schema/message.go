package schema

import "time"

// Message is one publication of a room: what the relay orders, the sink
// stores and the hub delivers. Once it has been handed to the sink nobody
// changes it; its fields are then shared by every goroutine that reads it.
type Message struct {
	Room   string // channel name, valid by CheckChannel
	Offset uint64 // its number in the room; strictly increasing, see NextOffset
	Prev   uint64 // the offset before it in the room, 0 for the room's first
	User   string // the sender's user id, empty when a server published
	Client string // the sender's connection, empty when a server published
	Info   []byte // the sender's conn_info, one JSON value, or nil
	Key    string // the sender's idempotency key, or empty
	Data   []byte // one JSON value without raw newlines
}

// MaxKeyLen is the longest idempotency key in bytes.
const MaxKeyLen = 255

// offsetTimeShift leaves 1,024 offsets to each millisecond. A room that
// publishes faster runs ahead of the clock and is caught up by it later.
const offsetTimeShift = 10

// NextOffset returns the offset after last at the given time:
// max(last+1, now_ms<<10). It is order, identity and time in one number, and
// a safe integer in JavaScript until the year 2248.
func NextOffset(last uint64, now time.Time) uint64 {
	return max(last+1, uint64(now.UnixMilli())<<offsetTimeShift)
}

// OffsetTime returns when an offset was minted, to the millisecond.
func OffsetTime(offset uint64) time.Time {
	return time.UnixMilli(int64(offset >> offsetTimeShift))
}

// Size is the number of bytes the message is accounted with in budgets and
// bounds: its variable parts and a fixed share for the rest.
func (m *Message) Size() int {
	return 64 + len(m.Room) + len(m.User) + len(m.Client) + len(m.Info) + len(m.Key) + len(m.Data)
}
