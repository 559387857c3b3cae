package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// reportFile writes a report with given p99s of its seconds.
func reportFile(t *testing.T, name string, p99s ...float64) string {
	t.Helper()
	r := report.Report{Run: "x", Scenario: "s", Messages: &report.Messages{}, Check: &report.Check{}}
	for _, v := range p99s {
		r.Timeline = append(r.Timeline, report.Second{P50: v / 2, P99: v, Delivered: 1000, Sent: 10})
	}
	b, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name+".json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCompare(t *testing.T) {
	const seed = 5
	chance := rand.New(rand.NewPCG(seed, 0))
	around := func(mean float64) (v []float64) {
		for range 60 {
			v = append(v, mean*(0.8+0.4*chance.Float64()))
		}
		return v
	}
	a, same, worse := reportFile(t, "a", around(1000)...), reportFile(t, "same", around(1000)...), reportFile(t, "worse", around(3000)...)
	compare := func(args ...string) (int, string) {
		var out strings.Builder
		code := execute(environment{ctx: t.Context(), stdout: &out, stderr: os.Stderr}, append([]string{"compare"}, args...))
		return code, out.String()
	}
	code, out := compare(a, same, worse)
	line := ""
	for l := range strings.Lines(out) {
		if strings.HasPrefix(l, "delivery p99") {
			line = l
		}
	}
	if code != exitOK || strings.Count(line, "no difference shown") != 1 || !strings.Contains(line, "(+189.1%)") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, _ := compare(a, worse, "--max-p99", "2"); code != exitFaults {
		t.Errorf("three times the p99: exit code %d", code)
	}
	if code, _ := compare(a, same, "--max-p99", "1.2"); code != exitOK {
		t.Errorf("the same p99: exit code %d", code)
	}
	for name, p99s := range map[string][]float64{"nothing": nil, "two seconds": {1000, 1000}} {
		for _, args := range [][]string{{a, reportFile(t, name, p99s...)}, {reportFile(t, name, p99s...), a}} {
			if code, out := compare(append(args, "--max-p99", "2")...); code != exitFaults || !strings.Contains(out, name+": delivery p99: ") {
				t.Errorf("%s: exit code %d\n%s", name, code, out)
			}
		}
	}
	for _, args := range [][]string{{a}, {a, "nonsense"}, {a, schemaFile}} {
		if code, _ := compare(args...); code != exitUsage {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
}
