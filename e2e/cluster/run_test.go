package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// TestRun: clients on three nodes see one order in each of 100 rooms, and the
// database has what was acknowledged, each once.
func TestRun(t *testing.T) { quietRun(t, startCluster(t)) }

// TestDirectRun: the same without Kafka.
func TestDirectRun(t *testing.T) { quietRun(t, startDirect(t)) }

func quietRun(t *testing.T, c *cluster) {
	l := startLoad(t, c, 600, "--rooms=100", "--rate=1000", "--warmup=2s", "--duration=15s", "--drain=1m", "--no-reconnect")
	for i, n := range c.nodes {
		if got := n.metric("hubbub_connections"); got < 100 {
			t.Errorf("node %d has %v of 600 connections", i+1, got)
		}
	}
	v := l.wait()
	v.exact(t)
	for _, f := range v.Faults {
		t.Error(f)
	}
	if v.Check.Acked != 17_000 || v.Rows.Messages != v.Check.Acked {
		t.Errorf("of 17000 messages %d were acknowledged, and the database has %d", v.Check.Acked, v.Rows.Messages)
	}
}

// fault is something that goes wrong, and is mended.
type fault struct {
	what string
	run  func()
}

// TestFaults: the same while one part after the other fails. Publishes may be
// refused meanwhile; nothing else may be noticed.
func TestFaults(t *testing.T) {
	c := startCluster(t)
	v := faultyRun(t, c,
		fault{"restart of a node", c.nodes[0].Restart},
		fault{"kill -9 of a node", func() { c.nodes[1].Kill9(); time.Sleep(time.Second); c.nodes[1].Start() }},
		fault{"kill -9 of a writer", func() { c.writers[0].Kill9(); time.Sleep(time.Second); c.writers[0].Start() }},
		fault{"restart of Redis", c.redis.Restart},
		fault{"restart of Kafka", c.kafka.Restart},
		fault{"restart of MariaDB", c.mysql.Restart},
	)
	if v.Connections.Rejoined < 200 {
		t.Errorf("two nodes with some 200 clients each went, and %d came back", v.Connections.Rejoined)
	}
}

// TestPauses: the same while one process after the other stands still, as on a machine
// that has no memory left, or is killed.
func TestPauses(t *testing.T) {
	c := startCluster(t)
	pause := func(p *backends.Process) func() {
		return func() { p.Pause(); time.Sleep(3 * time.Second); p.Continue() }
	}
	kill := func(p *backends.Process) func() {
		return func() { p.Kill9(); p.Start() }
	}
	faultyRun(t, c,
		fault{"pause of a node", pause(c.nodes[0].Process)},
		fault{"pause of a writer", pause(c.writers[0].Process)},
		fault{"pause of Redis", pause(c.redis.Process)},
		fault{"pause of Kafka", pause(c.kafka.Process)},
		fault{"pause of MariaDB", pause(c.mysql.Process)},
		fault{"kill -9 of Kafka", kill(c.kafka.Process)},
		fault{"kill -9 of MariaDB", kill(c.mysql.Process)},
	)
}

// TestDirectFaults: the same without Kafka.
func TestDirectFaults(t *testing.T) {
	c := startDirect(t)
	faultyRun(t, c,
		fault{"restart of a node", c.nodes[0].Restart},
		fault{"kill -9 of a node", func() { c.nodes[1].Kill9(); time.Sleep(time.Second); c.nodes[1].Start() }},
		fault{"restart of Redis", c.redis.Restart},
		fault{"restart of MariaDB", c.mysql.Restart},
	)
}

// faultyRun has clients talk while faults come and go, and returns what was
// found.
func faultyRun(t *testing.T, c *cluster, faults ...fault) verdict {
	t.Helper()
	// A part is mended in less time than all took to start, also where that is long.
	const before, rate = 4, 1000
	apart := max(8, int(c.took.Seconds())) // seconds
	seconds := before + apart*len(faults) + 8
	l := startLoad(t, c, 600, "--rooms=100", fmt.Sprintf("--rate=%d", rate), "--warmup=0s", fmt.Sprintf("--duration=%ds", seconds), "--drain=2m",
		"--history-wait=2m", "--reconnect", "--reconnect-max=2s")
	began := time.Now()
	for i, f := range faults {
		time.Sleep(time.Until(began.Add(time.Duration(before+i*apart) * time.Second)))
		from := time.Since(began)
		f.run()
		t.Logf("%.1f s to %.1f s: %s", from.Seconds(), time.Since(began).Seconds(), f.what)
	}
	if l.over() || time.Since(began) > time.Duration(seconds)*time.Second {
		t.Error("the last fault came after the last message")
	}
	v := l.wait()
	v.exact(t)
	if v.Check.Acked < rate*seconds/3 {
		t.Errorf("of %d messages %d were acknowledged", v.Check.Sent, v.Check.Acked)
	}
	return v
}
