package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
	"github.com/hubbub-chat/hubbub/internal/race"
	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// twoRooms has one for two workers, and one that is whole.
var twoRooms = paced(`
name: two rooms
connections: 12
rooms: {groups: [{count: 1, members: 9}, {count: 1, members: 3}]}
payload: 120
history: true
drain: 20s
phases:
  - {name: warm up, for: 100ms, rate: 450, measure: false}
  - {name: measure, for: 200ms, rate: 450}
`)

// TestCrewProof: what several processes had acknowledged is looked for, and
// listed, as what one had.
func TestCrewProof(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, wrong{}, false)
	file := filepath.Join(t.TempDir(), "acked")
	code, r, stdout, stderr := loadgen(t, t.Context(), "play", scenarioFile(t, twoRooms), "--url", url, "--workers", "2",
		"--acked-file", file, "--room-prefix", "proof-")
	if code != exitOK || r.Check.Shared != 1 || r.Check.Acked < 100 || r.History.Acked != r.Check.Acked || r.History.Rooms != 2 {
		t.Fatalf("exit code %d, history %+v\n%s%s", code, r.History, stdout, stderr)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]bool{}
	for l := range strings.Lines(string(text)) {
		lines[l] = true
	}
	if !strings.Contains(string(text), "proof-0\t") || !strings.Contains(string(text), "proof-1\t") || uint64(len(lines)) != r.Check.Acked {
		t.Errorf("%d lines of %d acknowledged messages: %.200s", len(lines), r.Check.Acked, text)
	}
	url, _ = startChat(t, wrong{forgets: func(n int) bool { return n == target20 }}, false) // of each room
	code, r, stdout, _ = loadgen(t, t.Context(), "play", scenarioFile(t, twoRooms), "--url", url, "--workers", "2", "--history-wait", "100ms")
	if code != exitFaults || r.History.Missing != 2 || r.Check.Lost != 0 {
		t.Fatalf("exit code %d, history %+v\n%s", code, r.History, stdout)
	}
}

// TestCrewCommands: what phases do beside, they do once, in their order, and
// with their number.
func TestCrewCommands(t *testing.T) {
	url, _ := startChat(t, wrong{}, false)
	file := filepath.Join(t.TempDir(), "did")
	text := twoRooms + `
  - {name: act, for: 200ms, rate: 100, repeat: 3, do: {command: [sh, -c, "echo {n} >> ` + file + `"]}}
  - {name: fail, for: 100ms, rate: 100, do: {command: ["false"]}}
`
	code, r, stdout, _ := loadgen(t, t.Context(), "play", scenarioFile(t, text), "--url", url, "--workers", "2")
	did, err := os.ReadFile(file)
	if err != nil || string(did) != "0\n1\n2\n" {
		t.Errorf("did %q, %v", did, err)
	}
	if code != exitFaults || strings.Join(r.Faults, ", ") != "fail: false: exit status 1" {
		t.Fatalf("exit code %d, faults %v\n%s", code, r.Faults, stdout)
	}
}

// TestCrewRows: the real server and a real database, and three processes.
func TestCrewRows(t *testing.T) {
	t.Parallel()
	dsn := backends.MySQL(t).DSN
	h := startHubbub(t, "127.0.0.1:0", t.TempDir(), "--mysql", dsn)
	code, r, stdout, stderr := loadgen(t, t.Context(), "play", scenarioFile(t, twoRooms), "--url", h.url, "--workers", "3", "--mysql", dsn)
	if code != exitOK || r.Check.Shared != 1 || r.Check.Acked < 100 || r.Rows.Acked != r.Check.Acked || r.Rows.Missing != 0 || r.History.Acked != r.Check.Acked {
		t.Fatalf("exit code %d, rows %+v, history %+v\n%s%s", code, r.Rows, r.History, stdout, stderr)
	}
}

// TestCrewTells: while a crew plays, its coordinator says how far all are, as
// lines and to Prometheus.
func TestCrewTells(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	scraped := make(chan string, 1)
	url, _ := startChat(t, wrong{also: atMessage(race.Scale(1200), func(*chat) {
		go func() { // ends by itself
			defer http.DefaultClient.CloseIdleConnections()
			resp, err := http.Get("http://" + addr + "/metrics")
			if err != nil {
				scraped <- err.Error()
				return
			}
			defer resp.Body.Close() //nolint:errcheck // read to its end
			b, _ := io.ReadAll(resp.Body)
			scraped <- string(b)
		}()
	})}, false)
	code, r, stdout, stderr := loadgen(t, t.Context(), "play", scenarioFile(t, oneRoom), "--url", url, "--workers", "2", "--set", "phases.1.for=4s",
		"--set", "drain=20s", "--prometheus", addr, "--server-pid", strconv.Itoa(os.Getpid()))
	if code != exitOK || r.Check.Shared != 1 || !strings.Contains(stderr, "measure  9 connections") || !strings.Contains(stderr, "delivered") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if usageKnown() && !slices.ContainsFunc(r.Timeline, func(s report.Second) bool { return s.CPU > 0 && s.RSSAnon > 0 && s.Delivered > 0 }) || r.Server.MeasuredCPU == 0 {
		t.Errorf("the server's usage is not in %+v, %+v", r.Timeline, r.Server)
	}
	text := "not scraped"
	select {
	case text = <-scraped:
	case <-time.After(time.Minute):
	}
	if !strings.Contains(text, "loadgen_connections 9\n") || strings.Contains(text, "loadgen_delivered_total 0\n") {
		t.Errorf("prometheus: %s", text)
	}
}
