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
	if v.Check.Late > v.Check.Sent/4 && v.Check.Refused > 0 {
		// A machine that is too busy for the clients may be so for Kafka, too.
		t.Logf("%d of %d messages left late, and %d were refused: the rest was looked at", v.Check.Late, v.Check.Sent, v.Check.Refused)
		return
	}
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

// ofDatabase is the fault in each of the database's processes, one after the other.
func (c *cluster) ofDatabase(what string, run func(*backends.Process)) (faults []fault) {
	for _, p := range c.db.Parts {
		faults = append(faults, fault{what + " of " + p.Name, func() { run(p.Process) }})
	}
	return faults
}

// kill is a kill -9 that is not noticed at once.
func kill(p *backends.Process) { p.Kill9(); time.Sleep(time.Second); p.Start() }

// TestFaults: the same while one part after the other fails. Publishes may be
// refused meanwhile; nothing else may be noticed. With -short only what reads
// and writes the database fails, and the database.
func TestFaults(t *testing.T) {
	c := startCluster(t)
	faults := []fault{
		{"kill -9 of a node", func() { kill(c.nodes[1].Process) }},
		{"kill -9 of a writer", func() { kill(c.writers[0].Process) }},
	}
	if !testing.Short() {
		faults = append(faults, fault{"restart of a node", c.nodes[0].Restart}, fault{"restart of Redis", c.redis.Restart}, fault{"restart of Kafka", c.kafka.Restart})
	}
	v := faultyRun(t, c, append(faults, c.ofDatabase("kill -9", kill)...)...)
	if v.Connections.Rejoined < 100 {
		t.Errorf("a node with some 200 clients went, and %d came back", v.Connections.Rejoined)
	}
}

// TestPauses: the same while one process after the other stands still, as on a machine
// that has no memory left, or is killed.
func TestPauses(t *testing.T) {
	c := startCluster(t)
	pause := func(p *backends.Process) { p.Pause(); time.Sleep(3 * time.Second); p.Continue() }
	faults := []fault{
		{"pause of a node", func() { pause(c.nodes[0].Process) }},
		{"pause of a writer", func() { pause(c.writers[0].Process) }},
		{"pause of Redis", func() { pause(c.redis.Process) }},
		{"pause of Kafka", func() { pause(c.kafka.Process) }},
		{"kill -9 of Kafka", func() { c.kafka.Kill9(); c.kafka.Start() }},
	}
	faults = append(faults, c.ofDatabase("pause", pause)...)
	faultyRun(t, c, append(faults, c.ofDatabase("restart", (*backends.Process).Restart)...)...)
}

// TestDirectFaults: the same without Kafka.
func TestDirectFaults(t *testing.T) {
	c := startDirect(t)
	faults := []fault{
		{"restart of a node", c.nodes[0].Restart},
		{"kill -9 of a node", func() { kill(c.nodes[1].Process) }},
		{"restart of Redis", c.redis.Restart},
	}
	faultyRun(t, c, append(faults, c.ofDatabase("restart", (*backends.Process).Restart)...)...)
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
