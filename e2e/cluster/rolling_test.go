package cluster

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// scripted is a cluster whose nodes and writers scripts/cluster runs.
type scripted struct {
	*cluster
	dir string
	env []string
}

func startScripted(t testing.TB) *scripted {
	t.Helper()
	s := &scripted{cluster: startServers(t), dir: t.TempDir()}
	s.kafka = backends.OwnKafka(t)
	var ports, addrs []string
	for range 5 {
		addr := backends.Addr(t)
		addrs, ports = append(addrs, addr), append(ports, addr[strings.LastIndexByte(addr, ':')+1:])
	}
	s.env = append(os.Environ(), s.cluster.env...)
	s.env = append(s.env, "HUBBUB_KAFKA="+s.kafka.Addr, "HUBBUB_BIN="+binary, "HUBBUB_DRAIN=2s",
		"HUBBUB_CLUSTER_DIR="+s.dir, "HUBBUB_CLUSTER_PORTS="+strings.Join(ports, " "))
	s.guard(t)
	if out, err := s.script("up").CombinedOutput(); err != nil {
		t.Fatalf("up: %v: %s", err, out)
	}
	for _, addr := range addrs[:3] {
		s.nodes = append(s.nodes, &node{t: t, addr: addr})
	}
	s.front = startFront(t, site{nodes: addrs[:3]})
	return s
}

func (s *scripted) script(args ...string) *exec.Cmd {
	cmd := exec.Command("scripts/cluster", args...)
	cmd.Dir, cmd.Env = root, s.env
	return cmd
}

// guard stops the nodes with the test, also with one that is killed: then the pipe
// that it reads from ends.
func (s *scripted) guard(t testing.TB) {
	t.Helper()
	guard := s.script()
	guard.Path, guard.Args = "/bin/sh", []string{"sh", "-c", "read -r _; exec scripts/cluster down"}
	alive, err := guard.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := guard.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = alive.Close()
		if err := guard.Wait(); err != nil {
			t.Error(err)
		}
		if !t.Failed() {
			return
		}
		for _, name := range s.logs(t) {
			text, _ := os.ReadFile(name)
			t.Logf("%s:\n%s", name, text[max(0, len(text)-2000):])
		}
	})
}

func (s *scripted) logs(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "*", "log"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// pids of the nodes.
func (s *scripted) pids(t testing.TB) (pids [3]string) {
	t.Helper()
	for i := range pids {
		pid, err := os.ReadFile(filepath.Join(s.dir, fmt.Sprintf("node%d", i+1), "pid"))
		if err != nil {
			t.Fatal(err)
		}
		pids[i] = string(pid)
	}
	return pids
}

// TestRollingScenario: loadgen's rolling-restart, which has scripts/cluster restart every
// node. It is only shorter here.
func TestRollingScenario(t *testing.T) {
	s := startScripted(t)
	before := s.pids(t)
	l := newLoad(t, s.front.Addr, "play", "rolling-restart", "--set=connections=300", "--set=phases.0.for=3s", "--set=phases.1.for=8s",
		"--set=phases.2.for=4s", "--history-wait=40s")
	l.cmd.Env = append(s.env, "LOADGEN_MYSQL="+s.db.DSN)
	l.start()
	v := l.wait()
	v.exact(t)
	for _, f := range v.Faults {
		t.Error(f)
	}
	for i, pid := range s.pids(t) {
		if pid == before[i] {
			t.Errorf("node %d was not restarted", i+1)
		}
	}
	// A third of all to begin with, and of the others' the more.
	if c := v.Connections; c.Rejoined < 300 || c.Closes["3001"] != c.Rejoined || len(c.Closes) != 1 {
		t.Errorf("%d came back, the nodes ended connections with %v", c.Rejoined, c.Closes)
	}
	if a := v.Connections.Away; a.Count != v.Connections.Rejoined || a.P50 <= 0 || a.Max < a.P50 {
		t.Errorf("the report has the times of %d who were away: %+v", v.Connections.Rejoined, a)
	}
	// Nodes that drain serve whoever is still there: only who says something in the
	// moment of the close has no answer. Each says one thing a second, and the moment
	// is as long as an answer takes, which is no time on a machine that is not busy.
	if most := v.Check.Sent/100 + int(float64(v.Connections.Rejoined)*v.Messages.Ack.P50/1e6); v.Check.Cut > most {
		t.Errorf("%d of %d publishes had no answer, of which %d may have been on their way", v.Check.Cut, v.Check.Sent, most)
	}
	if codes := slices.Sorted(maps.Keys(v.Connections.Errors)); len(codes) > 0 {
		t.Errorf("error replies %v", codes)
	}
}
