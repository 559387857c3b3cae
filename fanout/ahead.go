package fanout

import (
	"sync/atomic"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// ahead is which rooms have a newest offset that the clock will reach much
// later: it was minted by a clock that was wrong, or restored from elsewhere.
// The room's order holds, since the next offset is above the last in any case.
// But an offset is a time as well, and until the clock is there every message
// of the room says that it is of that time.
//
// Rooms are looked at when the hub looks for those to forget, so it costs
// nothing where messages are minted or delivered.
type ahead struct {
	rooms atomic.Int64

	// owned by whoever calls forget
	told  map[string]struct{} // since
	since time.Time
}

const (
	// farAhead is above what clocks of one cluster may differ by, and what a
	// room gains by having more than 1,024 messages in a millisecond.
	farAhead = 5 * time.Minute

	aheadEvery = time.Hour // between two lines about a room
	aheadLines = 100       // about all rooms in that time
)

// aheadRoom is such a room.
type aheadRoom struct {
	name string
	by   time.Duration
}

// limit is the offset above which a room is ahead.
func (a *ahead) limit(now time.Time) uint64 { return schema.NextOffset(0, now.Add(farAhead)) }

// note takes all rooms that are ahead, and tells of those that were not told of.
func (a *ahead) note(now time.Time, rooms []aheadRoom, tell func(room string, by time.Duration)) {
	a.rooms.Store(int64(len(rooms)))
	if len(rooms) == 0 || tell == nil {
		return
	}
	if a.told == nil || now.Sub(a.since) >= aheadEvery {
		a.told, a.since = make(map[string]struct{}), now
	}
	for _, r := range rooms {
		if _, told := a.told[r.name]; !told && len(a.told) < aheadLines {
			a.told[r.name] = struct{}{}
			tell(r.name, r.by)
		}
	}
}
