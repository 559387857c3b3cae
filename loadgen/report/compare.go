package report

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// interval is a mean over the seconds of a run, and how far it may be off: 95
// in 100 such intervals have the true mean in them. Seconds next to each other
// are alike, which makes the plain formula too sure of itself; so the means
// of blocks of seconds are taken for the sample.
type interval struct{ mean, off float64 }

const (
	mostBlocks  = 10
	leastBlocks = 3
)

// student is the 97.5 % quantile of Student's t for 2 to 9 degrees of freedom.
var student = []float64{2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}

func newInterval(values []float64) interval {
	n := min(len(values), mostBlocks)
	if n == 0 {
		return interval{math.NaN(), math.Inf(1)}
	}
	means := make([]float64, n)
	var sum float64
	for i := range means {
		block := values[i*len(values)/n : (i+1)*len(values)/n]
		for _, v := range block {
			means[i] += v / float64(len(block))
		}
		sum += means[i]
	}
	iv := interval{mean: sum / float64(n), off: math.Inf(1)}
	if n >= leastBlocks {
		var square float64
		for _, m := range means {
			square += (m - iv.mean) * (m - iv.mean)
		}
		iv.off = student[n-1] * math.Sqrt(square/float64(n-1)/float64(n))
	}
	return iv
}

// against says how iv stands to a first one.
func (iv interval) against(first interval) string {
	if math.IsNaN(iv.mean) || math.IsNaN(first.mean) || first.mean == 0 {
		return ""
	}
	change := fmt.Sprintf("%+.1f%%", (iv.mean/first.mean-1)*100)
	if math.Abs(iv.mean-first.mean) <= math.Hypot(iv.off, first.off) {
		return change + ", no difference shown"
	}
	return change
}

// quantity is one line of a comparison, taken from every second that counts.
type quantity struct {
	name string
	of   func(*Second) float64
	text func(float64) string
}

func plain1(v float64) string { return fmt.Sprintf("%.1f", v) }
func plain0(v float64) string { return fmt.Sprintf("%.0f", v) }

var quantities = []quantity{
	{"sent/s", sent, plain1},
	{"acknowledged/s", acked, plain1},
	{"deliveries/s", delivered, plain0},
	{"delivery p50", p50, Short},
	{"delivery p99", p99, Short},
	{"server CPU %", serverCPU, plain1},
	{"tool CPU %", toolCPU, plain1},
}

// seconds are the values of those seconds in which something was delivered, or
// of all where nothing ever was; the first and the last of them are left out,
// for they are cut off.
func (q *quantity) seconds(r *Report) (values []float64) {
	idle := true
	for i := range r.Timeline {
		idle = idle && r.Timeline[i].Delivered == 0
	}
	for i := range r.Timeline {
		s := &r.Timeline[i]
		if v := q.of(s); (idle || s.Delivered > 0) && !math.IsNaN(v) && r.Measures(s.Phase) {
			values = append(values, v)
		}
	}
	if len(values) > 4 {
		values = values[1 : len(values)-1]
	}
	return values
}

// Measures reports whether a phase counts.
func (r *Report) Measures(name string) bool {
	for i := range r.Phases {
		if r.Phases[i].Name == name {
			return r.Phases[i].Measured
		}
	}
	return len(r.Phases) == 0
}

// Compare writes reports side by side, the first being what the others are
// compared with. Where maxP99 is above 0, worse are the reports whose delivery p99
// is certainly above so many times the first's, and those of which nothing can be
// said: they have no seconds with deliveries, or too few to tell how sure one may be.
func Compare(out io.Writer, names []string, reports []*Report, maxP99 float64) (worse []string, err error) {
	t := NewTable(out)
	t.head(names, reports)
	for i := range quantities {
		q := &quantities[i]
		all := make([]interval, len(reports))
		for k, r := range reports {
			all[k] = newInterval(q.seconds(r))
		}
		if q.name == "delivery p99" && maxP99 > 0 {
			worse = exceeding(names, all, maxP99)
		}
		t.quantity(q, all)
	}
	t.wholes(reports)
	for _, line := range worse {
		t.Row("FAILED", line)
	}
	return worse, t.Flush()
}

// exceeding says which are worse than so many times the first.
func exceeding(names []string, all []interval, most float64) (lines []string) {
	for k, iv := range all {
		switch {
		case math.IsNaN(iv.mean):
			lines = append(lines, names[k]+": delivery p99: nothing was measured")
		case math.IsInf(iv.off, 0):
			lines = append(lines, fmt.Sprintf("%s: delivery p99: measured in too few seconds to be compared (%d at least)", names[k], leastBlocks))
		case k > 0 && iv.mean-iv.off > most*(all[0].mean+all[0].off):
			lines = append(lines, fmt.Sprintf("%s: delivery p99 is above %g times that of %s", names[k], most, names[0]))
		}
	}
	return lines
}

// quantity writes one line of a comparison.
func (t Table) quantity(q *quantity, all []interval) {
	cells := []string{q.name}
	for k, iv := range all {
		cell := "-"
		if !math.IsNaN(iv.mean) {
			cell = q.text(iv.mean)
			if !math.IsInf(iv.off, 0) {
				cell += " ± " + q.text(iv.off)
			}
		}
		if how := iv.against(all[0]); k > 0 && how != "" {
			cell += " (" + how + ")"
		}
		cells = append(cells, cell)
	}
	fmt.Fprintln(t, strings.Join(cells, "\t")) // Flush has the error
}

func (t Table) head(names []string, reports []*Report) {
	var scenarios []string
	for _, r := range reports {
		scenarios = append(scenarios, r.Scenario)
	}
	fmt.Fprintf(t, "\t%s\nscenario\t%s\n", strings.Join(names, "\t"), strings.Join(scenarios, "\t")) // Flush has the error
}

// wholes are figures of a whole run, of which there is one each.
func (t Table) wholes(reports []*Report) {
	row := func(name string, of func(*Report) string) {
		cells := []string{name}
		for _, r := range reports {
			cells = append(cells, of(r))
		}
		fmt.Fprintln(t, strings.Join(cells, "\t")) // Flush has the error
	}
	of := func(name string, q func(*Messages) Quantiles) {
		row(name, func(r *Report) string {
			if r.Messages == nil || q(r.Messages).Count == 0 {
				return "-"
			}
			v := q(r.Messages)
			return fmt.Sprintf("%s / %s / %s / %s", Short(v.P50), Short(v.P99), Short(v.P999), Short(v.Max))
		})
	}
	of("delivery, whole run: p50/p99/p99.9/max", func(m *Messages) Quantiles { return m.Delivery })
	of("last member", func(m *Messages) Quantiles { return m.Last })
	of("acknowledgement", func(m *Messages) Quantiles { return m.Ack })
	row("lost, duplicated, reordered, unexpected", func(r *Report) string {
		if r.Check == nil {
			return "-"
		}
		return fmt.Sprintf("%d, %d, %d, %d", r.Check.Lost, r.Check.Duplicated, r.Check.Reordered, r.Check.Unexpected)
	})
	row("server CPU to connect", func(r *Report) string {
		if r.Server == nil || !r.Server.PerConnect.Known() {
			return "-"
		}
		return fmt.Sprintf("%.0f µs each", r.Server.PerConnect)
	})
	row("deliveries per server CPU second", func(r *Report) string {
		if r.Server == nil || r.Server.PerCPUSecond == 0 || !r.Server.PerCPUSecond.Known() {
			return "-"
		}
		return fmt.Sprintf("%.0f", r.Server.PerCPUSecond)
	})
	row("server memory (RssAnon) a connection", func(r *Report) string {
		switch {
		case r.Density != nil && r.Density.BytesPerConn.Known():
			return fmt.Sprintf("%.0f bytes", r.Density.BytesPerConn)
		case r.Server == nil || r.Connections.Joined == 0 || !(r.Server.RSSAnon > r.Server.RSSAnonBefore):
			return "-" // or it had more before than it needs, or that is not known
		}
		return fmt.Sprintf("%.0f bytes, traffic included", (r.Server.RSSAnon-r.Server.RSSAnonBefore)/Figure(r.Connections.Joined))
	})
	row("result", func(r *Report) string { return r.Verdict() })
}
