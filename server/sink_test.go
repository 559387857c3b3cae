package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/sink/kafka"
)

// What cannot work is one clear line that names the setting, and never a
// password.
func TestSinkCommandErrors(t *testing.T) {
	mysql, broker := backends.MySQL(t).DSN, backends.Kafka(t).Addr
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no brokers", []string{"--mysql", mysql}, 2, "--kafka is needed"},
		{"no database", []string{"--kafka", broker}, 2, "--mysql is needed"},
		{"bad address", []string{"--kafka", broker, "--mysql", mysql, "--addr", "x"}, 2, `--addr "x"`},
		{"bad broker", []string{"--kafka", "x", "--mysql", mysql}, 2, `--kafka "x"`},
		{"bad Redis", []string{"--kafka", broker, "--mysql", mysql, "--redis", "http://u:sesame@x"}, 2, "--redis: "},
		{"unreachable broker", []string{"--kafka", "127.0.0.1:1", "--mysql", mysql}, 1, "--kafka: no broker answers at 127.0.0.1:1"},
		{"unreachable database", []string{"--kafka", broker, "--mysql", "u:sesame@tcp(127.0.0.1:1)/d"}, 1, "--mysql: database d at 127.0.0.1:1"},
		{"unreachable Redis", []string{"--kafka", broker, "--mysql", mysql, "--redis", "redis://u:sesame@127.0.0.1:1"}, 1, "--redis: "},
		{"no topic", []string{"--kafka", broker, "--mysql", mysql, "--kafka-topic", "nobodys", "--no-kafka-create"}, 1, "--kafka-topic: the topic does not exist: nobodys"},
		{"too many replicas", []string{"--kafka", broker, "--mysql", mysql, "--kafka-topic", "toomany", "--kafka-replication", "5"}, 1, "--kafka-replication: the topic cannot be created"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := append([]string{"sink", "--addr", "127.0.0.1:0", "--log-level", "error"}, c.args...)
			start := time.Now()
			if code := run(args, &stdout, &stderr); code != c.code {
				t.Errorf("code %d, want %d", code, c.code)
			}
			got := stderr.String()
			if !strings.Contains(got, c.want) || strings.Count(got, "\n") != 1 || strings.Contains(got, "sesame") {
				t.Errorf("stderr %q, want one line with %q", got, c.want)
			}
			t.Logf("after %v: %s", time.Since(start).Round(time.Millisecond), got)
		})
	}
}

func TestSinkProcess(t *testing.T) {
	mysql, broker := backends.MySQL(t).DSN, backends.Kafka(t).Addr
	topic := fmt.Sprintf("sink.%x", time.Now().UnixNano())
	cfg := sinkCmd{
		Addr:       "127.0.0.1:0",
		kafkaFlags: kafkaFlags{Kafka: []string{broker}, KafkaTopic: topic, KafkaCreate: true, KafkaPartitions: 2, KafkaReplication: 1},
		mysqlFlags: mysqlFlags{MySQL: mysql, MySQLConns: 2},
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := newSinkProcess(t.Context(), cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	p, err := kafka.Open(t.Context(), kafka.Config{Brokers: []string{broker}, Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		p.Produce(&schema.Message{Room: "r", Offset: uint64(i + 1), Prev: uint64(i), Data: []byte(`1`)}, nil)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is stored, and counted", func() bool { return s.writer.Stats().Stored == 100 })
	if last, err := s.store.Last(t.Context(), "r"); err != nil || last != 100 {
		t.Errorf("the last stored is %d, %v", last, err)
	}
	for path, want := range map[string]string{
		"/healthz": "alive", "/readyz": "ready", "/metrics": "hubbub_writer_stored_total 100\n",
	} {
		resp, err := http.Get("http://" + s.addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d, %v, without %q", path, resp.StatusCode, err, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}
