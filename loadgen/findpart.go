package main

import (
	"fmt"
	"io"
	"strings"
)

// findPart is the part of a report about the search.
type findPart struct {
	Knob     string    `json:"knob"`
	Best     float64   `json:"best"`     // the highest that met the SLO; 0: none did
	Failed   float64   `json:"failed"`   // the lowest that did not; 0: none failed
	Resource string    `json:"resource"` // what gave out there
	Attempts []attempt `json:"attempts"`
}

// attempt is one run of the search.
type attempt struct {
	Value     float64   `json:"value"`
	Met       bool      `json:"met"`
	Why       []string  `json:"why"` // the promises that were not kept
	Resource  string    `json:"resource,omitempty"`
	Delivered float64   `json:"delivered_per_s"`
	Delivery  quantiles `json:"delivery"`
	Ack       quantiles `json:"ack"`
	CPU       float64   `json:"server_cores"`
	ToolCPU   float64   `json:"tool_cores"`
	RSS       int64     `json:"server_rss_bytes"`
}

func (p *findPart) add(a attempt) {
	p.Attempts = append(p.Attempts, a)
	if a.Met {
		p.Best = max(p.Best, a.Value)
	} else if p.Failed == 0 || a.Value < p.Failed {
		p.Failed, p.Resource = a.Value, a.Resource
	}
}

func (a *attempt) word() string {
	if a.Met {
		return fmt.Sprintf("met: %.0f deliveries/s, p99 %s", a.Delivered, short(a.Delivery.P99))
	}
	return strings.Join(a.Why, ", ")
}

func writeFind(out io.Writer, r *report) error {
	p := r.FindMax
	t := newTable(out)
	fmt.Fprintf(t, "%s\tresult\tdeliveries/s\tdelivery p50\tp99\tack p99\tserver cores\ttool cores\tserver RSS\n", p.Knob)
	for i := range p.Attempts {
		a := &p.Attempts[i]
		result := "met"
		if !a.Met {
			result = strings.Join(a.Why, ", ")
		}
		fmt.Fprintf(t, "%.0f\t%s\t%.0f\t%s\t%s\t%s\t%.2f\t%.2f\t%s\n", a.Value, result, a.Delivered, short(a.Delivery.P50), short(a.Delivery.P99),
			short(a.Ack.P99), a.CPU, a.ToolCPU, mib(a.RSS))
	}
	fmt.Fprintln(t)
	_ = t.Flush() // the last Flush has the error
	switch {
	case p.Best == 0:
		t.row("highest", "no attempt met the SLO")
	case p.Failed == 0:
		t.row("highest", fmt.Sprintf("%s %.0f, where the search ended", p.Knob, p.Best))
	default:
		t.row("highest", fmt.Sprintf("%s %.0f met the SLO, %.0f did not", p.Knob, p.Best, p.Failed))
	}
	if p.Resource != "" {
		t.row("gave out", p.Resource)
	}
	return t.Flush()
}
