package fanout

import (
	"sort"

	"github.com/hubbub-chat/hubbub/schema"
)

// recent is a room's newest messages, oldest first, each linked to the one
// before it by Prev. Recovery and the first page of history are answered from
// it without touching the store. It is guarded by its room's mutex.
type recent struct {
	list  []*schema.Message
	bytes int
}

// push adds the room's next message and forgets the oldest beyond the bounds.
func (r *recent) push(m *schema.Message, maxMessages, maxBytes int) {
	r.list = append(r.list, m)
	r.bytes += m.Size()
	drop := 0
	for len(r.list)-drop > maxMessages || r.bytes > maxBytes && len(r.list)-drop > 1 {
		r.bytes -= r.list[drop].Size()
		r.list[drop] = nil
		drop++
	}
	r.list = r.list[drop:]
}

// after returns the messages with after < offset <= upTo, or false when it
// does not reach back far enough to have them all.
func (r *recent) after(after, upTo uint64) ([]*schema.Message, bool) {
	if after >= upTo {
		return nil, true
	}
	if len(r.list) == 0 || after < r.list[0].Prev {
		return nil, false
	}
	from, to := r.search(after+1), r.search(upTo+1)
	return r.list[from:to], true
}

// before returns up to limit messages with offset < before, oldest first, or
// false when the store may have more of them.
func (r *recent) before(before uint64, limit int) ([]*schema.Message, bool) {
	to := r.search(before)
	if to >= limit {
		return r.list[to-limit : to], true
	}
	complete := len(r.list) > 0 && r.list[0].Prev == 0
	return r.list[:to], complete
}

// search returns the index of the first message with at least this offset.
func (r *recent) search(offset uint64) int {
	return sort.Search(len(r.list), func(i int) bool { return r.list[i].Offset >= offset })
}
