package writer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/sink"
)

const (
	buryTimeout = 10 * time.Second
	maxReason   = 1000 // bytes of why
	cutTo       = 64 << 10
)

// bury brings the batch's dead letters to their topic. The batch is stored
// after that, so a crash between the two buries them twice and loses none.
func (s *session) bury() error {
	ctx, cancel := context.WithTimeout(s.working, buryTimeout)
	defer cancel()
	for _, d := range s.batch.dead {
		err := s.client.ProduceSync(ctx, s.letter(d)).FirstErr()
		if errors.Is(err, kerr.MessageTooLarge) {
			// A record that just fitted its topic, and here has its reason
			// with it. What is cut off must not stop everything behind it.
			d.record.Value = d.record.Value[:min(len(d.record.Value), cutTo)]
			d.reason = "cut to 64 KiB: " + d.reason
			err = s.client.ProduceSync(ctx, s.letter(d)).FirstErr()
		}
		if err != nil {
			return fmt.Errorf("bring a record to %s: %w", s.cfg.Kafka.Dead, err)
		}
		s.cfg.Log.Error("a record was put aside", zap.String("topic", s.cfg.Kafka.Dead),
			zap.Int32("partition", d.record.Partition), zap.Int64("record", d.record.Offset), zap.String("reason", d.reason))
	}
	s.batch.dead = s.batch.dead[:0]
	return nil
}

// letter is the record as it was, with where it was and why it is dead.
func (s *session) letter(d deadLetter) *kgo.Record {
	header := func(name, value string) kgo.RecordHeader {
		return kgo.RecordHeader{Key: "hubbub-" + name, Value: []byte(value)}
	}
	return &kgo.Record{
		Topic: s.cfg.Kafka.Dead, Key: d.record.Key, Value: d.record.Value,
		Headers: []kgo.RecordHeader{
			header("topic", d.record.Topic),
			header("partition", strconv.Itoa(int(d.record.Partition))),
			header("offset", strconv.FormatInt(d.record.Offset, 10)),
			header("reason", d.reason[:min(len(d.reason), maxReason)]),
		},
	}
}

// isolate takes the messages that the database refuses out of the batch, and
// leaves a tombstone for each. It finds them by halves; that all others are
// stored on the way changes nothing, as they are stored again.
func (s *session) isolate() error {
	b := &s.batch
	poison, err := s.search(0, len(b.commit.Messages))
	if err != nil {
		return err
	}
	kept := 0
	for i, m := range b.commit.Messages {
		if reason, ok := poison[i]; ok {
			b.dead = append(b.dead, deadLetter{b.records[i], reason})
			b.commit.Tombstones = append(b.commit.Tombstones, sink.Tombstone{Room: m.Room, Seq: m.Offset, Prev: m.Prev})
			s.counts.poison.Add(1)
			continue
		}
		b.commit.Messages[kept], b.records[kept] = m, b.records[i]
		kept++
	}
	b.commit.Messages, b.records = b.commit.Messages[:kept], b.records[:kept]
	return nil
}

// search returns which of the messages from one index to another the database
// refuses, and why.
func (s *session) search(from, to int) (map[int]string, error) {
	err := s.cfg.Store.Append(s.working, s.batch.commit.Messages[from:to])
	switch {
	case err == nil:
		return nil, nil
	case !errors.Is(err, sink.ErrData):
		return nil, err
	case to-from == 1:
		return map[int]string{from: err.Error()}, nil
	}
	half := (from + to) / 2
	poison, err := s.search(from, half)
	if err != nil {
		return nil, err
	}
	more, err := s.search(half, to)
	if poison == nil {
		poison = more
	}
	for i, reason := range more {
		poison[i] = reason
	}
	return poison, err
}
