package report

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/hubbub-chat/hubbub/loadgen/chart"
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
	Invalid   []string  `json:"invalid,omitempty"` // why its figures are not to be trusted
	Delivered float64   `json:"delivered_per_s"`
	Delivery  Quantiles `json:"delivery"`
	Ack       Quantiles `json:"ack"`
	CPU       Figure    `json:"server_cores"`
	ToolCPU   float64   `json:"tool_cores"`
	RSS       Figure    `json:"server_rss_bytes"`
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

// Line says in a line what was found.
func (p *FindMax) Line() string {
	line := fmt.Sprintf("%s %.0f met the SLO, %.0f did not", p.Knob, p.Best, p.Failed)
	switch {
	case p.Best == 0:
		line = "no attempt met the SLO"
	case p.Failed == 0:
		line = fmt.Sprintf("%s %.0f, where the search ended", p.Knob, p.Best)
	}
	if p.Resource != "" {
		line += "; what gave out: " + p.Resource
	}
	return line
}

// writeFind writes a search for people.
func writeFind(out io.Writer, r *Report) error {
	p := r.FindMax
	t := NewTable(out)
	fmt.Fprintf(t, "%s\tresult\tdeliveries/s\tdelivery p50\tp99\tack p99\tserver cores\ttool cores\tserver RSS\n", p.Knob)
	for i := range p.Attempts {
		a := &p.Attempts[i]
		fmt.Fprintf(t, "%.0f\t%s\t%.0f\t%s\t%s\t%s\t%s\t%.2f\t%s\n", a.Value, a.result(), a.Delivered, Short(a.Delivery.P50), Short(a.Delivery.P99),
			Short(a.Ack.P99), a.CPU.Text("%.2f"), a.ToolCPU, a.RSS.Mib())
	}
	fmt.Fprintln(t)
	_ = t.Flush() // the last Flush has the error
	t.Row("highest", p.Line(), interrupted(r.Interrupted))
	t.Row("result", r.Verdict())
	return t.Flush()
}

func (a *Attempt) result() string {
	text := "met"
	if !a.Met {
		text = strings.Join(a.Why, ", ")
	}
	if len(a.Invalid) > 0 {
		text += "; figures INVALID: " + strings.Join(a.Invalid, ", ")
	}
	return text
}

// writeCSV writes a line an attempt, in the order in which they were made.
func (p *FindMax) writeCSV(out io.Writer) error {
	w := csv.NewWriter(out)
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	_ = w.Write([]string{p.Knob, "met", "why", "resource", "delivered_per_s", "p50_us", "p99_us", "max_us", "ack_p99_us", // Error has it
		"server_cores", "tool_cores", "server_rss_bytes"})
	for i := range p.Attempts {
		a := &p.Attempts[i]
		_ = w.Write([]string{number(a.Value), strconv.FormatBool(a.Met), strings.Join(a.Why, ", "), a.Resource, number(a.Delivered), // Error has it
			number(a.Delivery.P50), number(a.Delivery.P99), number(a.Delivery.Max), number(a.Ack.P99), a.CPU.cell(), number(a.ToolCPU), a.RSS.cell()})
	}
	w.Flush()
	return w.Error()
}

// charts are the attempts by what was turned up.
func (p *FindMax) charts() []chart.Chart {
	attempts := slices.Clone(p.Attempts)
	slices.SortStableFunc(attempts, func(a, b Attempt) int { return cmp.Compare(a.Value, b.Value) })
	line := func(name string, of func(*Attempt) float64) chart.Line {
		l := chart.Line{Name: name}
		for i := range attempts {
			v := of(&attempts[i])
			if attempts[i].Delivery.Count == 0 {
				v = math.NaN() // it measured nothing
			}
			l.Points = append(l.Points, chart.Point{X: attempts[i].Value, Y: v})
		}
		return l
	}
	return []chart.Chart{
		{Title: "latency by attempt", XLabel: p.Knob, LogY: true, Dots: true, YTick: Short, Lines: []chart.Line{
			line("delivery p50", func(a *Attempt) float64 { return none(a.Delivery.P50) }),
			line("delivery p99", func(a *Attempt) float64 { return none(a.Delivery.P99) }),
			line("ack p99", func(a *Attempt) float64 { return none(a.Ack.P99) })}},
		{Title: "deliveries a second by attempt", XLabel: p.Knob, Dots: true, Lines: []chart.Line{line("delivered", func(a *Attempt) float64 { return a.Delivered })}},
		{Title: "cores used by attempt", XLabel: p.Knob, Dots: true, Lines: []chart.Line{
			line("server", func(a *Attempt) float64 { return float64(a.CPU) }), line("this tool", func(a *Attempt) float64 { return a.ToolCPU })}},
		{Title: "resident memory of the server by attempt", XLabel: p.Knob, Dots: true, YTick: func(v float64) string { return Mib(int64(v)) },
			Lines: []chart.Line{line("RSS", func(a *Attempt) float64 { return float64(a.RSS) })}},
	}
}
