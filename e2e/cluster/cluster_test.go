package cluster

import (
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// cluster is three nodes behind nginx, on servers of the test's own.
type cluster struct {
	redis   *backends.RedisServer
	db      *backends.Database
	kafka   *backends.KafkaServer // nil: nodes write to the database themselves
	writers []*node
	nodes   []*node
	front   *front
	env     []string // settings of nodes and writers

	took time.Duration // to start all of it
}

// startCluster starts all of it: with Kafka, and two writers behind that.
func startCluster(t testing.TB) *cluster {
	t.Helper()
	began := time.Now()
	c := startServers(t)
	c.kafka = backends.OwnKafka(t)
	c.env = append(c.env, "HUBBUB_KAFKA="+c.kafka.Addr)
	for i := range 2 {
		c.writers = append(c.writers, run(t, fmt.Sprintf("sink%d", i+1), c.env, []string{"sink"}))
	}
	c.startNodes(t, "--no-sink")
	c.took = time.Since(began)
	return c
}

// startDirect starts a cluster without Kafka, whose nodes write to the database.
func startDirect(t testing.TB) *cluster {
	t.Helper()
	began := time.Now()
	c := startServers(t)
	c.startNodes(t)
	c.took = time.Since(began)
	return c
}

func startServers(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{
		// As `make services` runs it: it keeps what it was told when it is restarted.
		redis: backends.OwnRedis(t, "--appendonly", "yes"),
		db:    backends.OwnDatabase(t),
	}
	c.env = []string{"HUBBUB_REDIS=redis://" + c.redis.Addr, "HUBBUB_MYSQL=" + c.db.DSN}
	migrate := exec.Command(binary, "migrate")
	migrate.Env = append(migrate.Environ(), c.env...)
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v: %s", err, out)
	}
	return c
}

func (c *cluster) startNodes(t testing.TB, args ...string) {
	t.Helper()
	var addrs []string
	for i := range 3 {
		n := startNodeWith(t, c.env, append(args, fmt.Sprintf("--node=node%d", i+1))...)
		c.nodes = append(c.nodes, n)
		addrs = append(addrs, n.addr)
	}
	c.front = startFront(t, site{nodes: addrs})
}

// connections is the number of those that the nodes have.
func (c *cluster) connections() (n int) {
	for _, node := range c.nodes {
		n += int(node.metric("hubbub_connections"))
	}
	return n
}
