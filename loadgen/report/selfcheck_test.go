package report

import (
	"strings"
	"testing"
)

// TestSelfCheck: when the tool was the bottleneck the figures say so.
func TestSelfCheck(t *testing.T) {
	right := func() *Report {
		r := &Report{Messages: &Messages{}, Check: &Check{}, Tool: Tool{Loops: 1}}
		r.Messages.Delivery = Quantiles{Count: 1, P99: 10_000}
		r.Check.Sent = 1000
		r.Timeline = []Second{{Delivered: 1, ToolCPU: 50}, {ToolCPU: 100}}
		return r
	}
	for name, c := range map[string]struct {
		spoil func(*Report)
		want  string
	}{
		"right":     {func(*Report) {}, ""},
		"CPU":       {func(r *Report) { r.Timeline[0].ToolCPU = 99 }, "99% of a core"},
		"lag":       {func(r *Report) { r.Tool.Lag.P99 = 6000 }, "lagged by 6.00ms"},
		"small lag": {func(r *Report) { r.Tool.Lag.P99 = 1900; r.Messages.Delivery.P99 = 2000 }, ""},
		"late":      {func(r *Report) { r.Check.Late = 20 }, "2.0% of the messages"},
	} {
		r := right()
		c.spoil(r)
		r.selfCheck()
		if got := strings.Join(r.Invalid, ", "); (got != "") != (c.want != "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
