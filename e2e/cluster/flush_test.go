package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// flush is a scenario in which Redis forgets everything, twice.
const flush = `
name: flush
connections: 300
rooms: 30
payload: 200
reconnect: {min: 200ms, max: 1s}
history: true
expect: {unrecovered: true}
drain: 30s
phases:
  - {name: before, for: 3s, rate: 300}
  - {name: flush, for: 10s, rate: 300, repeat: 2, do: {command: [redis-cli, -p, "PORT", flushall]}}
`

// TestFlush: when Redis has lost everything, members are told to begin anew, and what
// they then read from the history leaves nothing out.
func TestFlush(t *testing.T) {
	c := startCluster(t)
	_, port, _ := strings.Cut(c.redis.Addr, ":")
	file := filepath.Join(t.TempDir(), "flush.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(flush, "PORT", port, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLoad(t, c.front.Addr, "play", file, "--history-wait=40s")
	l.cmd.Env = append(l.cmd.Env, "LOADGEN_MYSQL="+c.db.DSN)
	l.start()
	v := l.wait()
	for _, f := range v.Faults {
		t.Error(f)
	}
	if v.Connections.Unrecovered < 300 {
		t.Errorf("%d times members were told to begin anew", v.Connections.Unrecovered)
	}
	t.Logf("%d deliveries were loaded from the history, of %d", v.Check.Loaded, v.Check.Delivered)
}
