package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// unknown reports whether nothing is known of a process.
func unknown(u report.Usage) bool { return !u.CPU.Known() && !u.RSS.Known() && !u.RSSAnon.Known() }

// usageKnown reports whether this system tells what processes use.
func usageKnown() bool {
	u, err := processUsage(os.Getpid())
	return err == nil && u.RSSAnon.Known()
}

// A system that does not tell what processes use is no reason to fail; one that
// tells a part has the rest left out.
func TestUsageNotKnown(t *testing.T) {
	none := fstest.MapFS{}
	if u, err := usageIn(none, os.Getpid()); err != nil || !unknown(u) {
		t.Errorf("a process that is there: %+v, %v", u, err)
	}
	if u, err := usageIn(none, 1<<30); err == nil {
		t.Errorf("a process that is not there has usage: %+v", u)
	}
	if s := slabIn(none); s.Known() {
		t.Errorf("slabs of %v bytes", s)
	}
	if u := ownIn(none); !(u.CPU > 0) || u.RSS.Known() || u.RSSAnon.Known() {
		t.Errorf("of this process: %+v", u)
	}

	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	stat := file("7 (a) b) S 1 1 1 0 -1 4194304 0 0 0 0 150 50 0 0 20 0 1 0 0 0 0")
	proc := fstest.MapFS{"self/stat": stat, "7/stat": stat, "7/status": file("Name:\ta\nVmRSS:\t      12 kB\n"), "meminfo": file("MemFree: 1 kB\n")}
	if u, err := usageIn(proc, 7); err != nil || u.CPU != 2 || u.RSS != 12<<10 || u.RSSAnon.Known() {
		t.Errorf("without RssAnon: %+v, %v", u, err)
	}
	if s := slabIn(proc); s.Known() {
		t.Errorf("slabs of %v bytes", s)
	}
	proc["7/status"] = file("Name:\ta\nState:\tZ (zombie)\n")
	if u, err := usageIn(proc, 7); err != nil || u != (report.Usage{CPU: 2}) {
		t.Errorf("one that has ended: %+v, %v", u, err)
	}
	if _, err := usageIn(proc, os.Getpid()+1<<24); err == nil {
		t.Error("a process that is not in /proc has usage")
	}
}

// Where nothing tells what processes use, scenarios are played all the same. (Not
// parallel: it takes /proc from all.)
func TestPlaysWhereUsageIsNotKnown(t *testing.T) {
	was := proc
	proc = fstest.MapFS{}
	defer func() { proc = was }()
	url, _ := startChat(t, wrong{}, false)
	pid := strconv.Itoa(os.Getpid())
	for _, args := range [][]string{
		append(shortRun(url), "--server-pid", pid),
		{"density", "--url", url, "--server-pid", pid, "--steps", "10,20", "--members", "5", "--room-messages", "4", "--settle", "10ms"},
		{"hostile", "--url", url, "--server-pid", pid, "-c", "2", "--rooms", "1", "-r", "50", "--quiet", "100ms", "--attack", "300ms", "--attacks", "headers"},
		{"find-max", "--url", url, "--server-pid", pid, "--slo", scenarioFile(t, "p99: 1h\nmemory: 1GiB\n"), "--from", "100", "--to", "100", "--rest", "10ms",
			"--set", "connections=20", "--set", "rooms=4", "--set", "phases.0.for=100ms", "--set", "phases.1.for=300ms"},
	} {
		code, r, stdout, stderr := loadgen(t, t.Context(), args...)
		if code != exitOK || !strings.Contains(stdout, "not known here") || strings.Contains(stdout, "NaN") {
			t.Errorf("%v: exit code %d\n%s%s", args, code, stdout, stderr)
		}
		if r.Server != nil && r.Server.RSS.Known() || r.Tool.RSS > 0 {
			t.Errorf("%v: what is not known is in the report: %+v, %+v", args, r.Server, r.Tool)
		}
	}
}
