package writer

import "github.com/hubbub-chat/hubbub/sink"

// part is a partition that this writer has.
type part struct {
	sink.Partition       // as the database knows it: the topic's name with its id
	pos            int64 // stored up to here
	next           int64 // read up to here
	high           int64 // the log's end, as far as it is known
	stuck          bool  // a newer program's record is next
}

func (p *part) lag() int64 { return max(p.high-p.pos, 0) }
