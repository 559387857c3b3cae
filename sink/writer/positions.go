package writer

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/sink"
)

// positions reads those of all partitions.
func (s *session) positions() (map[int32]int64, error) {
	s.mu.Lock()
	list := make(map[int32]sink.Partition, len(s.parts))
	for id, p := range s.parts {
		list[id] = p.Partition
	}
	s.mu.Unlock()
	to := make(map[int32]int64, len(list))
	for id, p := range list {
		pos, _, err := s.cfg.Store.Position(s.working, p)
		if err != nil {
			return nil, err
		}
		to[id] = pos
	}
	return to, nil
}

// seek goes on from the positions given.
func (s *session) seek(to map[int32]int64) {
	offsets := make(map[int32]kgo.EpochOffset, len(to))
	s.mu.Lock()
	for id, pos := range to {
		if p := s.parts[id]; p != nil {
			p.move(pos)
			p.next, p.high = pos, pos // where it ends may have changed, too
			offsets[id] = kgo.EpochOffset{Epoch: -1, Offset: pos}
		}
	}
	s.mu.Unlock()
	s.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{s.cfg.Kafka.Topic: offsets})
}

// assign is called by the client with partitions that are new here, and says
// where to begin.
func (s *session) assign(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-s.entered:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for _, list := range offsets {
		for id := range list {
			p := &part{Partition: sink.Partition{Topic: s.topicID, ID: id}}
			pos, moved, err := s.cfg.Store.Position(ctx, p.Partition)
			if err != nil {
				return nil, err
			}
			repairs, err := s.cfg.Store.Repairs(ctx, p.Partition, maxOwed)
			if err != nil {
				return nil, err
			}
			p.pos, p.next = pos, pos
			if s.cfg.Store.Sharded() {
				if p.next, err = before(ctx, s.client, s.cfg.Kafka.Topic, id, pos, moved.Add(-replay)); err != nil {
					return nil, err
				}
			}
			list[id] = kgo.NewOffset().At(p.next).WithEpoch(-1)
			s.mu.Lock()
			s.parts[id] = p
			s.note(repairs, nil, nil)
			s.mu.Unlock()
		}
	}
	return offsets, nil
}

// revoke is called by the client with partitions that are not ours any more.
func (s *session) revoke(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range lost {
		for _, id := range list {
			delete(s.parts, id)
			for l := range s.owed {
				if l.ID == id {
					delete(s.owed, l)
				}
			}
		}
	}
}

// outOfRange moves a position that the log does not have. This is a loss, and
// said loudly; but to stop here would lose more.
func (s *session) outOfRange(id int32) error {
	s.mu.Lock()
	p := s.parts[id]
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	start, end, err := bounds(s.working, s.client, s.cfg.Kafka.Topic, id)
	if err != nil {
		return s.rewind(err)
	}
	to := p.pos
	switch {
	case p.pos < start:
		s.counts.lost.Add(uint64(start - p.pos))
		s.cfg.Log.Error("the log has dropped records before they were stored",
			zap.Int32("partition", id), zap.Int64("from", p.pos), zap.Int64("to", start))
		to = start
	case p.pos > end:
		// What came after the log fell back has offsets again that are behind
		// us. Everything once more is the way that misses none of it.
		s.cfg.Log.Error("the log has lost records that were stored",
			zap.Int32("partition", id), zap.Int64("from", end), zap.Int64("to", p.pos))
		to = start
	}
	if _, err := s.cfg.Store.Commit(s.working, &sink.Commit{Moves: []sink.Move{{Partition: p.Partition, From: p.pos, To: to}}}); err != nil {
		return s.rewind(err)
	}
	s.seek(map[int32]int64{id: to})
	return nil
}
