package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// TestOutputsThatCannotBe: a file that cannot be written is known before anything
// starts, by every command that writes one, and costs nothing that was there.
func TestOutputsThatCannotBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := filepath.Join(dir, "good.json")
	if err := os.WriteFile(good, []byte("an earlier result"), 0o600); err != nil {
		t.Fatal(err)
	}
	slo := scenarioFile(t, "p99: 1s")
	var started []string
	for _, flags := range [][]string{
		{"--json", "/nope/r.json"}, {"--json", dir}, {"--json", good + "/r.json"}, {"--json", "/proc/r.json"},
		{"--html", "/nope/r.html"}, {"--csv", "/nope/r.csv"}, {"--hgrm", good}, {"--hgrm", "/proc/nope"}, {"--prometheus", "192.0.2.1:1"},
		{"--json", good, "--html", "/nope/r.html"},
	} {
		for _, command := range [][]string{
			{"run", "--rate", "10"}, {"play", "steady"}, {"play", "steady", "--workers", "2"},
			{"hostile", "--attacks", "unmasked"}, {"density", "--server-pid", "1"}, {"find-max", "--slo", slo, "--server-pid", "1"},
		} {
			started = append(started, refused(t, append(command, flags...)))
		}
	}
	for _, args := range [][]string{
		{"run", "--acked-file", "/nope/acked"}, {"play", "steady", "--acked-file", dir},
		{"plan", good, "--users", "5", "--rooms", "1", "--rate", "1", "--json", "/nope/p.json"}, {"selftest", "--json", "/nope/s.json"},
	} {
		started = append(started, refused(t, args))
	}
	if s := strings.Join(started, ""); s != "" {
		t.Error(s)
	}
	if b, err := os.ReadFile(good); err != nil || string(b) != "an earlier result" {
		t.Errorf("what was there is %q, %v", b, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// refused says what is wrong with how a command line was refused.
func refused(t *testing.T, args []string) string {
	t.Helper()
	var out, errs said
	code := execute(environment{ctx: t.Context(), stdout: &out, stderr: &errs}, args)
	if text := errs.String(); code != exitUsage || strings.Count(text, "\n") != 1 || out.String() != "" {
		return strings.Join(args, " ") + ": said " + text + out.String() + "\n"
	}
	return ""
}

// TestOutputsWithoutRoom: a disk that is full at the end is told, and the rest of the
// result is not lost with it.
func TestOutputsWithoutRoom(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	url, _ := startChat(t, wrong{}, false)
	for _, flag := range []string{"--html", "--csv", "--acked-file"} {
		code, r, stdout, stderr := loadgen(t, t.Context(), shortRun(url, "-d", "50ms", flag, "/dev/full")...)
		if code != exitFaults || r.Check == nil || !strings.Contains(stdout+stderr, "no space left on device") {
			t.Errorf("%s: exit code %d\n%s%s", flag, code, stdout, stderr)
		}
	}
}

// TestFindMaxOutputs: a search in every form has its attempts.
func TestFindMaxOutputs(t *testing.T) {
	const knob = "rate"
	p := &report.FindMax{Knob: knob}
	for _, a := range []report.Attempt{
		{Value: 500, Met: true, Delivered: 5000, Delivery: report.Quantiles{Count: 9, P50: 900, P99: 2000, Max: 3000}, CPU: 0.5, RSS: 20 << 20},
		{Value: 1000, Why: []string{"delivery p99 80.0ms is above 50ms"}, Resource: "CPU <of both>", Delivered: 9000, Delivery: report.Quantiles{Count: 9, P50: 9000, P99: 80000, Max: 90000}},
		{Value: 750, Why: []string{"connection refused"}, Resource: "this tool"},
	} {
		p.Add(a)
	}
	dir := t.TempDir()
	out := report.Outputs{JSON: report.File(dir + "/r.json"), HTML: report.File(dir + "/r.html"), CSV: report.File(dir + "/r.csv")}
	if err := out.Save(&report.Report{Scenario: "find-max", Run: "-", FindMax: p}, nil); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]string{
		"r.html": {`<div class="verdict">rate 500 met the SLO, 750 did not`, "what gave out: this tool", "latency by attempt", "<circle", "delivery p99 80.0ms is above 50ms"},
		"r.csv":  {"rate,met,why", "500,true,", "1000,false,delivery p99 80.0ms is above 50ms,CPU <of both>,9000,9000,80000"},
	} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		for _, w := range want {
			if err != nil || !strings.Contains(string(b), w) {
				t.Errorf("%s has no %q (%v)\n%.6000s", file, w, err, b)
			}
		}
		if strings.Contains(string(b), "NaN") || strings.Contains(string(b), "0 of 0 joined") {
			t.Errorf("%s has what it should not", file)
		}
	}
}

// TestOutputs: a run in every form.
func TestOutputs(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, wrong{}, false)
	dir := t.TempDir()
	prometheus := freeAddr(t)
	const connections = "loadgen_connections 20\n"
	ctx, cancel := context.WithCancel(t.Context())
	scraped := make(chan string, 1)
	go func() { // ends with what it waits for, or with ctx
		text := ""
		for ; !strings.Contains(text, connections) && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
			if resp, err := http.Get("http://" + prometheus + "/metrics"); err == nil {
				b, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				text = string(b)
			}
		}
		http.DefaultClient.CloseIdleConnections()
		scraped <- text
	}()
	code, r, stdout, stderr := loadgen(t, t.Context(), "run", "--url", url, "-c", "20", "-r", "200", "--warmup", "1s", "-d", "3s",
		"--html", dir+"/r.html", "--csv", dir+"/r.csv", "--hgrm", dir+"/h", "--prometheus", prometheus)
	cancel()
	if code != exitOK || len(r.Timeline) < 3 || len(r.Curves) < 6 {
		t.Fatalf("exit code %d, %d seconds\n%s%s", code, len(r.Timeline), stdout, stderr)
	}
	if text := <-scraped; !strings.Contains(text, connections) || !strings.Contains(text, `loadgen_delivery_seconds{quantile="0.99"}`) {
		t.Errorf("prometheus: %s", text)
	}
	for file, want := range map[string]string{"r.html": "<svg", "r.csv": "delivered_per_s", "h/delivery.hgrm": "Percentile"} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %v, %.200s", file, err, b)
		}
		if strings.Contains(string(b), "NaN") || strings.Contains(string(b), "ZgotmplZ") || strings.Contains(string(b), "http") {
			t.Errorf("%s has what it should not", file)
		}
	}
}
