package main

import (
	"encoding/json"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/loadgen/capacity"
	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/loadgen/scenario"
)

// TestSearch finds a limit that is known, in few attempts.
func TestSearch(t *testing.T) {
	for _, c := range []struct {
		name            string
		limit           float64
		lowest, highest float64 // the answer is between
		most            int     // attempts
	}{
		{"in the middle", 7300, 6600, 7300, 12},
		{"at the end", 1e9, 100_000, 100_000, 12},
		{"below the beginning", 90, 80, 90, 12},
		{"nothing at all", 0, 0, 0, 9},
	} {
		cmd := findMaxCmd{From: 500, To: 100_000, Precision: 0.1}
		var p report.FindMax
		for value, ok := cmd.From, true; ok; value, ok = cmd.next(&p) {
			p.Add(report.Attempt{Value: value, Met: value <= c.limit})
			if len(p.Attempts) > 100 {
				t.Fatalf("%s: no end", c.name)
			}
		}
		if p.Best < c.lowest || p.Best > c.highest || len(p.Attempts) > c.most {
			t.Errorf("%s: %.0f after %d attempts, want %.0f to %.0f", c.name, p.Best, len(p.Attempts), c.lowest, c.highest)
		}
	}
}

// TestJudge: every promise is judged, and every resource has its sign.
func TestJudge(t *testing.T) {
	slo, err := scenario.ParseSLO([]byte("p99: 50ms\nack_p99: 80ms\nmemory: 100MiB\ncpu: 1.5\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name          string
		spoil         func(*report.Report)
		why, resource string
	}{
		{"right", func(*report.Report) {}, "", ""},
		{"late", func(r *report.Report) { r.Messages.Delivery.P99 = 60_000 }, "delivery p99 60.0ms is above 50ms", "waiting, with CPU to spare"},
		{"late acks", func(r *report.Report) { r.Messages.Ack.P99 = 100_000 }, "ack p99 100.0ms is above 80ms", "between delivery and acknowledgement"},
		{"no delivery", func(r *report.Report) { r.Messages.Delivery = report.Quantiles{} }, "delivery p99: nothing was measured", "not known"},
		{"no acknowledgement", func(r *report.Report) { r.Messages.Ack = report.Quantiles{} }, "ack p99: nothing was measured", "not known"},
		{"nothing at all", func(r *report.Report) { r.Messages = nil }, "nothing was measured", ""},
		{"a server that is gone", func(r *report.Report) { r.Server = &report.Server{} }, "its process is gone", ""},
		{"memory", func(r *report.Report) { r.Server.RSS = 200 << 20 }, "resident memory", "the server's memory"},
		{"memory and CPU that are not known", func(r *report.Report) {
			r.Server.RSS, r.Server.CPUPercent = report.Unknown(), report.Unknown()
		}, "", ""},
		{"late, and the CPU not known", func(r *report.Report) {
			r.Messages.Delivery.P99, r.Server.CPUPercent = 60_000, report.Unknown()
		}, "delivery p99", "not known: nor is the server's CPU"},
		{"CPU", func(r *report.Report) { r.Server.CPUPercent = 1e5 }, "cores above 1.5", "CPU (the server"},
		{"loss", func(r *report.Report) { r.Check.Lost = 1 }, "1 deliveries lost", "waiting"},
		{"refused", func(r *report.Report) { r.Check.Refused = 2; r.Connections.Errors = report.Codes{"111": 2} }, "2 connections or publishes failed", "limits of rates"},
		{"no sockets", func(r *report.Report) { r.Check.Failed = 2; r.Connections.DialError = "too many" }, "2 connections", "this tool's sockets"},
		{"not let in", func(r *report.Report) { r.Check.Failed = 2; r.Connections.Failed = 2 }, "2 connections", "the server's connections"},
		{"slow readers", func(r *report.Report) { r.Check.Closed = 1; r.Connections.Closes = report.Codes{"3008": 1} }, "1 connections", "read too slowly"},
		{"the tool", func(r *report.Report) {
			r.Check.Lost = 1
			r.Timeline = []report.Second{{Sent: 1, ToolCPU: 99}}
		}, "lost", "this tool's CPU"},
	} {
		r := &report.Report{Messages: &report.Messages{}, Check: &report.Check{}, Server: &report.Server{RSS: 50 << 20, CPUPercent: 20}, Tool: report.Tool{Loops: 1}}
		r.Messages.Delivery, r.Messages.Ack = report.Quantiles{Count: 9, P99: 45_000}, report.Quantiles{Count: 9, P99: 46_000}
		c.spoil(r)
		a := judge(r, slo, 5)
		if why := strings.Join(a.Why, ", "); a.Met != (c.why == "") || !strings.Contains(why, c.why) || !strings.Contains(a.Resource, c.resource) {
			t.Errorf("%s: %q, %q", c.name, why, a.Resource)
		}
		if said := len(a.Invalid) > 0; said != strings.Contains(c.name, "not known") {
			t.Errorf("%s: figures INVALID: %q", c.name, a.Invalid)
		}
	}
}

func TestFindMax(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, wrong{}, false)
	slo := scenarioFile(t, "p99: 1h\nloss: 0\n")
	page := t.TempDir() + "/r.html"
	code, r, stdout, stderr := loadgen(t, t.Context(), "find-max", "--slo", slo, "--html", page, "--url", url, "--server-pid", strconv.Itoa(os.Getpid()),
		"--from", "100", "--to", "300", "--rest", "10ms", "--set", "connections=20", "--set", "rooms=4",
		"--set", "phases.0.for=100ms", "--set", "phases.1.for=300ms")
	if code != exitOK || r.FindMax.Best != 300 || len(r.FindMax.Attempts) != 3 || r.FindMax.Attempts[2].Delivered < r.FindMax.Attempts[0].Delivered {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if b, err := os.ReadFile(page); err != nil || !strings.Contains(string(b), "latency by attempt") {
		t.Errorf("%v: %s", err, b)
	}
	code, r, stdout, _ = loadgen(t, t.Context(), "find-max", "--slo", scenarioFile(t, "memory: 1B\n"), "--url", url, "--server-pid", strconv.Itoa(os.Getpid()),
		"--from", "2", "--rest", "10ms", "--knob", "connections", "--set", "phases.0.for=10ms", "--set", "phases.1.for=100ms")
	if usageKnown() && (code != exitFaults || r.FindMax.Best != 0 || r.FindMax.Resource != "the server's memory") {
		t.Fatalf("exit code %d\n%s", code, stdout)
	}
	for _, args := range [][]string{
		{"find-max", "--slo", slo}, {"find-max"}, {"find-max", "--slo", "nonsense", "--server-pid", "1"},
		{"find-max", "--slo", scenarioFile(t, "p98: 1s"), "--server-pid", "1"},
		{"find-max", "--slo", scenarioFile(t, "memory: much"), "--server-pid", "1"},
		{"find-max", "--slo", slo, "--server-pid", "1", "--from", "0"},
	} {
		if code, _, _, stderr := loadgen(t, t.Context(), args...); code != exitUsage || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit code %d, said %q", args, code, stderr)
		}
	}
}

// TestPlanCommand: from reports to a plan.
func TestPlanCommand(t *testing.T) {
	r := report.Report{Run: "x", Density: &report.Density{BytesPerConn: 400, BaseBytes: 8 << 20, Steps: []report.DensityStep{{RSSAnon: 7 << 20}},
		Rooms: &report.DensityRooms{Rooms: 9, Payload: 200, PerRoom: 50_000, Steps: []report.RoomStep{{Messages: 100, RSSAnon: 1}}}}, Server: &report.Server{PerConnect: 60}}
	density := t.TempDir() + "/density.json"
	if err := r.Save(report.File(density)); err != nil {
		t.Fatal(err)
	}
	run := func(name string, acked, delivered float64, cpu report.Figure) string {
		r := report.Report{Run: "x", Server: &report.Server{MeasuredCPU: cpu}, Messages: &report.Messages{Seconds: 10, AckedRate: acked, DeliveredRate: delivered, BytesRate: delivered * 320, Payload: 200}}
		file := t.TempDir() + "/" + name
		if err := r.Save(report.File(file)); err != nil {
			t.Fatal(err)
		}
		return file
	}
	rooms, large := run("rooms.json", 1000, 10_000, 0.7), run("large.json", 10, 100_000, 2.005)
	var out strings.Builder
	args := []string{"plan", density, rooms, large, "--users", "300000", "--rooms", "30000", "--rate", "10000"}
	if code := execute(environment{ctx: t.Context(), stdout: &out, stderr: os.Stderr}, args); code != exitOK ||
		!strings.Contains(out.String(), "a message costs 50.0 µs of CPU, each delivery 2.00 µs, and 120 bytes") {
		t.Fatalf("exit code %d\n%s", code, out.String())
	}
	// Rooms of 10 are on every one of few nodes: 30,000 of 50,000 bytes are most of it. What is printed is what is reckoned with.
	if text := out.String(); !strings.Contains(text, "a node takes 8.0 MiB, a connection 400 bytes, a room 50000") {
		t.Errorf("as measured?\n%s", text)
	}
	for _, c := range []struct {
		more []string
		want string
	}{
		{[]string{"--payload", "1200"}, "a room 150000 on every node"},
		{[]string{"--room-bytes", "77"}, "a room 77 on every node"},
	} {
		out.Reset()
		if code := execute(environment{ctx: t.Context(), stdout: &out, stderr: os.Stderr}, append(args, c.more...)); code != exitOK || !strings.Contains(out.String(), c.want) {
			t.Errorf("%v: exit code %d\n%s", c.more, code, out.String())
		}
	}
	// The same figures make the plan: all rooms of a node, and the node itself.
	plan := t.TempDir() + "/plan.json"
	out.Reset()
	if code := execute(environment{ctx: t.Context(), stdout: &out, stderr: os.Stderr}, append(args, "--json", plan)); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, out.String())
	}
	var made struct {
		Plan capacity.Plan
	}
	if b, err := os.ReadFile(plan); err != nil || json.Unmarshal(b, &made) != nil {
		t.Fatalf("%v: %s", err, b)
	}
	if n := made.Plan.PerNode; math.Abs(n.Memory-(8<<20+n.Users*400+n.Rooms*50_000)) > 1 || n.Rooms < 1000 {
		t.Errorf("a node: %+v", n)
	}
	without := t.TempDir() + "/old.json"
	r.Density.Rooms = nil
	if err := r.Save(report.File(without)); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]string{
		{"plan", "--users", "5", "--rooms", "1", "--rate", "1"},
		{"plan", density, "--users", "5", "--rooms", "1", "--rate", "1"},
		{"plan", rooms, "--users", "5", "--rooms", "1", "--rate", "1"},
		{"plan", without, rooms, "--users", "5", "--rooms", "1", "--rate", "1"},
		{"plan", density, rooms, "--users", "5", "--rooms", "6", "--rate", "1"},
		{"plan", density, rooms, "--users", "5", "--rooms", "1", "--rate", "1", "--load", "1"},
	} {
		var errs strings.Builder
		code := execute(environment{ctx: t.Context(), stdout: &errs, stderr: &errs}, bad)
		if stderr := errs.String(); code != exitUsage || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit code %d, said %q", bad, code, stderr)
		}
	}
}
