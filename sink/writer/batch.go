package writer

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/sink"
)

// maxBatchBytes ends a batch of large messages.
const maxBatchBytes = 8 << 20

// batch is what is stored in one transaction.
type batch struct {
	commit  sink.Commit
	records []*kgo.Record // of commit.Messages, in their order
	dead    []deadLetter
	moves   map[int32]int // partition -> index in commit.Moves
	bytes   int
}

// deadLetter is a record for the dead-letter topic.
type deadLetter struct {
	record *kgo.Record
	reason string
}

func (b *batch) reset() {
	clear(b.records)
	clear(b.dead)
	clear(b.moves)
	clear(b.commit.Messages)
	*b = batch{
		commit:  sink.Commit{Moves: b.commit.Moves[:0], Messages: b.commit.Messages[:0], Links: b.commit.Links[:0]},
		records: b.records[:0], dead: b.dead[:0], moves: b.moves,
	}
}

// full reports whether the batch should be stored now.
func (b *batch) full(records int) bool {
	return len(b.records)+len(b.dead) >= records || b.bytes >= maxBatchBytes
}

func (b *batch) empty() bool { return len(b.commit.Moves) == 0 }

// move notes that the partition is stored up to and with the record.
func (b *batch) move(p *part, r *kgo.Record) {
	i, ok := b.moves[r.Partition]
	if !ok {
		i = len(b.commit.Moves)
		b.moves[r.Partition] = i
		b.commit.Moves = append(b.commit.Moves, sink.Move{Partition: p.Partition, From: p.pos})
	}
	b.commit.Moves[i].To = max(r.Offset+1, p.pos) // what is stored again moves nothing
	p.next = r.Offset + 1
}

// add takes a message in.
func (b *batch) add(r *kgo.Record, m *schema.Message) {
	b.commit.Messages = append(b.commit.Messages, m)
	b.records = append(b.records, r)
	b.bytes += m.Size()
}

// place is a message's place, as a key.
type place struct {
	room string
	seq  uint64
}

// link keeps those of the links that do not lead to a message of the batch.
func (b *batch) link() {
	if len(b.commit.Links) == 0 {
		return
	}
	here := make(map[place]bool, len(b.commit.Messages))
	for _, m := range b.commit.Messages {
		here[place{m.Room, m.Offset}] = true
	}
	links := b.commit.Links[:0]
	for _, l := range b.commit.Links {
		if !here[place{l.Room, l.Seq}] {
			links = append(links, l)
		}
	}
	b.commit.Links = links
}
