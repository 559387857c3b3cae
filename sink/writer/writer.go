package writer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/sink"
	"github.com/hubbub-chat/hubbub/sink/kafka"
)

// Writer is one member of the group that stores the log.
//
// All methods may be called concurrently.
type Writer struct {
	cfg Config // immutable

	polling context.Context // immutable; ended by Close: nothing more is polled
	stop    context.CancelFunc
	working context.Context // immutable; ended by Close when its time is up
	abort   context.CancelFunc
	ended   sync.WaitGroup

	counts struct {
		stored, batches, fenced, rewinds, foreign, poison atomic.Uint64
		holes, repaired, tombstones, heals, lost          atomic.Uint64
		delay                                             atomic.Int64
	}

	// Guarded by mu: the storing goroutine, the repairing one and the client's
	// callbacks all come here. A part's pos and next are the storing one's.
	mu      sync.Mutex
	parts   map[int32]*part
	owed    map[sink.Link]sink.Repair // of those partitions
	failing error                     // why nothing is being stored; nil when it is
	client  *kgo.Client               // the session's; nil between two
}

// Open checks that the topics are there, creates them where that is asked for,
// and starts a writer. The errors are those of the package kafka.
func Open(ctx context.Context, cfg Config) (*Writer, error) {
	cfg = cfg.defaults()
	w := &Writer{cfg: cfg, parts: make(map[int32]*part), owed: make(map[sink.Link]sink.Repair)}
	client, _, err := kafka.Dial(ctx, w.cfg.Kafka, []string{w.cfg.Kafka.Topic, w.cfg.Kafka.Dead})
	if err != nil {
		return nil, err
	}
	client.Close()
	w.polling, w.stop = context.WithCancel(context.Background())
	w.working, w.abort = context.WithCancel(context.Background())
	w.ended.Go(w.run)    // ends when Close cancels polling
	w.ended.Go(w.repair) // the same
	return w, nil
}

// run is a member of the group for as long as it can store. Otherwise it
// leaves, so that somebody else has a chance, and waits for the database.
func (w *Writer) run() {
	for try := 1; w.polling.Err() == nil; try++ {
		began := time.Now()
		err := w.session()
		if w.polling.Err() != nil {
			return
		}
		w.fail(err)
		w.cfg.Log.Error("nothing is being stored", zap.Error(err))
		if time.Since(began) > 2*patience {
			try = 1
		}
		for sink.Sleep(w.polling, sink.Backoff(try)) && w.cfg.Store.Ping(w.polling) != nil {
			try++
		}
	}
}

// session is one membership in the group. It ends with Close, or with what
// keeps it from storing.
func (w *Writer) session() error {
	s := &session{
		Writer: w, entered: make(chan struct{}),
		known: make(map[string]uint64), batch: batch{moves: make(map[int32]int)},
	}
	client, _, err := kafka.Dial(w.polling, w.cfg.Kafka, nil,
		kgo.ConsumeTopics(w.cfg.Kafka.Topic),
		kgo.ConsumerGroup(w.cfg.Group),
		kgo.SessionTimeout(w.cfg.SessionTimeout),
		kgo.HeartbeatInterval(w.cfg.SessionTimeout/5),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.AdjustFetchOffsetsFn(s.assign),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) {}), // so that assigning waits for the batch too
		kgo.OnPartitionsRevoked(s.revoke),
		kgo.OnPartitionsLost(s.revoke),
		kgo.FetchMaxBytes(16<<20),
		kgo.RequiredAcks(kgo.AllISRAcks()), // of dead letters
		kgo.ProducerLinger(0),
	)
	if err != nil {
		return err
	}
	s.client = client
	w.enter(client)
	defer func() {
		w.enter(nil)
		client.CloseAllowingRebalance()
		w.drop()
	}()
	if s.topicID, err = topicID(w.polling, client, w.cfg.Kafka.Topic); err != nil {
		return err
	}
	close(s.entered)
	for w.polling.Err() == nil {
		if err := s.turn(); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) enter(client *kgo.Client) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.client = client
}

// drop forgets all partitions.
func (w *Writer) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.parts)
	clear(w.owed)
}

func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing = err
}

// Ready returns nil if what is produced now will soon be stored, or why not.
func (w *Writer) Ready(ctx context.Context) error {
	client, err := w.state()
	if err != nil || client == nil {
		return err
	}
	return kafka.Ping(ctx, client, w.cfg.Kafka.Brokers)
}

func (w *Writer) state() (*kgo.Client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failing != nil {
		return nil, fmt.Errorf("nothing is being stored: %w", w.failing)
	}
	for id, p := range w.parts {
		if p.stuck {
			return nil, fmt.Errorf("partition %d is not being stored: %w", id, kafka.ErrNewer)
		}
	}
	return w.client, nil
}

// Stats returns the figures of now.
func (w *Writer) Stats() Stats {
	c := &w.counts
	stats := Stats{
		Delay:  time.Duration(c.delay.Load()),
		Stored: c.stored.Load(), Batches: c.batches.Load(), Fenced: c.fenced.Load(), Rewinds: c.rewinds.Load(),
		Foreign: c.foreign.Load(), Poison: c.poison.Load(), Holes: c.holes.Load(), Repaired: c.repaired.Load(),
		Tombstones: c.tombstones.Load(), Heals: c.heals.Load(), Lost: c.lost.Load(),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	stats.Partitions, stats.Owed = len(w.parts), len(w.owed)
	for _, p := range w.parts {
		stats.Lag += p.lag()
		if p.stuck {
			stats.Stuck++
		}
	}
	return stats
}

// Close stores the batch under way, leaves the group and returns when both
// goroutines have ended. If ctx ends first, the batch is given up: it is in
// the log, and whoever has the partition next stores it.
func (w *Writer) Close(ctx context.Context) error {
	w.stop()
	ended := make(chan struct{})
	go func() { // ends with the two goroutines
		w.ended.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = fmt.Errorf("close the writer: %w", ctx.Err())
		w.abort()
		<-ended
	}
	w.abort()
	return err
}
