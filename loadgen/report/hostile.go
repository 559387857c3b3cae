package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hubbub-chat/hubbub/loadgen/hostile"
)

// Hostile is the hostile scenario's part of a report.
type Hostile struct {
	Attacks []Attack `json:"attacks"`
	Faults  []string `json:"faults"`
}

// Attack is one attack: what became of it, and what the honest noticed.
type Attack struct {
	Name string `json:"name"`
	Help string `json:"help"`
	hostile.Result
	Before   Quantiles `json:"delivery_before"`
	During   Quantiles `json:"delivery_during"`
	After    Quantiles `json:"delivery_after"`
	RatioP50 float64   `json:"ratio_p50"` // during, to the quiet before and after
	RatioP99 float64   `json:"ratio_p99"`
	Lag      Quantiles `json:"tool_lag"` // of this tool's own loops during the attack: it shares the machine
	Closed   uint64    `json:"honest_closed"`
	CPU      Figure    `json:"server_cpu_percent,omitempty"` // of one core, during
	QuietCPU Figure    `json:"server_cpu_percent_before,omitempty"`
	RestCPU  Figure    `json:"server_cpu_percent_after,omitempty"`
	Growth   Figure    `json:"server_rss_growth_bytes,omitempty"` // the highest during, against the end of the quiet before
}

// Compare puts the time of the attack in relation to the quiet around it.
func (p *Attack) Compare(quiet Quantiles) {
	ratio := func(now, then float64) float64 { return now / max(then, 1) }
	p.RatioP50, p.RatioP99 = ratio(p.During.P50, quiet.P50), ratio(p.During.P99, quiet.P99)
}

func (t Table) hostile(p *Hostile) {
	fmt.Fprintf(t, "attack\thow they ended\thonest p50\tp99\tmax\tp99 quiet\tratio\tserver CPU (before, after)\tgrowth\n")
	for i := range p.Attacks {
		a := &p.Attacks[i]
		var ends []string
		for _, end := range slices.Sorted(maps.Keys(a.Endings)) {
			ends = append(ends, fmt.Sprintf("%d× %s", a.Endings[end], end))
		}
		if a.Missing != "" {
			ends = []string{"left out: " + a.Missing}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t%s (%s, %s)\t%s\n", a.Name, strings.Join(ends, ", "),
			Short(a.During.P50), Short(a.During.P99), Short(a.During.Max), Short(max(a.Before.P99, a.After.P99)), a.RatioP99,
			a.CPU.Text("%.0f%%"), a.QuietCPU.Text("%.0f%%"), a.RestCPU.Text("%.0f%%"), a.Growth.Mib())
	}
	fmt.Fprintln(t)
	_ = t.Flush() // the last Flush has the error
}
