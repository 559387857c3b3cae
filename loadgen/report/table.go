package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Table writes a report for people.
type Table struct{ *tabwriter.Writer }

// NewTable begins one; Flush ends it, and has the error.
func NewTable(out io.Writer) Table { return Table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)} }

// WriteTable writes a whole report.
func WriteTable(out io.Writer, r *Report) error {
	if r.FindMax != nil {
		return writeFind(out, r)
	}
	t := NewTable(out)
	t.Row("scenario", r.Scenario, "run "+r.Run, interrupted(r.Interrupted))
	for _, note := range r.Notes {
		t.Row("server", note)
	}
	t.connections(&r.Connections)
	if r.Messages != nil {
		t.messages(r.Messages)
	}
	t.latencies(r)
	if len(r.Phases) > 1 {
		t.phases(r.Phases)
	}
	if r.Hostile != nil {
		t.hostile(r.Hostile)
	}
	if r.Density != nil {
		t.density(r.Density)
	}
	if r.Check != nil {
		t.check(r.Check)
	}
	if r.History != nil {
		t.history(r.History)
	}
	if r.Rows != nil {
		t.Row("database", r.Rows.Line())
	}
	t.Row("tool", fmt.Sprintf("CPU %.2f s of %.1f s, %d loops", r.Tool.CPU, r.Tool.Seconds, r.Tool.Loops), some(uint64(r.Tool.Workers), "workers"), clocks(r.Tool.ClockError),
		"lag p99 "+Short(r.Tool.Lag.P99)+" max "+Short(r.Tool.Lag.Max), "RssAnon "+r.Tool.RSSAnon.Mib())
	if r.Server != nil {
		t.server(r.Server)
	}
	t.Row("result", r.Verdict())
	return t.Flush()
}

func clocks(off float64) string {
	if off == 0 {
		return ""
	}
	return "clocks within " + Short(off)
}

func interrupted(yes bool) string {
	if yes {
		return "interrupted"
	}
	return ""
}

// Row writes a name and what follows it; empty cells are left out.
func (t Table) Row(name string, cells ...string) {
	cells = slices.DeleteFunc(cells, func(c string) bool { return c == "" })
	// One column beside the name: the latencies alone are lined up further.
	fmt.Fprintf(t, "%s\t%s\n", name, strings.Join(cells, "  ")) // Flush has the error
}

func (t Table) connections(c *connections) {
	rate := ""
	if c.Seconds > 0 {
		rate = fmt.Sprintf("in %.2f s (%.0f/s)", c.Seconds, float64(c.Joined)/c.Seconds)
	}
	t.Row("connections", fmt.Sprintf("%d of %d joined", c.Joined, c.Wanted), rate,
		some(c.Failed, "failed"), some(c.Closed, "closed"), some(c.Rejoined, "came back"), some(c.Unrecovered, "of them without recovery"),
		some(c.Retried, "attempts failed"), c.DialError)
	t.codes("error replies", c.Errors)
	t.codes("closes by code", c.Closes)
	t.codes("unsubscribed by code", c.Unsubs)
	t.reasons(c.Reasons)
	t.struck("stalled", "stopped reading", "kept up", c.Stalled)
	t.struck("silenced", "vanished without a word", "are still held by the server", c.Silenced)
}

func some(n uint64, what string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s", n, what)
}

func (t Table) codes(name string, c Codes) {
	if list := t.list("", c); list != "" {
		t.Row(name, list)
	}
}

// maxReasons are shown, the most frequent ones.
const maxReasons = 8

func (t Table) reasons(c Codes) {
	name := "reasons"
	for i, reason := range c.byNumber() {
		if i == maxReasons {
			t.Row("", fmt.Sprintf("and %d other reasons", len(c)-maxReasons))
			return
		}
		t.Row(name, fmt.Sprintf("%d × %s", c[reason], reason))
		name = ""
	}
}

// list is the codes in a line behind a word, or nothing when there are none.
func (t Table) list(word string, c Codes) string {
	var cells []string
	for _, code := range slices.Sorted(maps.Keys(c)) {
		cells = append(cells, fmt.Sprintf("%s: %d", code, c[code]))
	}
	if len(cells) == 0 {
		return ""
	}
	return word + strings.Join(cells, "  ")
}

func (t Table) messages(m *Messages) {
	t.Row("messages", fmt.Sprintf("%.1f s measured", m.Seconds), fmt.Sprintf("sent %.1f/s", m.SentRate),
		fmt.Sprintf("acked %.1f/s", m.AckedRate))
	t.Row("deliveries", fmt.Sprintf("%.0f/s", m.DeliveredRate), fmt.Sprintf("%.2f MB/s", m.BytesRate/1e6))
}

func (t Table) latencies(r *Report) {
	_ = t.Flush()
	fmt.Fprintf(t, "\nlatency\tcount\tp50\tp90\tp99\tp99.9\tp99.99\tmax\n")
	line := func(name string, q Quantiles) {
		if q.Count > 0 {
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", name, q.Count,
				Short(q.P50), Short(q.P90), Short(q.P99), Short(q.P999), Short(q.P9999), Short(q.Max))
		}
	}
	line("tcp", r.Connections.TCP)
	line("tcp+handshake", r.Connections.Handshake)
	line("connect", r.Connections.Connect)
	line("subscribe", r.Connections.Subscribe)
	line("recovery", r.Connections.Recovery)
	line("away", r.Connections.Away)
	line("token refresh", r.Connections.Refresh)
	line("history page", r.Connections.Page)
	if m := r.Messages; m != nil {
		line("publish ack", m.Ack)
		line("  from actual send", m.AckService)
		line("delivery", m.Delivery)
		line("  from actual send", m.DeliveryService)
		line("  to the last member", m.Last)
		line("  of what was missed", m.Recovered)
		line("own timing error", m.SendError)
	}
	if r.History != nil {
		line("history page, at the end", r.History.Page)
	}
	fmt.Fprintln(t)
	_ = t.Flush() // the last Flush has the error
}

func (t Table) phases(all []Phase) {
	fmt.Fprintf(t, "phase\tseconds\trate\tsent/s\tacked/s\tdelivered/s\tp50\tp99\tmax\tack p99\tlast p99\n")
	for i := range all {
		p := &all[i]
		name := p.Name
		if !p.Measured {
			name += " (not measured)"
		}
		rate := fmt.Sprintf("%g", p.From)
		if p.To != p.From {
			rate = fmt.Sprintf("%g to %g", p.From, p.To)
		}
		fmt.Fprintf(t, "%s\t%.1f\t%s\t%.1f\t%.1f\t%.0f\t%s\t%s\t%s\t%s\t%s\n", name, p.Seconds, rate, p.SentRate, p.AckedRate, p.DeliveredRate,
			Short(p.Delivery.P50), Short(p.Delivery.P99), Short(p.Delivery.Max), Short(p.Ack.P99), Short(p.Last.P99))
	}
	fmt.Fprintln(t)
	_ = t.Flush() // the last Flush has the error
}

func (t Table) check(c *Check) {
	t.Row("publishes", fmt.Sprintf("%d sent", c.Sent), fmt.Sprintf("%d acked", c.Acked), some(c.Refused, "refused"),
		some(c.Unanswered, "unanswered"), some(c.Cut, "cut off"), some(c.Unsent, "unsent"), some(c.Late, "sent late"))
	if c.Pages+c.PagesRefused+c.PagesUnsent+c.PagesCut > 0 {
		t.Row("history pages", fmt.Sprintf("%d given", c.Pages), some(c.PagesWrong, "wrong"), some(c.PagesRefused, "refused"),
			some(c.PagesUnsent, "could not be asked for"), some(c.PagesCut, "cut off"))
	}
	how := "order checked on every connection"
	if c.Sample > 1 {
		how = fmt.Sprintf("order checked on 1 connection in %d, numbers on all", c.Sample)
	}
	t.Row("check", fmt.Sprintf("%d deliveries: lost %d, duplicated %d, reordered %d, unexpected %d",
		c.Delivered, c.Lost, c.Duplicated, c.Reordered, c.Unexpected), some(c.Loaded, "of them loaded from the history"), "("+how+")", some(uint64(c.Shared), "rooms over several workers"))
}

func (t Table) server(s *Server) {
	if s.ConnectCPU.Known() {
		t.Row("server", fmt.Sprintf("CPU %.2f s to connect (%.0f µs each)", s.ConnectCPU, s.PerConnect))
	} else {
		t.Row("server", "CPU "+notKnown)
	}
	if s.MeasuredCPU > 0 {
		t.Row("", fmt.Sprintf("CPU %.2f s measured (%.0f%% of a core), %.0f deliveries per CPU second",
			s.MeasuredCPU, s.CPUPercent, s.PerCPUSecond))
	}
	t.Row("", fmt.Sprintf("RSS %s, RssAnon %s (%s before)", s.RSS.Mib(), s.RSSAnon.Mib(), s.RSSAnonBefore.Mib()))
}

// Mib writes bytes in MiB.
func Mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
