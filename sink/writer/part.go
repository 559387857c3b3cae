package writer

import (
	"time"

	"github.com/hubbub-chat/hubbub/sink"
)

// part is a partition that this writer has.
type part struct {
	sink.Partition       // as the database knows it: the topic's name with its id
	pos            int64 // stored up to here
	next           int64 // read up to here
	high           int64 // the log's end, as far as it is known
	stuck          bool  // a newer program's record is next

	// When the record at pos was produced. Zero: it has not been read, or
	// there is none.
	oldest time.Time
	// When there was first known to be a record at pos: a later time, for
	// records that nobody has read.
	behind time.Time
}

func (p *part) lag() int64 { return max(p.high-p.pos, 0) }

// move takes note that the partition is stored up to a record.
func (p *part) move(to int64) {
	if to != p.pos {
		p.pos, p.oldest, p.behind = to, time.Time{}, time.Time{}
	}
}

// end takes note of where the log ends.
func (p *part) end(high int64, now time.Time) {
	p.high = max(p.high, high)
	if p.lag() > 0 && p.behind.IsZero() {
		p.behind = now
	}
}

// delay is the age of the oldest record that is not stored, as far as it is
// known.
func (p *part) delay(now time.Time) time.Duration {
	since := p.oldest
	if since.IsZero() {
		since = p.behind
	}
	if p.lag() == 0 || since.IsZero() {
		return 0
	}
	return max(now.Sub(since), 0)
}
