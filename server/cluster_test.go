package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/sink"
)

// clustered returns the settings of the nodes of a cluster, with or without
// Kafka, on real servers. When the nodes have stopped, what all their clients
// were told and saw is compared with the rows in MySQL.
func clustered(t testing.TB, log bool) func(*options) {
	t.Helper()
	redis := "redis://" + backends.Redis(t).Addr
	dsn := backends.MySQL(t).DSN
	var brokers []string
	if log {
		brokers = []string{backends.Kafka(t).Addr}
	}
	prefix := fmt.Sprintf("test%d", time.Now().UnixNano())
	ledger := newLedger()
	var set serveCmd
	set.Redis, set.RedisPrefix, set.MySQL, set.MySQLConns = redis, prefix, dsn, 4
	set.Kafka, set.KafkaTopic, set.KafkaCreate, set.KafkaPartitions, set.KafkaReplication = brokers, prefix, true, 6, 1
	t.Cleanup(func() {
		store, err := sink.OpenMySQL(context.Background(), sink.MySQLConfig{DSN: dsn})
		if err != nil {
			t.Error(err)
			return
		}
		if log { // the nodes' writers have ended with them, and left what came last to the next one
			cmd := sinkCmd{Addr: "127.0.0.1:0"}
			cmd.kafkaFlags, cmd.mysqlFlags, cmd.redisFlags = set.kafkaFlags, set.mysqlFlags, set.redisFlags
			w, err := newSinkProcess(context.Background(), cmd, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the writer has stored everything", func() bool { return ledger.stored(store.Store) })
			if err := w.stop(); err != nil {
				t.Error(err)
			}
		}
		ledger.check(t, store.Store)
	})
	return func(o *options) {
		o.kafkaFlags, o.mysqlFlags, o.redisFlags = set.kafkaFlags, set.mysqlFlags, set.redisFlags
		o.shared = ledger
	}
}

// Clients on two nodes share a room, its history and its recovery, on each
// combination of servers.
func TestCluster(t *testing.T) {
	for name, log := range map[string]bool{"Redis and MySQL": false, "Redis, Kafka and MySQL": true} {
		t.Run(name, func(t *testing.T) {
			settings := clustered(t, log)
			a, b := start(t, settings), start(t, settings)
			room := roomOf(t)
			alice, bob := a.client(schema.JSON), b.client(schema.Protobuf)
			ra, rb := alice.subscribe(room), bob.subscribe(room)
			if ra.Epoch != rb.Epoch || ra.Epoch == "" || ra.Offset != 0 {
				t.Errorf("an empty room is at %d in %q and %q", ra.Offset, ra.Epoch, rb.Epoch)
			}
			for i := range 20 {
				from := []*client{alice, bob}[i%2]
				from.publish(room, fmt.Sprintf(`{"n":%d}`, i))
			}
			for _, c := range []*client{alice, bob} {
				for i := range 20 {
					if p := c.push(room); string(p.Data) != fmt.Sprintf(`{"n":%d}`, i) {
						t.Fatalf("publication %d is %s", i, p.Data)
					}
				}
			}
			carol := b.client(schema.JSON)
			r := carol.recover(room, 0, ra.Epoch)
			if !r.Recovered || len(r.Publications) != 20 {
				t.Errorf("recovered %v with %d publications", r.Recovered, len(r.Publications))
			}
		})
	}
}

// One server after the other goes away. Sessions stay; what cannot be kept is
// refused, and what was seen is stored.
func TestOutages(t *testing.T) {
	redis, kafka, db := backends.OwnRedis(t, "--appendonly", "yes", "--appendfsync", "always"), backends.OwnKafka(t), backends.OwnDatabase(t)
	h := start(t, func(o *options) {
		o.failing = true
		o.shared = newLedger() // checked here
		o.Redis, o.RedisPrefix, o.MySQL, o.MySQLConns = "redis://"+redis.Addr, "test", db.DSN, 4
		o.Kafka, o.KafkaTopic, o.KafkaCreate, o.KafkaPartitions, o.KafkaReplication = []string{kafka.Addr}, "test", true, 3, 1
	})
	room := roomOf(t)
	c := h.client(schema.JSON)
	c.subscribe(room)
	ready := func() (bool, string) {
		resp, err := http.Get("http://" + h.addr() + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode == http.StatusOK, strings.TrimSpace(string(body))
	}
	sent := 0
	publish := func() *protocol.Reply {
		sent++
		return c.call(&protocol.Command{Publish: &protocol.PublishRequest{Channel: room, Data: []byte(fmt.Sprintf(`{"n":%d}`, sent))}})
	}
	works := func(what string) {
		t.Helper()
		eventually(t, what+": the node is ready", func() bool { ok, _ := ready(); return ok })
		eventually(t, what+": publishing works", func() bool { return publish().Error == nil })
	}
	refused := func(what string) {
		t.Helper()
		eventually(t, what+": publishes are refused", func() bool { e := publish().Error; return e != nil && e.Temporary })
		var body string
		eventually(t, what+": the node says so", func() (ok bool) { ok, body = ready(); return !ok })
		t.Logf("%s: %s", what, body)
	}
	works("at first")

	redis.Kill9()
	refused("without Redis")
	redis.Start()
	works("with Redis again")

	kafka.Pause()
	refused("without Kafka")
	kafka.Continue()
	works("with Kafka again")

	for _, part := range db.Parts {
		part.Kill9()
		for range 20 {
			// A machine that is too busy for Kafka may refuse one for that.
			eventually(t, "without "+part.Name+" a publish works", func() bool { return publish().Error == nil })
		}
		if ok, body := ready(); !ok {
			t.Errorf("without %s: %s", part.Name, body)
		}
		part.Start()
		works("with " + part.Name + " again")
	}
	eventually(t, "the database has everything", func() bool {
		store, err := sink.OpenMySQL(context.Background(), sink.MySQLConfig{DSN: db.DSN})
		if err != nil {
			return false
		}
		defer store.Close()
		return h.ledger.stored(store.Store)
	})
	store, err := sink.OpenMySQL(context.Background(), sink.MySQLConfig{DSN: db.DSN})
	if err != nil {
		t.Fatal(err)
	}
	h.ledger.check(t, store.Store)
}
