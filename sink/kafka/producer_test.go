package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/sink"
)

// openProducer opens one on a topic of its own, and closes it with the test.
func openProducer(t testing.TB, cfg Config) *Producer {
	t.Helper()
	if cfg.Topic == "" {
		cfg.Topic = topicOf(t)
	}
	cfg.Create = true
	p, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, p) })
	return p
}

func mustClose(t testing.TB, p *Producer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
	if got := p.Stats(); got.Records != 0 || got.Bytes != 0 || got.Reserved != 0 || got.Unreserved != 0 {
		t.Errorf("a closed producer holds %+v", got)
	}
}

func topicOf(t testing.TB) string {
	return strings.NewReplacer("/", ".", "#", ".").Replace(t.Name()) + fmt.Sprintf(".%x", time.Now().UnixNano())
}

func message(room string, n int) *schema.Message {
	return &schema.Message{Room: room, Offset: uint64(n + 1), Prev: uint64(n), User: "u", Data: []byte(fmt.Sprint(n))}
}

// readAll reads the topic until it has heard of want different messages, and
// returns how often each was there.
func readAll(t testing.TB, cfg Config, want int) map[string]int {
	t.Helper()
	client, _, err := Dial(t.Context(), cfg, nil, kgo.ConsumeTopics(cfg.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := make(map[string]int)
	for len(got) < want {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Errorf("%d of %d messages are in the topic", len(got), want)
			return got
		}
		fetches.EachRecord(func(r *kgo.Record) {
			record, err := Parse(r.Key, r.Value)
			if err != nil {
				t.Errorf("partition %d offset %d: %v", r.Partition, r.Offset, err)
				return
			}
			got[fmt.Sprintf("%s %d", record.Room, record.Message.Offset)]++
		})
	}
	return got
}

func TestProduce(t *testing.T) {
	server := backends.Kafka(t)
	cfg := Config{Brokers: []string{server.Addr}, Topic: topicOf(t), Partitions: 3}
	cfg.MaxAge = time.Minute // the machine may be slow: nothing is refused for that here
	p := openProducer(t, cfg)
	const total = 5000
	var acked atomic.Int64
	for i := range total {
		m := message(fmt.Sprint("room", i%10), i)
		if i%3 > 0 { // others come from a node that died
			if err := p.Reserve(m); err != nil {
				t.Fatal(err)
			}
		}
		p.Produce(m, func(err error) {
			if err != nil {
				t.Error(err)
			}
			acked.Add(1)
		})
	}
	unminted := message("room", 1)
	if err := p.Reserve(unminted); err != nil {
		t.Fatal(err)
	}
	p.Release(unminted)
	mustClose(t, p)
	if got := acked.Load(); got != total {
		t.Errorf("done was called %d times, want %d", got, total)
	}
	for m, n := range readAll(t, cfg, total) {
		if n != 1 {
			t.Errorf("%s is there %d times", m, n)
		}
	}
	if err := p.Reserve(message("r", 1)); !errors.Is(err, sink.ErrClosed) {
		t.Errorf("Reserve after Close: %v", err)
	}
	var after error
	p.Produce(message("r", 1), func(err error) { after = err })
	if !errors.Is(after, sink.ErrClosed) {
		t.Errorf("Produce after Close: %v", after)
	}
}

// A broker that is killed and comes back costs time and nothing else: nothing
// is lost, and done is called once for each. Meanwhile new messages are
// refused before anybody has seen them.
func TestBrokerRestart(t *testing.T) {
	server := backends.OwnKafka(t)
	cfg := Config{Brokers: []string{server.Addr}, Topic: topicOf(t), Partitions: 3}
	p := openProducer(t, cfg)
	var calls [200_000]atomic.Int32
	stop := make(chan struct{})
	var produced, refused atomic.Int64
	var load sync.WaitGroup
	load.Go(func() { // ends when stop is closed
		for n := 0; n < len(calls); time.Sleep(200 * time.Microsecond) {
			select {
			case <-stop:
				return
			default:
			}
			m := message(fmt.Sprint("room", n%10), n)
			if err := p.Reserve(m); err != nil {
				if !errors.Is(err, sink.ErrStalled) {
					t.Error(err)
				}
				refused.Add(1)
				continue
			}
			calls := &calls[n]
			p.Produce(m, func(err error) {
				if err != nil {
					t.Error(err)
				}
				calls.Add(1)
			})
			n++
			produced.Add(1)
		}
	})
	until := func(what string, ok func() bool) {
		t.Helper()
		for start := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Since(start) > time.Minute {
				close(stop)
				t.Fatalf("not within a minute: %s; %v", what, p.Ready(t.Context()))
			}
		}
	}
	until("something is there", func() bool { return p.Stats().Produced > 0 })
	server.Kill9()
	until("the outage is noticed", func() bool { return refused.Load() > 0 && p.Ready(t.Context()) != nil })
	server.Start()
	until("it is ready", func() bool { return p.Ready(t.Context()) == nil })
	before := p.Stats().Produced
	until("it produces again", func() bool { return p.Stats().Produced > before+100 })
	close(stop)
	load.Wait()
	mustClose(t, p)
	for i := range produced.Load() {
		if n := calls[i].Load(); n != 1 {
			t.Errorf("message %d: done was called %d times", i, n)
		}
	}
	t.Logf("%d produced, %d refused, %d retried", produced.Load(), refused.Load(), p.Stats().Retried)
	readAll(t, cfg, int(produced.Load()))
}

// What cannot work is one clear error, soon, and not the password.
func TestOpenErrors(t *testing.T) {
	server := backends.Kafka(t)
	login := backends.OwnKafka(t, saslSettings()...)
	for _, c := range []struct {
		name  string
		cfg   Config
		want  error
		words string
	}{
		{"unreachable", Config{Brokers: []string{"127.0.0.1:1"}}, ErrUnreachable, "127.0.0.1:1"},
		{"no topic", Config{Brokers: []string{server.Addr}, Topic: "nobody.made.this"}, ErrNoTopic, "nobody.made.this"},
		{"too many replicas", Config{Brokers: []string{server.Addr}, Create: true, Topic: topicOf(t), Replication: 5}, ErrCreate, "replicat"},
		{"wrong password", Config{Brokers: []string{login.Addr}, SASL: Plain, User: "alice", Password: "sesame"}, ErrLogin, "uthentication"},
		{"no login", Config{Brokers: []string{login.Addr}}, ErrUnreachable, login.Addr},
		{"TLS to a broker without", Config{Brokers: []string{server.Addr}, TLS: tlsConfig()}, ErrUnreachable, "TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			_, err := Open(t.Context(), c.cfg)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q, want %v with %q", err, c.want, c.words)
			}
			if err != nil && strings.Contains(err.Error(), "sesame") {
				t.Errorf("the error tells the password: %v", err)
			}
			t.Logf("%v after %v", err, time.Since(start).Round(time.Millisecond))
		})
	}
	t.Run("right password", func(t *testing.T) {
		p := openProducer(t, Config{Brokers: []string{login.Addr}, SASL: Plain, User: "alice", Password: "open", Partitions: 1})
		done := make(chan error, 1)
		p.Produce(message("r", 1), func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// The topic's limit is known before anything is shown.
func TestSizeLimit(t *testing.T) {
	server := backends.OwnKafka(t, "message.max.bytes=2000")
	p := openProducer(t, Config{Brokers: []string{server.Addr}, Partitions: 1})
	m := message("r", 1)
	m.Data = []byte(strings.Repeat("x", 2000-batchOverhead-(m.Size()-len(m.Data))))
	if err := p.Reserve(m); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	p.Produce(m, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Errorf("the largest message: %v", err)
	}
	larger := *m
	larger.Data = append(larger.Data, 'x')
	if err := p.Reserve(&larger); !errors.Is(err, schema.ErrBadRequest) {
		t.Errorf("Reserve of a larger one: %v", err)
	}
	// What nobody reserved is given up, and takes nothing with it.
	huge := *m
	huge.Data = []byte(strings.Repeat("x", 3000))
	p.Produce(&huge, func(err error) { done <- err })
	small := message("r", 2)
	ok := make(chan error, 1)
	p.Produce(small, func(err error) { ok <- err })
	if err := <-done; !errors.Is(err, ErrTooLarge) {
		t.Errorf("a huge one: %v, want ErrTooLarge", err)
	}
	if err := <-ok; err != nil {
		t.Errorf("the one behind it: %v", err)
	}
}

// Close gives up when it is told to, and tells everybody.
func TestCloseWithoutBroker(t *testing.T) {
	server := backends.OwnKafka(t)
	p, err := Open(t.Context(), Config{Brokers: []string{server.Addr}, Topic: topicOf(t), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	server.Kill9()
	var closed atomic.Int32
	for i := range 10 {
		p.Produce(message("r", i), func(err error) {
			if errors.Is(err, sink.ErrClosed) {
				closed.Add(1)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "10 records left") {
		t.Errorf("Close: %v", err)
	}
	if n := closed.Load(); n != 10 {
		t.Errorf("%d of 10 heard of it", n)
	}
}
