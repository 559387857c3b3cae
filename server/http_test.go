package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/hubbub-chat/hubbub/schema"
)

func TestHealth(t *testing.T) {
	h := start(t)
	w := each(h.addr())
	for _, c := range []struct {
		path   string
		status int
		body   string
	}{
		{"/healthz", http.StatusOK, "alive\n"},
		{"/readyz", http.StatusOK, "ready\n"},
		{webSocketPath, http.StatusBadRequest, ""}, // no handshake
		{"/no/such/page", http.StatusNotFound, ""},
	} {
		status, body, err := w.fetch(c.path)
		if err != nil || status != c.status || c.body != "" && body != c.body {
			t.Errorf("GET %s: %d %q, %v; want %d %q", c.path, status, body, err, c.status, c.body)
		}
	}
	if status, body, err := w.fetch("/"); err != nil || status != http.StatusOK || !strings.Contains(body, "<html") {
		t.Errorf("GET /: %d %.80q, %v; want the page", status, body, err)
	}
}

// samples are those of one scrape by name and labels.
type samples map[string]float64

var (
	sampleLine  = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*",?)*\})? (\S+)$`)
	commentLine = regexp.MustCompile(`^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$`)
)

// scrape reads /metrics by the rules of Prometheus' text format: every sample
// belongs to a family with a type and a help, each announced once.
func (w *watcher) scrape(t *testing.T) (samples, map[string]string) {
	t.Helper()
	status, body, err := w.fetch("/metrics")
	if err != nil || status != http.StatusOK {
		t.Fatalf("GET /metrics: %d, %v", status, err)
	}
	all, types, helps := make(samples), make(map[string]string), make(map[string]bool)
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		if m := commentLine.FindStringSubmatch(line); m != nil {
			switch {
			case m[1] == "HELP" && helps[m[2]], m[1] == "TYPE" && types[m[2]] != "":
				t.Errorf("announced twice: %s", line)
			case m[1] == "HELP":
				helps[m[2]] = true
			default:
				types[m[2]] = m[3]
			}
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("not Prometheus text: %q", line)
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		family := m[1]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base := strings.TrimSuffix(m[1], suffix); types[base] == "histogram" || types[base] == "summary" {
				family = base
			}
		}
		if types[family] == "" || !helps[family] {
			t.Errorf("%s has no type or no help", family)
		}
		if _, twice := all[m[1]+m[2]]; twice {
			t.Errorf("twice: %s", line)
		}
		all[m[1]+m[2]] = v
	}
	return all, types
}

// A proxy sends handshakes over connections that have served pages before.
func TestHandshakeOnUsedConnection(t *testing.T) {
	h := start(t)
	conn, err := net.Dial("tcp", h.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil) // there is nothing behind it
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err != nil || resp.Close {
		t.Skipf("the connection is not kept: close %v, %v", resp.Close, err)
	}
	c, err := handshake(t, h.ledger, conn, schema.JSON)
	if err != nil {
		t.Fatal(err)
	}
	c.connect()
}

// What happened on a node can be read from its metrics.
func TestMetrics(t *testing.T) {
	h := start(t)
	w, err := keepAlive(h.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	before, _ := w.scrape(t)
	a, b, c := h.client(schema.JSON), h.client(schema.Protobuf), h.client(schema.JSON)
	for _, room := range []string{"one", "two"} {
		a.subscribe(room)
		b.subscribe(room)
	}
	a.publishAll("one", numbered("p", 50, 100))
	b.publish("two", "1")
	for range 50 {
		b.push("one")
	}
	a.fails(subscribeTo("one"), 105)
	a.fails(publishTo("one", `{"type":"edit"}`), 107)
	c.sendRaw(false, "oops")
	c.expectClose(3501)
	eventually(t, "the close is counted, its socket gone, and all delivered", func() bool {
		now, _ := w.scrape(t)
		return now[`hubbub_closes_total{code="3501"}`] == 1 && now["hubbub_connections"] == before["hubbub_connections"]+2 &&
			now["hubbub_deliveries_total"] >= before["hubbub_deliveries_total"]+102
	})
	after, types := w.scrape(t)

	for _, m := range []struct {
		name   string
		kind   string
		exact  bool
		change float64 // exactly or at least
	}{
		{"hubbub_connections", "gauge", true, 2},
		{"hubbub_sessions", "gauge", true, 2},
		{"hubbub_subscriptions", "gauge", true, 4},
		{"hubbub_rooms", "gauge", true, 2},
		{"hubbub_rooms_ahead", "gauge", true, 0},
		{"hubbub_write_queue_messages", "gauge", true, 0},
		{"hubbub_delivery_backlog_bytes", "gauge", true, 0},
		{"hubbub_handshakes_total", "counter", true, 3},
		{"hubbub_received_messages_total", "counter", false, 10},
		{"hubbub_received_bytes_total", "counter", false, 5000},
		{"hubbub_sent_bytes_total", "counter", false, 10_000},
		{"hubbub_deliveries_total", "counter", true, 102},
		{"hubbub_reads_total", "counter", false, 3},
		{"hubbub_writes_total", "counter", false, 3},
		{"hubbub_publish_ack_seconds", "histogram", false, 0},
		{"hubbub_publish_ack_seconds_count", "", true, 51},
		{"hubbub_commit_messages", "histogram", false, 0},
		{"hubbub_commit_messages_sum", "", true, 51},
		{"hubbub_commit_messages_count", "", false, 2},
		{"hubbub_commit_seconds", "histogram", false, 0},
		{"hubbub_commit_seconds_count", "", false, 2},
		{"hubbub_publish_failed_total", "counter", true, 0},
		{`hubbub_command_errors_total{code="105"}`, "", true, 1},
		{`hubbub_command_errors_total{code="107"}`, "", true, 1},
		{`hubbub_closes_total{code="3501"}`, "", true, 1},
		{`hubbub_build_info{version="` + version + `"}`, "", true, 0},
		{"hubbub_drops_total", "counter", false, 0},
		{"go_goroutines", "gauge", false, -1000},
		{"process_open_fds", "gauge", false, -1000},
	} {
		if m.kind != "" && types[m.name] != m.kind {
			t.Errorf("%s is a %q, want a %s", m.name, types[m.name], m.kind)
		}
		if d := after[m.name] - before[m.name]; d != m.change && (m.exact || d < m.change) {
			t.Errorf("%s went from %v to %v, want a change of %v (exactly: %v)", m.name, before[m.name], after[m.name], m.change, m.exact)
		}
	}
}

// The command line: what it means, and one clear line where it means nothing.
func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		env  string
		code int
		says string // on one line of stderr, or in stdout for code 0
	}{
		{"unknown flag", []string{"serve", "--colour=red"}, "", 2, "--colour"},
		{"unknown command", []string{"fly"}, "", 2, "fly"},
		{"address without port", []string{"--addr=localhost"}, "", 2, "--addr"},
		{"no data", []string{"--data="}, "", 2, "--data"},
		{"loops", []string{"--loops=-1"}, "", 2, "--loops"},
		{"loops, not a number", []string{"--loops=many"}, "", 2, "--loops"},
		{"too many loops", []string{"--loops=65"}, "", 2, "--loops"},
		{"connections", []string{"--max-conns=-5"}, "", 2, "--max-conns"},
		{"PROXY headers of nobody", []string{"--proxy-protocol"}, "", 2, "--trusted-proxies"},
		{"subscriptions", []string{"--subscriptions=256"}, "", 2, "--subscriptions"},
		{"batch", []string{"--batch=-1"}, "", 2, "--batch"},
		{"connections per user", []string{"--conns-per-user=-1"}, "", 2, "--conns-per-user"},
		{"handshakes", []string{"--max-handshakes=-1"}, "", 2, "--max-handshakes"},
		{"head size", []string{"--max-head=8192"}, "", 2, "--max-head"},
		{"message size", []string{"--max-size=3"}, "", 2, "--max-size"},
		{"drain", []string{"--drain=5"}, "", 2, "--drain"},
		{"negative drain", []string{"--drain=-5s"}, "", 2, "--drain"},
		{"sync", []string{"--sync=perhaps"}, "", 2, "perhaps"},
		{"debug address for everybody", []string{"--debug-addr=0.0.0.0:1"}, "", 2, "--debug-addr"},
		{"insecure for everybody", []string{"--insecure", "--addr=0.0.0.0:1"}, "", 2, "--insecure"},
		{"insecure for a name", []string{"--insecure", "--addr=chat.example.org:1"}, "", 2, "--insecure"},
		{"log level", []string{"--log-level=loud"}, "", 2, "--log-level"},
		{"environment", nil, "HUBBUB_LOOPS=-3", 2, "--loops"},
		{"help", []string{"serve", "--help"}, "", 0, "--max-size"},
		{"version", []string{"--version"}, "", 0, version},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := childCommand(ctx, c.args...)
			cmd.Dir = t.TempDir()
			if c.env != "" {
				cmd.Env = append(cmd.Env, c.env)
			}
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			_ = cmd.Run() // the exit code says it
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			said := stdout.String()
			if c.code != 0 {
				said = stderr.String()
				if strings.Count(said, "\n") != 1 || stdout.Len() > 0 {
					t.Errorf("stdout %q, stderr %q; want one line", stdout.String(), said)
				}
			}
			if !strings.Contains(said, c.says) {
				t.Errorf("said %q, nothing of %q", said, c.says)
			}
			if entries, err := os.ReadDir(cmd.Dir); err != nil || len(entries) > 0 {
				t.Errorf("it left %v, %v", entries, err)
			}
		})
	}
}

// What stands in the way of a start is said on one line; the process that was
// there first goes on.
func TestInUse(t *testing.T) {
	dir := t.TempDir()
	first := startChild(t, dir)
	for _, c := range []struct{ name, addr, dir, says string }{
		{"data directory", "127.0.0.1:0", dir, fmt.Sprintf("in use: %s is held by process %d", dir, first.cmd.Process.Pid)},
		{"address", first.addr, t.TempDir(), "--addr " + first.addr},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var stderr bytes.Buffer
			cmd := childCommand(ctx, "serve", "--addr="+c.addr, "--data="+c.dir)
			cmd.Stderr = &stderr
			_ = cmd.Run()
			if code := cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if s := stderr.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, c.says) {
				t.Errorf("said %q, want one line with %q", s, c.says)
			}
		})
	}
	l := newLedger()
	c := dialTo(t, l, first.addr, schema.JSON)
	c.connect()
	c.publish("a", "1")
	c.cut()
	if code := first.stop(); code != 0 {
		t.Errorf("the first ended with exit code %d: %s", code, first.stderr.Bytes())
	}
	l.checkDir(t, dir)
}

// A node that is full says so, and takes the next one when there is room.
func TestFull(t *testing.T) {
	h := start(t, func(o *options) { o.MaxConns = 2 })
	w, err := keepAlive(h.addr()) // as a scraper has it
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	ready := func(status int, says string) {
		t.Helper()
		if got, body, err := w.fetch("/readyz"); err != nil || got != status || body != says+"\n" {
			t.Errorf("readyz: %d %q, %v; want %d %q", got, body, err, status, says)
		}
	}
	a := h.client(schema.JSON)
	ready(http.StatusOK, "ready")
	h.client(schema.JSON)
	ready(http.StatusServiceUnavailable, "full: 2 of 2 connections")
	if got := shake(t, h.addr()); got != http.StatusServiceUnavailable {
		t.Errorf("a handshake was answered %d; want 503", got)
	}
	// Over connections of their own, as orchestrators ask, who end what does not answer.
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/metrics": http.StatusOK, "/readyz": http.StatusServiceUnavailable} {
		if status, body := h.web(path); status != want || path == "/readyz" && body != "full: 2 of 2 connections" {
			t.Errorf("%s of a full server: %d %.60q, want %d", path, status, body, want)
		}
	}
	eventually(t, "it is counted, and logged once", func() bool {
		now, _ := w.scrape(t)
		return now["hubbub_connections"] == 2 && now["hubbub_max_connections"] == 2 && now[`hubbub_drops_total{reason="server_full"}`] == 1 &&
			h.logs.FilterMessageSnippet("the server is full").FilterField(zap.String("limit", "connections")).Len() == 1
	})
	a.cut()
	eventually(t, "there is room", func() bool { return h.node.engine.Conns() < 2 })
	ready(http.StatusOK, "ready")
	h.client(schema.JSON)
	eventually(t, "that there is room is logged", func() bool { return h.logs.FilterMessageSnippet("room for connections again").Len() == 1 })
}

// What a flag takes is written once in the help, also where it takes several.
func TestHelp(t *testing.T) {
	for _, command := range []string{"serve", "sink", "migrate", "token"} {
		var stdout, stderr bytes.Buffer
		if code := run([]string{command, "--help"}, &stdout, &stderr); code != 0 || strings.Contains(stdout.String(), "...,") {
			t.Errorf("%s: code %d\n%s%s", command, code, stdout.String(), stderr.String())
		}
	}
}

// /echo is there when asked for, and only then.
func TestEcho(t *testing.T) {
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprint(on), func(t *testing.T) {
			h := start(t, func(o *options) { o.Echo = on })
			w := each(h.addr())
			want := map[bool]int{true: http.StatusBadRequest, false: http.StatusNotFound}[on]
			if status := w.get(t, echoPath); status != want {
				t.Errorf("GET %s without a handshake: %d, want %d", echoPath, status, want)
			}
		})
	}
}
