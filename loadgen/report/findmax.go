package report

import (
	"fmt"
	"io"
	"strings"
)

// FindMax is the part of a report about the search.
type FindMax struct {
	Knob     string    `json:"knob"`
	Best     float64   `json:"best"`     // the highest that met the SLO; 0: none did
	Failed   float64   `json:"failed"`   // the lowest that did not; 0: none failed
	Resource string    `json:"resource"` // what gave out there
	Attempts []Attempt `json:"attempts"`
}

// Attempt is one run of the search.
type Attempt struct {
	Value     float64   `json:"value"`
	Met       bool      `json:"met"`
	Why       []string  `json:"why"` // the promises that were not kept
	Resource  string    `json:"resource,omitempty"`
	Delivered float64   `json:"delivered_per_s"`
	Delivery  Quantiles `json:"delivery"`
	Ack       Quantiles `json:"ack"`
	CPU       float64   `json:"server_cores"`
	ToolCPU   float64   `json:"tool_cores"`
	RSS       int64     `json:"server_rss_bytes"`
}

// Add takes the next attempt.
func (p *FindMax) Add(a Attempt) {
	p.Attempts = append(p.Attempts, a)
	if a.Met {
		p.Best = max(p.Best, a.Value)
	} else if p.Failed == 0 || a.Value < p.Failed {
		p.Failed, p.Resource = a.Value, a.Resource
	}
}

// Word says in a line how it ended.
func (a *Attempt) Word() string {
	if a.Met {
		return fmt.Sprintf("met: %.0f deliveries/s, p99 %s", a.Delivered, Short(a.Delivery.P99))
	}
	return strings.Join(a.Why, ", ")
}

// WriteFind writes a search for people.
func WriteFind(out io.Writer, r *Report) error {
	p := r.FindMax
	t := NewTable(out)
	fmt.Fprintf(t, "%s\tresult\tdeliveries/s\tdelivery p50\tp99\tack p99\tserver cores\ttool cores\tserver RSS\n", p.Knob)
	for i := range p.Attempts {
		a := &p.Attempts[i]
		result := "met"
		if !a.Met {
			result = strings.Join(a.Why, ", ")
		}
		fmt.Fprintf(t, "%.0f\t%s\t%.0f\t%s\t%s\t%s\t%.2f\t%.2f\t%s\n", a.Value, result, a.Delivered, Short(a.Delivery.P50), Short(a.Delivery.P99),
			Short(a.Ack.P99), a.CPU, a.ToolCPU, Mib(a.RSS))
	}
	fmt.Fprintln(t)
	_ = t.Flush() // the last Flush has the error
	switch {
	case p.Best == 0:
		t.Row("highest", "no attempt met the SLO")
	case p.Failed == 0:
		t.Row("highest", fmt.Sprintf("%s %.0f, where the search ended", p.Knob, p.Best))
	default:
		t.Row("highest", fmt.Sprintf("%s %.0f met the SLO, %.0f did not", p.Knob, p.Best, p.Failed))
	}
	if p.Resource != "" {
		t.Row("gave out", p.Resource)
	}
	return t.Flush()
}
