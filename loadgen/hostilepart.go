package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hubbub-chat/hubbub/loadgen/hostile"
)

// hostilePart is the hostile scenario's part of a report.
type hostilePart struct {
	Attacks []attackPart `json:"attacks"`
	Faults  []string     `json:"faults"`
}

// attackPart is one attack: what became of it, and what the honest noticed.
type attackPart struct {
	Name string `json:"name"`
	Help string `json:"help"`
	hostile.Result
	Before   quantiles `json:"delivery_before"`
	During   quantiles `json:"delivery_during"`
	After    quantiles `json:"delivery_after"`
	RatioP50 float64   `json:"ratio_p50"` // during, to the quiet before and after
	RatioP99 float64   `json:"ratio_p99"`
	Lag      quantiles `json:"tool_lag"` // of this tool's own loops during the attack: it shares the machine
	Closed   uint64    `json:"honest_closed"`
	CPU      float64   `json:"server_cpu_percent,omitempty"` // of one core, during
	QuietCPU float64   `json:"server_cpu_percent_before,omitempty"`
	Growth   int64     `json:"server_rss_growth_bytes,omitempty"` // the highest during, against the end of the quiet before
}

func (p *attackPart) compare(quiet quantiles) {
	ratio := func(now, then float64) float64 { return now / max(then, 1) }
	p.RatioP50, p.RatioP99 = ratio(p.During.P50, quiet.P50), ratio(p.During.P99, quiet.P99)
}

func (t table) hostile(p *hostilePart) {
	fmt.Fprintf(t, "attack\thow they ended\thonest p50\tp99\tmax\tp99 quiet\tratio\tserver CPU\tgrowth\n")
	for i := range p.Attacks {
		a := &p.Attacks[i]
		var ends []string
		for _, end := range slices.Sorted(maps.Keys(a.Endings)) {
			ends = append(ends, fmt.Sprintf("%d× %s", a.Endings[end], end))
		}
		if a.Missing != "" {
			ends = []string{"left out: " + a.Missing}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t%.0f%% (%.0f%%)\t%s\n", a.Name, strings.Join(ends, ", "),
			short(a.During.P50), short(a.During.P99), short(a.During.Max), short(max(a.Before.P99, a.After.P99)), a.RatioP99, a.CPU, a.QuietCPU, mib(a.Growth))
	}
	fmt.Fprintln(t)
	_ = t.Flush() // the last Flush has the error
}
