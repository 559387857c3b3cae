package main

import (
	"slices"
	"strings"
	"testing"
)

// TestNothingMeasured: a promise about what there was no sample of is not kept.
func TestNothingMeasured(t *testing.T) {
	t.Parallel()
	const text = `
name: nothing
connections: 4
rooms: 2
expect: {p99: 1h, ack_p99: 1h}
phases:
  - {for: 50ms, rate: 100, measure: false}
  - {for: 50ms, rate: 0}
`
	want := []string{"delivery p99: nothing was measured", "ack p99: nothing was measured"}
	url, _ := startChat(t, wrong{}, false)
	for _, more := range [][]string{nil, {"--workers", "2"}} {
		code, r, stdout, _ := loadgen(t, t.Context(), append([]string{"play", scenarioFile(t, text), "--url", url}, more...)...)
		if code != exitFaults || !slices.Equal(r.Faults, want) {
			t.Fatalf("%v: exit code %d\n%s", more, code, stdout)
		}
	}
	code, r, stdout, _ := loadgen(t, t.Context(), "play", scenarioFile(t, text), "--url", url, "--history", "--set", "expect={}", "--set", "phases.0.rate=0")
	if code != exitFaults || len(r.Faults) != 1 || !strings.Contains(r.Faults[0], "nothing was acknowledged") {
		t.Fatalf("a history of nothing: exit code %d\n%s", code, stdout)
	}
	// Without a promise it is a way to hold connections.
	if code, _, stdout, _ := loadgen(t, t.Context(), "play", scenarioFile(t, text), "--url", url, "--set", "expect={}"); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, stdout)
	}
}
