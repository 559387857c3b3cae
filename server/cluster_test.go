package main

import (
	"context"
	"fmt"
	"testing"
	"time"

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
	t.Cleanup(func() {
		store, err := sink.OpenMySQL(context.Background(), sink.MySQLConfig{DSN: dsn})
		if err != nil {
			t.Error(err)
			return
		}
		for end := time.Now().Add(20 * time.Second); !ledger.stored(store.Store) && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond) // the writers bring it
		}
		ledger.check(t, store.Store)
	})
	return func(o *options) {
		o.Redis, o.RedisPrefix, o.MySQL, o.MySQLConns = redis, prefix, dsn, 4
		o.Kafka, o.KafkaTopic, o.KafkaCreate, o.KafkaPartitions, o.KafkaReplication = brokers, prefix, true, 6, 1
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
