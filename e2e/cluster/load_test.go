package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// verdict is what is used of loadgen's report.
type verdict struct {
	Connections struct {
		Joined, Rejoined, Unrecovered int
		Errors, Closes                map[string]int // error replies, and ends of connections, by code
		Away                          struct {
			Count int
			P50   float64 `json:"p50_us"`
			Max   float64 `json:"max_us"`
		}
		Stalled, Silenced struct {
			Members, Kept, Anew int
			Closes              map[string]int
		}
	}
	Messages struct {
		Ack, Delivery struct {
			P50 float64 `json:"p50_us"`
			P99 float64 `json:"p99_us"`
		}
	}
	Check struct {
		Sent, Acked, Refused, Cut, Unsent, Unanswered int
		Delivered, Loaded                             int
		Late                                          int
		Lost, Duplicated, Reordered                   int
		Unexpected, Gone, Away                        int
	}
	History, Rows kept
	Faults        []string
}

// kept is what was found of the acknowledged messages in a place.
type kept struct {
	Messages, Acked, Missing, Other, Duplicated, Reordered int
	Errors                                                 []string
}

// load is a run of the load generator beside the test.
type load struct {
	t      testing.TB
	cmd    *exec.Cmd
	ended  chan struct{}
	out    bytes.Buffer // once it has ended
	report string
}

// startLoad starts connections through nginx, and returns when all are there.
func startLoad(t testing.TB, c *cluster, connections int, args ...string) *load {
	t.Helper()
	l := newLoad(t, c.front.Addr, append([]string{"run", "--join-timeout=2m", fmt.Sprintf("--connections=%d", connections)}, args...)...)
	l.cmd.Env = append(l.cmd.Env, "LOADGEN_MYSQL="+c.db.DSN)
	l.start()
	eventually(t, "all connections are there", func() bool { return l.over() || c.connections() >= connections })
	return l
}

// newLoad is one of loadgen's commands, at the top of the source tree.
func newLoad(t testing.TB, addr string, args ...string) *load {
	t.Helper()
	l := &load{t: t, report: filepath.Join(t.TempDir(), "report.json"), ended: make(chan struct{})}
	l.cmd = exec.CommandContext(t.Context(), loadgen, append(args, "--url=ws://"+addr+"/connection/websocket", "--json="+l.report, "--history")...)
	l.cmd.Dir = root
	l.cmd.Env = os.Environ()
	l.cmd.Stdout, l.cmd.Stderr = &l.out, &l.out
	return l
}

func (l *load) start() {
	l.t.Helper()
	if err := l.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() { // ends with the process
		_ = l.cmd.Wait() // what it found is in the report
		close(l.ended)
	}()
	l.t.Cleanup(func() {
		_ = l.cmd.Process.Kill() // unless it has ended
		<-l.ended
		l.t.Logf("loadgen said:\n%s", l.out.Bytes())
	})
}

// over reports whether the run has ended.
func (l *load) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// wait returns what the load generator found.
func (l *load) wait() (v verdict) {
	l.t.Helper()
	select {
	case <-l.ended:
	case <-time.After(10 * time.Minute):
		l.t.Fatal("loadgen does not end")
	}
	text, err := os.ReadFile(l.report)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		l.t.Fatal(err)
	}
	return v
}

// exact reports what may never be, whatever dies: that somebody did not see a message,
// or saw another one, or another order; that an acknowledged message is not in
// the store, or is there twice.
func (v *verdict) exact(t testing.TB) {
	t.Helper()
	for _, no := range []struct {
		what string
		n    int
	}{
		{"deliveries lost", v.Check.Lost},
		{"deliveries duplicated", v.Check.Duplicated},
		{"deliveries out of order", v.Check.Reordered},
		{"unexpected messages", v.Check.Unexpected},
		{"publishes never answered", v.Check.Unanswered},
		{"connections ended for good", v.Check.Gone},
		{"members that did not come back", v.Check.Away},
		{"recoveries refused", v.Connections.Unrecovered},
		{"acknowledged messages not in the database", v.Rows.Missing},
		{"messages twice in the database", v.Rows.Duplicated},
		{"foreign messages in the database", v.Rows.Other},
		{"messages out of order in the database", v.Rows.Reordered},
		{"acknowledged messages not in the history", v.History.Missing},
		{"messages twice in the history", v.History.Duplicated},
		{"foreign messages in the history", v.History.Other},
		{"messages out of order in the history", v.History.Reordered},
	} {
		if no.n != 0 {
			t.Errorf("%d %s", no.n, no.what)
		}
	}
	for _, e := range append(v.History.Errors, v.Rows.Errors...) {
		t.Error(e)
	}
	if v.Rows.Acked != v.Check.Acked || v.History.Acked != v.Check.Acked {
		t.Errorf("of %d acknowledged messages %d were looked for in the database and %d in the history", v.Check.Acked, v.Rows.Acked, v.History.Acked)
	}
	// Beyond those there are only messages whose publishers do not know.
	if more, unsure := v.Rows.Messages-v.Rows.Acked, v.Check.Cut+v.Check.Refused; more > unsure {
		t.Errorf("the database has %d messages that were not acknowledged, and only %d may be there", more, unsure)
	}
}
