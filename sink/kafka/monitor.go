package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/internal/contact"
)

const (
	askEvery   = time.Second      // the leaders
	askTimeout = 5 * time.Second  // a leader that needs longer does not answer
	lookEvery  = 10 * time.Second // at the topics' settings
)

// MonitorConfig says what a Monitor looks at. Functions may be nil; they are
// called on the Monitor's goroutine.
type MonitorConfig struct {
	Kafka  Config
	Topics []string // whose settings are looked at

	// Stalled says why nothing is becoming durable although every leader
	// answers; nil where that is not so.
	Stalled func() error
	// Busy reports whether something is on its way of which it is not known
	// whether it will become durable.
	Busy func() bool
}

// Monitor keeps asking the leader of each partition where it ends. So it is
// known whether what is produced would arrive, of every broker and by the
// addresses that they give, before anybody produces; and how much there is to
// store, also while nobody reads.
//
// It has a client and a goroutine of its own, which Close ends. All methods may
// be called concurrently.
type Monitor struct {
	cfg     MonitorConfig // immutable
	client  *kgo.Client
	contact *contact.Contact
	stop    context.CancelFunc
	ended   sync.WaitGroup

	settings topics // owned by run

	// Guarded by mu.
	mu   sync.Mutex
	ends map[int32]int64
}

// NewMonitor makes one that does nothing yet.
func NewMonitor(cfg MonitorConfig) (*Monitor, error) {
	cfg.Kafka = cfg.Kafka.Defaults()
	opts, err := cfg.Kafka.options()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(opts, kgo.RequestRetries(1), kgo.RetryTimeout(askTimeout))...)
	if err != nil {
		return nil, err
	}
	m := &Monitor{
		cfg: cfg, client: client,
		contact:  contact.New(contact.Config{Name: "kafka", Log: cfg.Kafka.Log}),
		settings: topics{cfg: cfg.Kafka, said: make(map[string]bool)},
	}
	return m, nil
}

// Start begins to ask.
func (m *Monitor) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.ended.Go(func() { m.run(ctx) }) // ends when Close cancels
}

// Contact says whether Kafka answers and takes records.
func (m *Monitor) Contact() *contact.Contact { return m.contact }

// Ends returns where each partition ended when it was asked last. The caller
// may not change it.
func (m *Monitor) Ends() map[int32]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ends
}

// Close ends the goroutine.
func (m *Monitor) Close() {
	if m.stop != nil {
		m.stop()
		m.ended.Wait()
	}
	m.client.Close()
}

func (m *Monitor) run(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	looked := time.Time{}
	for {
		if m.ask(ctx) && time.Since(looked) > lookEvery {
			m.settings.look(ctx, m.client, m.cfg.Topics)
			looked = time.Now()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ask asks the leaders, and reports whether all have answered.
func (m *Monitor) ask(parent context.Context) bool {
	ctx, cancel := context.WithTimeout(parent, askTimeout)
	defer cancel()
	ends, short, err := askLeaders(ctx, m.client, m.cfg.Kafka.Topic, m.settings.minInSync)
	var answer *kerr.Error
	switch {
	case parent.Err() != nil:
		return false
	case errors.As(err, &answer):
		m.contact.Refused(m.cfg.Kafka.dials.explain(oneLine(err)))
		return false
	case err != nil:
		m.contact.Failed(m.cfg.Kafka.dials.explain(oneLine(err)))
		return false
	}
	m.mu.Lock()
	m.ends = ends
	m.mu.Unlock()
	m.judge(short)
	return true
}

// judge says what it means that all leaders answer. short says which partition
// has too few replicas.
func (m *Monitor) judge(short error) {
	if m.settings.unsafe != nil {
		m.contact.Refused(m.settings.unsafe)
		return
	}
	if m.cfg.Stalled != nil {
		if err := m.cfg.Stalled(); err != nil {
			if short != nil {
				err = fmt.Errorf("%w: %w", err, short)
			}
			m.contact.Refused(m.cfg.Kafka.dials.explain(err))
			return
		}
	}
	if m.cfg.Busy != nil && m.cfg.Busy() {
		m.contact.Heard() // an acknowledgement will tell
		return
	}
	m.contact.Wrote() // nothing is known that would keep a record from arriving
}

// askLeaders asks the leader of each partition of a topic where it ends.
func askLeaders(ctx context.Context, client *kgo.Client, topic string, minInSync int) (ends map[int32]int64, short, err error) {
	partitions, err := describeTopic(ctx, client, topic)
	if err != nil {
		return nil, nil, fmt.Errorf("topic %s: %w", topic, err)
	}
	const latest = -1
	req := kmsg.NewListOffsetsRequest()
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for _, p := range partitions {
		if len(p.ISR) < minInSync && short == nil {
			short = fmt.Errorf("partition %d has %d of %d replicas in sync, and the topic's min.insync.replicas is %d",
				p.Partition, len(p.ISR), len(p.Replicas), minInSync)
		}
		r := kmsg.NewListOffsetsRequestTopicPartition()
		r.Partition, r.Timestamp = p.Partition, latest
		t.Partitions = append(t.Partitions, r)
	}
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, short, fmt.Errorf("ask the leaders of topic %s: %w", topic, err)
	}
	ends = make(map[int32]int64, len(partitions))
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, short, fmt.Errorf("ask the leader of partition %d of topic %s: %w", p.Partition, topic, err)
			}
			ends[p.Partition] = p.Offset
		}
	}
	return ends, short, nil
}

// topics looks at settings that endanger messages. It belongs to one goroutine.
type topics struct {
	cfg       Config
	said      map[string]bool // warnings of the last look
	unsafe    error           // why nothing should be acknowledged; nil: nothing
	minInSync int             // of the message topic; 0: not known
}

// look reads the settings, and says what is new about them.
func (t *topics) look(parent context.Context, client *kgo.Client, names []string) {
	ctx, cancel := context.WithTimeout(parent, askTimeout)
	defer cancel()
	now := make(map[string]bool)
	var unsafe error
	for _, name := range names {
		s, err := describeSettings(ctx, client, name)
		if err != nil {
			return // said by whoever asks the leaders
		}
		if name == t.cfg.Topic {
			t.minInSync = s.number("min.insync.replicas", 0)
			unsafe = s.refuse()
		}
		for _, w := range s.warnings(name == t.cfg.Dead) {
			now[w] = true
		}
	}
	t.unsafe = unsafe
	if t.cfg.Log != nil {
		for _, w := range slices.Sorted(maps.Keys(now)) {
			if !t.said[w] {
				t.cfg.Log.Warn("a setting of a topic endangers messages", zap.String("setting", w))
			}
		}
	}
	t.said = now
}
