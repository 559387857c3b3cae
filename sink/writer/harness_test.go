package writer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/sink"
	"github.com/hubbub-chat/hubbub/sink/kafka"
)

// rig is a topic of its own, an empty database, and a producer between them.
// What was produced is checked against the rows at the end of the test.
type rig struct {
	t        testing.TB
	cfg      Config
	dsn      string
	producer *kafka.Producer
	logs     *observer.ObservedLogs

	acked atomic.Int64
	sent  int64
	rooms map[string][]*schema.Message // produced, in order
	last  map[string]uint64
}

var notInTopic = regexp.MustCompile(`[^a-zA-Z0-9]+`)

func newRig(t testing.TB, broker, dsn string) *rig {
	t.Helper()
	topic := notInTopic.ReplaceAllString(t.Name(), ".") + fmt.Sprintf(".%x", time.Now().UnixNano())
	return newRigOn(t, broker, dsn, topic)
}

func newRigOn(t testing.TB, broker, dsn, topic string) *rig {
	t.Helper()
	store, err := sink.OpenMySQL(t.Context(), sink.MySQLConfig{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	core, logs := observer.New(zap.InfoLevel)
	r := &rig{t: t, dsn: dsn, logs: logs, rooms: make(map[string][]*schema.Message), last: make(map[string]uint64)}
	r.cfg = Config{
		Kafka: kafka.Config{Brokers: []string{broker}, Topic: topic, Create: true, Partitions: 4},
		Store: store, Group: topic, SessionTimeout: sessionTimeout,
		Log: zap.New(core),
	}
	if r.producer, err = kafka.Open(t.Context(), r.cfg.Kafka); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.producer.Close(ctx); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, e := range logs.All() {
				t.Log(e.Level, e.Message, e.ContextMap())
			}
		}
	})
	return r
}

// open starts a writer that ends with the test at the latest.
func (r *rig) open(change ...func(*Config)) *Writer {
	r.t.Helper()
	cfg := r.cfg
	for _, c := range change {
		c(&cfg)
	}
	w, err := Open(r.t.Context(), cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { r.close(w) })
	return w
}

func (r *rig) close(w *Writer) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.Close(ctx); err != nil {
		r.t.Error(err)
	}
}

// next mints a message.
func (r *rig) next(room string) *schema.Message {
	m := &schema.Message{
		Room: room, Prev: r.last[room], Offset: r.last[room] + 10, User: "u", Client: "c",
		Data: []byte(fmt.Sprintf(`{"n":%d}`, r.last[room])),
	}
	r.last[room] = m.Offset
	r.rooms[room] = append(r.rooms[room], m)
	return m
}

// send produces messages; wait waits until Kafka has them.
func (r *rig) send(list ...*schema.Message) {
	for _, m := range list {
		r.sent++
		r.producer.Produce(m, func(err error) {
			if err != nil {
				r.t.Error(err)
			}
			r.acked.Add(1)
		})
	}
}

func (r *rig) wait() {
	r.t.Helper()
	r.until("all is in Kafka", func() bool { return r.acked.Load() == r.sent })
}

// sendSome produces n messages to the number of rooms given.
func (r *rig) sendSome(n, rooms int) {
	for i := range n {
		r.send(r.next(fmt.Sprint("room", i%rooms)))
	}
}

// sendRaw puts a record of anybody's into the topic.
func (r *rig) sendRaw(key, value string) {
	r.t.Helper()
	client, _, err := kafka.Dial(r.t.Context(), r.cfg.Kafka, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	record := &kgo.Record{Topic: r.cfg.Kafka.Topic, Key: []byte(key), Value: []byte(value)}
	if err := client.ProduceSync(r.t.Context(), record).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for start := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 2*time.Minute {
			r.t.Fatalf("after two minutes: not yet that %s", what)
		}
	}
}

// page reads a room.
func (r *rig) page(room string) []*schema.Message {
	r.t.Helper()
	page, err := r.cfg.Store.After(r.t.Context(), room, 0, 0, 1<<20, 1<<40)
	if err != nil {
		r.t.Fatal(err)
	}
	return page
}

// check waits for the rows to be what was produced, each once and as it was,
// but for the messages given.
func (r *rig) check(but ...*schema.Message) {
	r.t.Helper()
	r.wait()
	for room, want := range r.rooms {
		want = slices.DeleteFunc(slices.Clone(want), func(m *schema.Message) bool { return slices.Contains(but, m) })
		r.until(fmt.Sprintf("%d messages of %s are stored", len(want), room), func() bool {
			last, err := r.cfg.Store.Count(r.t.Context(), room, 0, 1<<62, 1<<30)
			return err == nil && last >= len(want)
		})
		if diff := cmp.Diff(want, r.page(room)); diff != "" {
			r.t.Errorf("room %s: %s", room, diff)
		}
	}
}

// settled waits until a writer counts what it has stored: the rows can be seen
// a moment before.
func (r *rig) settled(w *Writer) {
	r.t.Helper()
	r.until("all that is stored is counted", func() bool { return w.Stats().Lag == 0 })
}

// dead reads the dead-letter topic until it has n records.
func (r *rig) dead(n int) (list []*kgo.Record) {
	r.t.Helper()
	cfg := r.cfg.Kafka.Defaults()
	client, _, err := kafka.Dial(r.t.Context(), cfg, nil, kgo.ConsumeTopics(cfg.Dead), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	for len(list) < n && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(record *kgo.Record) { list = append(list, record) })
	}
	if len(list) != n {
		r.t.Errorf("%d records are in the dead-letter topic, want %d", len(list), n)
	}
	return list
}

// headers are a record's, by name.
func headers(r *kgo.Record) map[string]string {
	m := make(map[string]string)
	for _, h := range r.Headers {
		m[h.Key] = string(h.Value)
	}
	return m
}

// stream is a relay's memory of a room, in short.
type stream struct {
	mu     sync.Mutex
	list   []*schema.Message
	healed []string
	err    error // of Range and Healed
}

func (s *stream) Range(_ context.Context, room string, after, upTo uint64) (found []*schema.Message, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.list {
		if m.Room == room && m.Offset > after && m.Offset <= upTo {
			found = append(found, m)
		}
	}
	return found, s.err
}

func (s *stream) Healed(_ context.Context, room, epoch string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.healed = append(s.healed, room+" "+epoch)
	}
	return s.err
}

func (s *stream) heals() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.healed)
}

// execSQL runs a statement beside the store.
func execSQL(dsn, statement string) error {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return err
	}
	_, err = db.Exec(statement)
	return errors.Join(err, db.Close())
}

// request sends one request to the brokers.
func (r *rig) request(req kmsg.Request) kmsg.Response {
	r.t.Helper()
	client, _, err := kafka.Dial(r.t.Context(), r.cfg.Kafka, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	resp, err := client.Request(r.t.Context(), req)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

// compact has a topic forget all records of a key but the last.
func (r *rig) compact(topic string) {
	r.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	s := kmsg.NewIncrementalAlterConfigsRequestResource()
	s.ResourceType, s.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value, c.Op = "cleanup.policy", kmsg.StringPtr("compact"), kmsg.IncrementalAlterConfigOpSet
	s.Configs = append(s.Configs, c)
	req.Resources = append(req.Resources, s)
	resp := r.request(req).(*kmsg.IncrementalAlterConfigsResponse)
	if err := kerr.ErrorForCode(resp.Resources[0].ErrorCode); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) deleteTopic() {
	r.t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &r.cfg.Kafka.Topic
	req.TopicNames, req.Topics, req.TimeoutMillis = []string{r.cfg.Kafka.Topic}, append(req.Topics, topic), 5000
	resp := r.request(req).(*kmsg.DeleteTopicsResponse)
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		r.t.Fatal(err)
	}
	r.until("the broker has forgotten the topic", func() bool {
		req := kmsg.NewPtrMetadataRequest()
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &r.cfg.Kafka.Topic
		req.Topics = append(req.Topics, topic)
		resp := r.request(req).(*kmsg.MetadataResponse)
		return resp.Topics[0].ErrorCode == kerr.UnknownTopicOrPartition.Code
	})
}

// deleteRecords has the log drop what is before an offset, as it does with
// what is too old.
func (r *rig) deleteRecords(partition int32, before int64) {
	r.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	topic := kmsg.NewDeleteRecordsRequestTopic()
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, before
	topic.Topic, topic.Partitions = r.cfg.Kafka.Topic, append(topic.Partitions, p)
	req.Topics, req.TimeoutMillis = append(req.Topics, topic), 5000
	resp := r.request(req).(*kmsg.DeleteRecordsResponse)
	if err := kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode); err != nil {
		r.t.Fatal(err)
	}
}

// partition is where a room's records are.
func (r *rig) partition(room string) int32 {
	p := kgo.StickyKeyPartitioner(nil).ForTopic(r.cfg.Kafka.Topic)
	return int32(p.Partition(&kgo.Record{Key: []byte(room)}, int(r.cfg.Kafka.Partitions)))
}
