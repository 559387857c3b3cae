package writer

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/sink"
	"github.com/hubbub-chat/hubbub/sink/kafka"
)

// Stream is the relay's memory of a room's recent messages.
type Stream interface {
	// Range returns the room's messages with after < offset <= upTo that are
	// still there, oldest first.
	Range(ctx context.Context, room string, after, upTo uint64) ([]*schema.Message, error)

	// Healed renews the second half of the room's epoch, if its first half
	// still is epoch's, so that members load their history anew.
	Healed(ctx context.Context, room, epoch string) error
}

// Config says what a Writer reads and where it writes. The zero value of a
// number means its default.
type Config struct {
	Kafka  kafka.Config
	Store  *sink.MySQL
	Stream Stream // nil: holes become tombstones, and heals are left out
	Log    *zap.Logger
	Group  string // default: the topic's name, so that two installations share nothing

	// A transaction has what the log had ready, up to MaxBatch messages. If
	// that is less than BatchRecords, it waits for Linger: nobody waits for
	// it, the acknowledgement was Kafka's, and a quiet server then flushes its
	// disk 50 times a second and not 1,000.
	BatchRecords int           // default 500
	MaxBatch     int           // default 4,096
	Linger       time.Duration // default 20 ms

	SessionTimeout time.Duration // until a dead writer's partitions are given to another, default 10 s
	HoleAge        time.Duration // until a hole is given up, default 60 s
	RepairEvery    time.Duration // default 1 s; also how old a hole is before it is one

	// Observe hears of each transaction: messages in it, and how long it took.
	// It may not block; it may be nil.
	Observe func(records int, took time.Duration)
}

func (c Config) defaults() Config {
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	c.Kafka = c.Kafka.Defaults()
	if c.Group == "" {
		c.Group = c.Kafka.Topic
	}
	for _, n := range []struct {
		value *int
		usual int
	}{{&c.BatchRecords, 500}, {&c.MaxBatch, 4096}} {
		if *n.value == 0 {
			*n.value = n.usual
		}
	}
	for _, t := range []struct {
		value *time.Duration
		usual time.Duration
	}{
		{&c.Linger, 20 * time.Millisecond}, {&c.SessionTimeout, 10 * time.Second},
		{&c.HoleAge, time.Minute}, {&c.RepairEvery, time.Second},
	} {
		if *t.value == 0 {
			*t.value = t.usual
		}
	}
	return c
}

// Stats is what a Writer is about and has done so far.
type Stats struct {
	Partitions int           // its share
	Lag        int64         // records of its partitions that it has yet to store, by where the log ends
	Delay      time.Duration // age of the oldest of them
	Owed       int           // holes and heals to see to
	Stuck      int           // partitions that wait for a newer program

	Stored     uint64 // records, repeated ones included
	Batches    uint64 // transactions
	Fenced     uint64 // times that another writer had moved a position
	Rewinds    uint64 // times that it went back to the stored positions
	Foreign    uint64 // records that are not Hubbub's, put aside
	Poison     uint64 // messages that the database refuses, put aside
	Holes      uint64 // messages that others pointed at and nobody had stored
	Repaired   uint64 // of these, those found in the stream
	Tombstones uint64 // of these, those given up: messages lost
	Heals      uint64 // epochs renewed
	Lost       uint64 // records that the log dropped before they were stored
}
