package kafka

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/internal/contact"
	"github.com/hubbub-chat/hubbub/sink"
)

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within two minutes: %s", what)
		}
	}
}

// watched is a Config whose log can be read.
func watched(t *testing.T, addr, topic string) (Config, *observer.ObservedLogs) {
	core, logs := observer.New(zap.InfoLevel)
	return Config{Brokers: []string{addr}, Topic: topic, Partitions: 2, Log: zap.New(core)}, logs
}

// request sends one to a broker.
func request(t *testing.T, addr string, req kmsg.Request) kmsg.Response {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	resp, err := client.Request(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// makeTopic creates a topic with a setting.
func makeTopic(t *testing.T, addr, topic, name, value string) {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	r := kmsg.NewCreateTopicsRequestTopic()
	r.Topic, r.NumPartitions, r.ReplicationFactor = topic, 2, 1
	c := kmsg.NewCreateTopicsRequestTopicConfig()
	c.Name, c.Value = name, &value
	r.Configs = append(r.Configs, c)
	req.Topics, req.TimeoutMillis = append(req.Topics, r), 10_000
	resp := request(t, addr, req).(*kmsg.CreateTopicsResponse)
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		t.Fatal(err)
	}
}

// alterTopic changes a setting.
func alterTopic(t *testing.T, addr, topic, name, value string) {
	t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value, c.Op = name, &value, kmsg.IncrementalAlterConfigOpSet
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	resp := request(t, addr, req).(*kmsg.IncrementalAlterConfigsResponse)
	if err := kerr.ErrorForCode(resp.Resources[0].ErrorCode); err != nil {
		t.Fatal(err)
	}
}

func produce(p *Producer, room string, n int) chan error {
	done := make(chan error, 1)
	p.Produce(message(room, n), func(err error) { done <- err })
	return done
}

// A topic that is compacted forgets messages that were acknowledged: nobody
// starts on it, and whoever runs on one that becomes so acknowledges no more.
func TestCompactedTopic(t *testing.T) {
	server := backends.Kafka(t)
	for _, policy := range []string{"compact", "compact,delete", "delete,compact"} {
		topic := topicOf(t)
		makeTopic(t, server.Addr, topic, "cleanup.policy", policy)
		cfg, _ := watched(t, server.Addr, topic)
		if _, err := Open(t.Context(), cfg); !errors.Is(err, ErrSettings) || !strings.Contains(err.Error(), "cleanup.policy of topic "+topic) {
			t.Errorf("%s: %v", policy, err)
		}
	}
	topic := topicOf(t)
	makeTopic(t, server.Addr, topic, "cleanup.policy", "delete")
	cfg, logs := watched(t, server.Addr, topic)
	p := openProducer(t, cfg)
	alterTopic(t, server.Addr, topic, "cleanup.policy", "compact")
	eventually(t, "nothing is let in", func() bool {
		m := message("r", 1)
		defer p.Release(m)
		return errors.Is(p.Reserve(m), sink.ErrStalled)
	})
	if err := p.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "cleanup.policy") {
		t.Errorf("ready: %v", err)
	}
	if logs.Len() != 1 {
		t.Errorf("%v", logs.All())
	}
	alterTopic(t, server.Addr, topic, "cleanup.policy", "delete")
	eventually(t, "messages are let in", func() bool { return p.Ready(t.Context()) == nil })
	if err := <-produce(p, "r", 1); err != nil {
		t.Error(err)
	}
}

// Settings that lose records some day are said, once.
func TestTopicWarnings(t *testing.T) {
	for _, c := range []struct{ name, value, dead, want string }{
		{"retention.ms", "3600000", "", "retention.ms is 3600000"},
		{"retention.ms", "604800000", "", ""},
		{"retention.ms", "-1", "", ""},
		{"retention.bytes", "1000000", "", "retention.bytes"},
		{"unclean.leader.election.enable", "true", "", "unclean"},
		{"cleanup.policy", "compact", "x", "cleanup.policy"},
		{"min.insync.replicas", "2", "", ""},
		{"compression.type", "zstd", "", ""},
	} {
		s := settings{"x", map[string]string{c.name: c.value}}
		got := strings.Join(s.warnings(c.dead != ""), "\n")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s=%s: %q, want %q", c.name, c.value, got, c.want)
		}
	}
	server := backends.Kafka(t)
	topic := topicOf(t)
	makeTopic(t, server.Addr, topic, "retention.ms", "60000")
	makeTopic(t, server.Addr, topic+".dead", "cleanup.policy", "compact")
	cfg, logs := watched(t, server.Addr, topic)
	openProducer(t, cfg)
	eventually(t, "two warnings", func() bool { return logs.FilterMessage("a setting of a topic endangers messages").Len() == 2 })
}

// A broker says that it is at an address that nobody reaches, and answers at
// another: the address that is wrong is named.
func TestUnreachableAddress(t *testing.T) {
	server := backends.OwnKafka(t)
	topic := topicOf(t)
	cfg, logs := watched(t, server.Addr, topic)
	mustClose(t, openProducer(t, cfg)) // the topic is there
	server.Stop()
	proxy := backends.NewProxy(t, "127.0.0.1:1")
	advertise(t, server, proxy.Addr)
	server.Start()
	if _, err := Open(t.Context(), cfg); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), proxy.Addr) {
		t.Errorf("open: %v", err)
	}
	proxy.Lead(server.Addr)
	p := openProducer(t, cfg)
	if err := <-produce(p, "r", 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is ready", func() bool { return p.Ready(t.Context()) == nil })
	proxy.Lead("127.0.0.1:1")
	proxy.Cut()
	done := produce(p, "r", 2)
	eventually(t, "the address is named", func() bool {
		err := p.Ready(t.Context())
		return err != nil && strings.Contains(err.Error(), "kafka does not answer") && strings.Contains(err.Error(), proxy.Addr)
	})
	if s := p.Stats(); s.Refused != 0 {
		t.Errorf("%+v", s)
	}
	proxy.Lead(server.Addr)
	if err := <-done; err != nil {
		t.Error(err)
	}
	eventually(t, "it answers again", func() bool {
		p.Contact().Status()
		return p.Ready(t.Context()) == nil && logs.FilterMessage("back end answers again").Len() == 1
	})
	lines := logs.FilterMessage("back end does not answer")
	if lines.Len() != 1 || logs.Len() != 2 || !strings.Contains(lines.All()[0].ContextMap()["error"].(string), proxy.Addr) {
		t.Errorf("%v", logs.All())
	}
}

// advertise changes the address that a broker gives for itself.
func advertise(t *testing.T, server *backends.KafkaServer, addr string) {
	t.Helper()
	path := filepath.Join(server.Dir(), "server.properties")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b) + "advertised.listeners=PLAINTEXT://" + addr + "\n" // the last one counts
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Replicas are missing: the leaders answer and take no record.
func TestTooFewReplicas(t *testing.T) {
	broker, fake := fakeBroker(t) // a real one asks for no more replicas than a topic has
	topic, addr := topicOf(t), fake.Brokers[0]
	makeTopic(t, addr, topic, "min.insync.replicas", "2")
	fault := broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	cfg, logs := watched(t, addr, topic)
	p := openProducer(t, cfg)
	first := message("r", 1)
	if err := p.Reserve(first); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	p.Produce(first, func(err error) { done <- err })
	eventually(t, "the reason is said", func() bool {
		err := p.Ready(t.Context())
		return err != nil && strings.Contains(err.Error(), "kafka refuses writes") && strings.Contains(err.Error(), "min.insync.replicas is 2")
	})
	if err := p.Reserve(message("r", 2)); !errors.Is(err, sink.ErrStalled) {
		t.Errorf("reserve: %v", err)
	}
	if s := p.Stats(); s.Stalled != 1 || s.Refused != 0 {
		t.Errorf("a stall is counted as %+v", s.BudgetStats)
	}
	if p.Contact().State() != contact.Refuses {
		t.Errorf("%v", p.Contact().State())
	}
	fault.Remove()
	if err := <-done; err != nil {
		t.Error(err)
	}
	eventually(t, "it is ready", func() bool { p.Contact().Status(); return p.Ready(t.Context()) == nil && logs.Len() == 2 })
}

// A broker that is stopped is silent, also to whoever produces nothing: a line
// when it falls silent, and one when it is back.
func TestSilentBroker(t *testing.T) {
	server := backends.OwnKafka(t)
	cfg, logs := watched(t, server.Addr, topicOf(t))
	p := openProducer(t, cfg)
	for _, outage := range []struct{ begin, end func() }{{server.Pause, server.Continue}, {server.Kill9, server.Start}} {
		before := logs.Len()
		outage.begin()
		eventually(t, "it is silent", func() bool { return p.Contact().State() == contact.Silent })
		if err := p.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "kafka does not answer") {
			t.Errorf("ready: %v", err)
		}
		outage.end()
		eventually(t, "it answers", func() bool {
			p.Contact().Status()
			return p.Contact().State() == contact.Answers && logs.FilterMessage("back end answers again").Len() > before/2
		})
	}
	if silent := logs.FilterMessage("back end does not answer").Len(); silent != 2 || logs.Len() > 6 {
		t.Errorf("%v", logs.All())
	}
}
