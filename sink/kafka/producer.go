package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubbub-chat/hubbub/internal/contact"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/sink"
)

// batchOverhead is what a record has beside its Message.Size, and a batch of
// one record beside that.
const batchOverhead = 128

// ErrTooLarge is what done hears of a message larger than the topic takes. It
// cannot happen to what was reserved, unless somebody has made the topic's
// limit smaller since.
var ErrTooLarge = errors.New("the message is larger than the topic takes")

// ProducerStats is what a Producer holds now and has done so far.
type ProducerStats struct {
	sink.BudgetStats
	Produced uint64 // records that Kafka has confirmed
	Retried  uint64 // times that one was produced again because Kafka had refused it
	TooLarge uint64 // messages given up
}

// Producer makes messages durable that have been minted: acks=all, idempotent,
// the room as key.
//
// It never gives up. Members have seen what comes here, so there is nobody to
// return an error to: records have no time limit and no limit of tries, and
// what the client library fails nevertheless (it fails a whole partition for
// one record that the broker will not have, or that it may not write for a
// while) is produced again. What Kafka stores twice that way the store knows
// by its offset. Hence admission comes before: see Reserve.
//
// There is no linger. While requests are on their way to a broker, records
// queue up and are the next request.
//
// Goroutines: those of the client and one that produces again; Close ends
// them. All methods may be called concurrently, and none but Close blocks.
type Producer struct {
	// Immutable.
	cfg    Config
	client *kgo.Client
	budget *sink.Budget
	watch  *Monitor
	ended  chan struct{} // closed when the client is

	produced, retried, tooLarge atomic.Uint64
	maxBytes                    atomic.Int64 // of a batch, as the topic said last

	// Guarded by mu.
	mu      sync.Mutex
	closing bool
	over    bool           // the client is closed: nothing is produced again
	failed  []*pending     // to be produced again
	flying  sync.WaitGroup // records whose done has not returned; Add is under mu
	wake    chan struct{}  // has room for one: failed is not empty
	retrier sync.WaitGroup
}

// pending is one record on its way.
type pending struct {
	producer *Producer
	record   kgo.Record
	flight   sink.Flight
	counted  bool // in the budget: a heal is not
	alone    bool // to be produced by itself: with others the batch was too large
	since    time.Time
	done     func(error)
}

// Open connects a producer. It returns one of this package's errors when the
// settings cannot work, within some seconds.
func Open(ctx context.Context, cfg Config) (*Producer, error) {
	cfg = cfg.Defaults()
	client, maxBytes, err := Dial(ctx, cfg, []string{cfg.Topic},
		kgo.DefaultProduceTopic(cfg.Topic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), // by the key's murmur2, as Kafka's own
		kgo.ProducerLinger(cfg.Linger),
		kgo.UnknownTopicRetries(-1),
		// The budget bounds it; what is over the budget must not be refused.
		kgo.MaxBufferedRecords(math.MaxInt32),
	)
	if err != nil {
		return nil, err
	}
	maxSize := maxBytes - batchOverhead
	if cfg.MaxMessage > 0 {
		maxSize = min(maxSize, cfg.MaxMessage)
	}
	p := &Producer{cfg: cfg, client: client, ended: make(chan struct{}), wake: make(chan struct{}, 1)}
	p.watch, err = NewMonitor(MonitorConfig{Kafka: cfg, Topics: []string{cfg.Topic, cfg.Dead}, Stalled: p.stalled, Busy: p.busy})
	if err != nil {
		client.Close()
		return nil, err
	}
	p.budget = sink.NewBudget(sink.BudgetConfig{
		MaxRecords: cfg.MaxRecords, MaxBytes: cfg.MaxBytes, MaxAge: cfg.MaxAge, MaxSize: maxSize, Contact: p.watch.Contact(),
	})
	p.maxBytes.Store(int64(maxBytes))
	p.watch.Start()
	p.retrier.Go(p.retry) // ends when Close closes ended
	return p, nil
}

// Reserve makes room for a message before anybody sees it. It returns nil, or
// sink.ErrFull or sink.ErrStalled (temporary), sink.ErrClosed, or
// schema.ErrBadRequest for a message that cannot be stored.
func (p *Producer) Reserve(m *schema.Message) error {
	p.mu.Lock()
	closing := p.closing
	p.mu.Unlock()
	if closing {
		return sink.ErrClosed
	}
	return p.budget.Reserve(m)
}

// Release gives back what was reserved for a message that was not minted.
func (p *Producer) Release(m *schema.Message) { p.budget.Release(m) }

// Produce makes a minted message durable. It must be the pointer that was
// reserved; a message that nobody reserved goes over the budget. done is
// called once, without an error when the message is durable; an error is
// ErrTooLarge, or sink.ErrClosed when the producer was closed before. It may
// not block: all records share the goroutine that calls it. It may be nil.
func (p *Producer) Produce(m *schema.Message, done func(error)) {
	p.launch(&pending{
		producer: p, record: kgo.Record{Key: []byte(m.Room), Value: AppendMessage(make([]byte, 0, m.Size()), m)},
		flight: p.budget.Take(m), counted: true, since: time.Now(), done: done,
	})
}

// Heal notes in the room's partition that its epoch may be renewed once
// everything before is stored.
func (p *Producer) Heal(room, epoch string) {
	p.launch(&pending{
		producer: p, record: kgo.Record{Key: []byte(room), Value: AppendHeal(nil, epoch)}, since: time.Now(),
	})
}

func (p *Producer) launch(r *pending) {
	p.mu.Lock()
	closing := p.closing
	if !closing {
		p.flying.Add(1)
	}
	p.mu.Unlock()
	if closing {
		r.finish(sink.ErrClosed)
		return
	}
	p.client.TryProduce(context.Background(), &r.record, r.answered)
}

// answered is called by the client, once for each time a record is produced.
func (r *pending) answered(_ *kgo.Record, err error) {
	p := r.producer
	switch {
	case err == nil:
		p.produced.Add(1)
		p.watch.Contact().Wrote()
		if p.cfg.Observe != nil {
			p.cfg.Observe(time.Since(r.since))
		}
	case errors.Is(err, kgo.ErrClientClosed):
		err = sink.ErrClosed
	case errors.Is(err, kerr.MessageTooLarge) && int64(len(r.record.Key)+len(r.record.Value)) > p.maxBytes.Load()-batchOverhead/2:
		p.tooLarge.Add(1)
		err = fmt.Errorf("%w: %w", ErrTooLarge, err)
	default:
		p.again(r, err)
		return
	}
	r.finish(err)
	p.flying.Done()
}

// finish ends a record's way.
func (r *pending) finish(err error) {
	if r.counted {
		r.producer.budget.Land(r.flight)
	}
	if r.done != nil {
		r.done(err)
	}
}

// again leaves a record to the goroutine that produces again.
func (p *Producer) again(r *pending, err error) {
	p.retried.Add(1)
	if r.alone = errors.Is(err, kerr.MessageTooLarge); !r.alone {
		p.watch.Contact().Refused(oneLine(err))
	}
	p.mu.Lock()
	over := p.over
	if !over {
		p.failed = append(p.failed, r)
	}
	p.mu.Unlock()
	if over {
		r.finish(sink.ErrClosed)
		p.flying.Done()
		return
	}
	select {
	case p.wake <- struct{}{}:
		if p.cfg.Failed != nil {
			p.cfg.Failed(err)
		}
	default:
	}
}

// retry produces again what has failed, all at once, after ever longer waits
// while it keeps failing.
func (p *Producer) retry() {
	tries := 0
	for last := time.Now(); ; last = time.Now() {
		select {
		case <-p.wake:
		case <-p.ended:
			p.abandon()
			return
		}
		if tries++; time.Since(last) > 5*time.Second {
			tries = 1
		}
		select {
		case <-time.After(sink.Backoff(tries)):
		case <-p.ended:
			p.abandon()
			return
		}
		p.askLimit()
		for _, r := range p.takeFailed() {
			// A record that was produced belongs to the client for good.
			r.record = kgo.Record{Key: r.record.Key, Value: r.record.Value}
			if r.alone {
				r.answered(nil, p.client.ProduceSync(context.Background(), &r.record).FirstErr())
				continue
			}
			p.client.TryProduce(context.Background(), &r.record, r.answered)
		}
	}
}

func (p *Producer) takeFailed() []*pending {
	p.mu.Lock()
	defer p.mu.Unlock()
	failed := p.failed
	p.failed = nil
	return failed
}

// abandon tells those that wait to be produced again that it is over.
func (p *Producer) abandon() {
	for _, r := range p.takeFailed() {
		r.finish(sink.ErrClosed)
		p.flying.Done()
	}
}

// askLimit looks whether the topic takes less than it did.
func (p *Producer) askLimit() {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if s, err := describeSettings(ctx, p.client, p.cfg.Topic); err == nil {
		p.maxBytes.Store(int64(s.maxMessageBytes()))
	}
}

// stalled says why nothing is becoming durable, nil while something is.
func (p *Producer) stalled() error {
	if oldest := p.budget.Stats().Oldest; oldest > p.cfg.MaxAge {
		return fmt.Errorf("%w: a record has been on its way for %v", sink.ErrStalled, oldest.Round(time.Millisecond))
	}
	return nil
}

// busy reports whether anything is on its way.
func (p *Producer) busy() bool { return p.budget.Stats().Oldest > 0 }

// Contact says whether Kafka answers and takes records.
func (p *Producer) Contact() *contact.Contact { return p.watch.Contact() }

// Stats returns the figures of now.
func (p *Producer) Stats() ProducerStats {
	return ProducerStats{
		BudgetStats: p.budget.Stats(),
		Produced:    p.produced.Load(), Retried: p.retried.Load(), TooLarge: p.tooLarge.Load(),
	}
}

// Ready returns nil if a message produced now would become durable, as far as
// that can be known: all leaders answer and nothing is stuck.
func (p *Producer) Ready(context.Context) error {
	err := p.budget.Ready("kafka")
	if errors.Is(err, sink.ErrStalled) {
		err = p.cfg.dials.explain(err)
	}
	return err
}

// Close refuses new messages and waits until all on their way are durable. If
// ctx ends first, those left hear sink.ErrClosed, and Close returns how many
// they were. Whether Kafka has them is not known.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	again := p.closing
	p.closing = true
	p.mu.Unlock()
	if again {
		return nil
	}
	landed := make(chan struct{})
	go func() { // ends with the last record, which the end of the client is for all
		p.flying.Wait()
		close(landed)
	}()
	var err error
	select {
	case <-landed:
	case <-ctx.Done():
		err = fmt.Errorf("close the producer with %d records left: %w", p.budget.Stats().Records, ctx.Err())
	}
	close(p.ended)
	p.watch.Close()
	p.client.Close()
	p.retrier.Wait()
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	p.abandon() // what failed while the retrier ended
	<-landed
	return err
}
