package writer

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/internal/contact"
	"github.com/hubbub-chat/hubbub/sink"
	"github.com/hubbub-chat/hubbub/sink/kafka"
)

const (
	// patience is how long a session bears that nothing can be stored before
	// it leaves the group. A restart of the database should fit into it; what
	// is longer may be this machine's fault, and another writer may do better.
	patience = 10 * time.Second

	// maxKnown bounds the rooms whose last stored offset is remembered: what
	// is forgotten costs one more key in a statement.
	maxKnown = 100_000

	// maxOwed is how many repairs are in memory, of one partition and in all.
	// The rest comes with the next assignment.
	maxOwed, maxAllOwed = 10_000, 100_000

	// replay is how far a writer goes back in a partition that it is given
	// where rows and positions are in different shards: one of them may have
	// lost its last transactions in a fail-over.
	replay = 10 * time.Minute
)

// session is one membership in the group, on one client. Its methods are the
// storing goroutine's, but for assign and revoke, which the client calls while
// that one is not between a poll and AllowRebalance.
type session struct {
	*Writer
	entered  chan struct{} // closed when the next two are known
	client   *kgo.Client
	topicID  string            // in the database: a topic that is made anew is another one
	known    map[string]uint64 // by room, an offset that is stored or in the batch
	batch    batch
	began    time.Time
	failures int       // in a row
	since    time.Time // of the first of them
}

// problem is what a poll said of a partition.
type problem struct {
	partition int32
	err       error
}

// turn polls one batch and stores it.
func (s *session) turn() error {
	defer s.client.AllowRebalance()
	s.batch.reset()
	problems := s.first()
	linger, cancel := context.WithTimeout(s.polling, s.cfg.Linger)
	defer cancel()
	for len(problems) == 0 && !s.batch.empty() && !s.batch.full(s.cfg.BatchRecords) && linger.Err() == nil {
		problems = s.poll(linger)
	}
	if !s.batch.empty() {
		if err := s.store(); err != nil {
			return err
		}
	}
	for _, p := range problems {
		if err := s.solve(p); err != nil {
			return err
		}
	}
	return nil
}

// first waits for something to poll. While something is wrong it does not wait
// for long: that nothing comes and nothing is wrong is news, too.
func (s *session) first() []problem {
	ctx := s.polling
	s.mu.Lock()
	failing := s.failing != nil
	s.mu.Unlock()
	if !failing {
		return s.poll(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	problems := s.poll(ctx)
	if len(problems) == 0 && s.batch.empty() && s.caughtUp() {
		s.fail(nil)
	}
	return problems
}

// caughtUp reports whether there is nothing to store, or others have it to do.
func (s *session) caughtUp() bool {
	if s.cfg.Store.Contact().State() != contact.Answers {
		return false
	}
	ends := s.monitor.Ends()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, p := range s.parts {
		if p.end(ends[id], time.Now()); p.lag() > 0 {
			return false
		}
	}
	return len(s.parts) > 0 || time.Since(s.began) > 2*s.cfg.SessionTimeout
}

// poll adds to the batch what there is.
func (s *session) poll(ctx context.Context) (problems []problem) {
	fetches := s.client.PollRecords(ctx, s.cfg.MaxBatch)
	s.mu.Lock()
	defer s.mu.Unlock()
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if f.Err != nil {
			if !errors.Is(f.Err, context.Canceled) && !errors.Is(f.Err, context.DeadlineExceeded) && !errors.Is(f.Err, kgo.ErrClientClosed) {
				problems = append(problems, problem{f.Partition, f.Err})
			}
			return
		}
		p := s.parts[f.Partition]
		if p == nil {
			return
		}
		if f.HighWatermark < p.next {
			problems = append(problems, problem{f.Partition, kerr.OffsetOutOfRange}) // it ended there before
			return
		}
		p.end(f.HighWatermark, time.Now())
		for _, r := range f.Records {
			s.take(p, r)
		}
	})
	return problems
}

// take reads a record into the batch. It is called with mu.
func (s *session) take(p *part, r *kgo.Record) {
	if p.stuck || r.Offset < p.next {
		return
	}
	if p.oldest.IsZero() && r.Offset >= p.pos {
		p.oldest = r.Timestamp
	}
	record, err := kafka.Parse(r.Key, r.Value)
	switch {
	case errors.Is(err, kafka.ErrNewer):
		p.stuck = true
		s.client.PauseFetchPartitions(map[string][]int32{r.Topic: {r.Partition}})
		s.cfg.Log.Error("a partition waits for a newer program", zap.Int32("partition", r.Partition), zap.Int64("record", r.Offset), zap.Error(err))
		return
	case err != nil:
		s.batch.dead = append(s.batch.dead, deadLetter{r, err.Error()})
		s.counts.foreign.Add(1)
	case record.Message == nil:
		// Below the stored position, in a replay, a heal is done or owed.
		if s.cfg.Stream != nil && r.Offset >= p.pos {
			s.batch.commit.Owed = append(s.batch.commit.Owed, sink.Repair{
				Link: sink.Link{Partition: p.Partition, Room: record.Room}, Epoch: record.Epoch, Since: time.Now(),
			})
		}
	default:
		m := record.Message
		s.batch.add(r, m)
		s.follow(p, m.Room, m.Prev, m.Offset)
	}
	s.batch.move(p, r)
}

// follow notes what has to be there for a message's link to lead somewhere,
// and whether somebody waits for the message itself.
func (s *session) follow(p *part, room string, prev, offset uint64) {
	if prev != 0 && s.known[room] != prev {
		s.batch.commit.Links = append(s.batch.commit.Links, sink.Link{Partition: p.Partition, Room: room, Seq: prev})
	}
	if len(s.known) >= maxKnown {
		clear(s.known)
	}
	s.known[room] = offset
	if len(s.owed) > 0 {
		if r, ok := s.owed[sink.Link{Partition: p.Partition, Room: room, Seq: offset}]; ok {
			s.batch.commit.Done = append(s.batch.commit.Done, r)
		}
	}
}

// solve deals with what a poll said of a partition. An error ends the session.
func (s *session) solve(p problem) error {
	var loss *kgo.ErrDataLoss
	if errors.Is(p.err, kerr.OffsetOutOfRange) || errors.As(p.err, &loss) {
		return s.outOfRange(p.partition)
	}
	if errors.Is(p.err, kerr.UnknownTopicOrPartition) || errors.Is(p.err, kerr.UnknownTopicID) || errors.Is(p.err, kerr.InconsistentTopicID) {
		return p.err // the topic may be another one now
	}
	s.fail(p.err)
	s.cfg.Log.Warn("the log cannot be read", zap.Int32("partition", p.partition), zap.Error(p.err))
	sink.Sleep(s.polling, sink.Backoff(3)) // the client tries again by itself
	return nil
}

// store brings the batch to the database, or goes back to where that is.
func (s *session) store() error {
	b := &s.batch
	b.link()
	start := time.Now()
	isolated := false
	for busy := 1; ; busy++ {
		if err := s.bury(); err != nil {
			return s.rewind(err)
		}
		holes, err := s.cfg.Store.Commit(s.working, &b.commit)
		switch {
		case err == nil:
			s.stored(holes, start)
			return nil
		case errors.Is(err, sink.ErrBusy) && busy < 10:
			sink.Sleep(s.working, sink.Backoff(1))
			continue
		case errors.Is(err, sink.ErrData) && !isolated:
			isolated = true // a second time it is not a message
			if err = s.isolate(); err == nil {
				continue
			}
		}
		return s.rewind(err)
	}
}

// stored takes note of a batch that is.
func (s *session) stored(holes []sink.Repair, start time.Time) {
	b := &s.batch
	s.failures = 0
	c := &s.counts
	c.batches.Add(1)
	c.stored.Add(uint64(len(b.commit.Messages)))
	c.holes.Add(uint64(len(holes)))
	if s.cfg.Observe != nil {
		s.cfg.Observe(len(b.commit.Messages), time.Since(start))
	}
	s.fail(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range b.commit.Moves {
		if p := s.parts[m.ID]; p != nil {
			p.move(m.To)
		}
	}
	s.note(holes, b.commit.Owed, b.commit.Done)
}

// note keeps what is owed in memory as it is in the database. It is called
// with mu.
func (w *Writer) note(holes, owed, done []sink.Repair) {
	for _, list := range [][]sink.Repair{holes, owed} {
		for _, r := range list {
			if len(w.owed) < maxAllOwed {
				w.owed[r.Link] = r
			}
		}
	}
	for _, r := range done {
		delete(w.owed, r.Link)
	}
}

// rewind goes back to the stored positions, whatever has happened. It returns
// what has happened once that has gone on for too long.
func (s *session) rewind(cause error) error {
	if s.failures++; s.failures == 1 {
		s.since = time.Now()
		s.mu.Lock()
		if s.failing == nil {
			s.cfg.Log.Warn("a batch was not stored", zap.Error(cause))
		}
		s.mu.Unlock()
	}
	s.counts.rewinds.Add(1)
	if errors.Is(cause, sink.ErrFenced) {
		s.counts.fenced.Add(1)
	} else {
		s.fail(cause)
	}
	clear(s.known)
	for {
		if time.Since(s.since) > patience || !sink.Sleep(s.polling, sink.Backoff(s.failures)) {
			return cause
		}
		to, err := s.positions()
		if err == nil {
			s.seek(to)
			return nil
		}
		cause = err
		s.failures++
	}
}
