package writer

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/internal/contact"
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
	}

	monitor *kafka.Monitor // immutable

	// Guarded by mu: the storing goroutine, the repairing one and the client's
	// callbacks all come here. A part's pos and next are the storing one's.
	mu      sync.Mutex
	parts   map[int32]*part
	left    map[int32]*part           // those it had when it could not store any more; they count until it can
	owed    map[sink.Link]sink.Repair // of those partitions
	failing error                     // why nothing is being stored; nil when it is
	down    bool                      // that has been said
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
	w.monitor, err = kafka.NewMonitor(kafka.MonitorConfig{Kafka: w.cfg.Kafka, Topics: []string{w.cfg.Kafka.Topic, w.cfg.Kafka.Dead}})
	if err != nil {
		return nil, err
	}
	w.monitor.Start()
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
		w.failed(err)
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
		known: make(map[string]uint64), batch: batch{moves: make(map[int32]int)}, began: time.Now(),
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
		w.leave()
		client.CloseAllowingRebalance() // all partitions are revoked
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

// leave keeps how far the partitions were stored: if nobody else can store them
// either, what is behind must not look as if it were not.
func (w *Writer) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left == nil {
		w.left = make(map[int32]*part)
	}
	maps.Copy(w.left, w.parts)
}

// drop forgets all partitions.
func (w *Writer) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.parts)
	clear(w.owed)
}

// fail takes note of why a batch was not stored, or with nil that all is.
func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing = err
	if err == nil {
		w.left = nil
		if w.down {
			w.cfg.Log.Info("the log is being stored again")
		}
		w.down = false
	}
}

// failed takes note of why a session has ended. It is said once, until
// something is stored.
func (w *Writer) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing = err
	if !w.down {
		w.cfg.Log.Error("nothing is being stored", zap.Error(err))
	}
	w.down = true
}

// Contact says whether Kafka answers.
func (w *Writer) Contact() *contact.Contact { return w.monitor.Contact() }

// Ready returns nil if what is produced now will soon be stored, or why not.
func (w *Writer) Ready(context.Context) error {
	for _, c := range []*contact.Contact{w.monitor.Contact(), w.cfg.Store.Contact()} {
		if err := c.Status().Problem(c.Name()); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failing != nil {
		return fmt.Errorf("nothing is being stored: %w", w.failing)
	}
	for id, p := range w.parts {
		if p.stuck {
			return fmt.Errorf("partition %d is not being stored: %w", id, kafka.ErrNewer)
		}
	}
	return nil
}

// Stats returns the figures of now.
func (w *Writer) Stats() Stats {
	c := &w.counts
	stats := Stats{
		Stored: c.stored.Load(), Batches: c.batches.Load(), Fenced: c.fenced.Load(), Rewinds: c.rewinds.Load(),
		Foreign: c.foreign.Load(), Poison: c.poison.Load(), Holes: c.holes.Load(), Repaired: c.repaired.Load(),
		Tombstones: c.tombstones.Load(), Heals: c.heals.Load(), Lost: c.lost.Load(),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	stats.Partitions, stats.Owed = len(w.parts), len(w.owed)
	counted := maps.Clone(w.parts)
	for id, p := range w.left {
		if counted[id] == nil {
			counted[id] = p
		}
	}
	now, ends := time.Now(), w.monitor.Ends()
	for id, p := range counted {
		p.end(ends[id], now)
		stats.Lag += p.lag()
		stats.Delay = max(stats.Delay, p.delay(now))
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
	w.monitor.Close()
	return err
}
