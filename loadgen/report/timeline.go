package report

import (
	"encoding/csv"
	"io"
	"strconv"
)

// Second is one second of a run.
type Second struct {
	At        float64 `json:"at_s"` // its end, since the run began
	Phase     string  `json:"phase,omitempty"`
	Open      uint64  `json:"open"` // connections that are members
	Sent      float64 `json:"sent_per_s"`
	Acked     float64 `json:"acked_per_s"`
	Delivered float64 `json:"delivered_per_s"`
	P50       float64 `json:"p50_us"` // of deliveries
	P99       float64 `json:"p99_us"`
	Max       float64 `json:"max_us"`
	Unsent    uint64  `json:"unsent"`
	Closed    uint64  `json:"closed"`
	Rejoined  uint64  `json:"rejoined"`
	Faults    uint64  `json:"faults"`
	ToolCPU   float64 `json:"tool_cpu_percent"` // of one core
	CPU       Figure  `json:"server_cpu_percent,omitempty"`
	RSSAnon   Figure  `json:"server_rss_anon_bytes,omitempty"`
}

// maxSeconds bounds a timeline: longer runs have their first day in it.
const MaxSeconds = 24 * 60 * 60

// NewSecond puts two counts in relation.
func NewSecond(from, to *Snapshot, began int64) Second {
	seconds := float64(to.At-from.At) / 1e9
	per := func(to, from uint64) float64 { return float64(to-from) / seconds }
	return Second{
		At: float64(to.At-began) / 1e9, Open: to.Open(),
		Sent: per(to.Sent, from.Sent), Acked: per(to.Acked, from.Acked), Delivered: per(to.Delivered, from.Delivered),
		P50: to.Recent.P50, P99: to.Recent.P99, Max: to.Recent.Max,
		Unsent: to.Unsent - from.Unsent, Closed: to.Closed - from.Closed, Rejoined: to.Rejoined - from.Rejoined,
		Faults:  to.Duplicated + to.Reordered + to.Unexpected - from.Duplicated - from.Reordered - from.Unexpected,
		ToolCPU: float64(percent(to.Own.CPU-from.Own.CPU, seconds)),
		CPU:     max(0, percent(to.Server.CPU-from.Server.CPU, seconds)), RSSAnon: to.Server.RSSAnon,
	}
}

func percent(cpu Figure, seconds float64) Figure { return cpu / Figure(seconds) * 100 }

// writeCSV writes the timeline, a line a second; of a search, a line an attempt.
func (r *Report) writeCSV(out io.Writer) error {
	if r.FindMax != nil {
		return r.FindMax.writeCSV(out)
	}
	w := csv.NewWriter(out)
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	count := func(v uint64) string { return strconv.FormatUint(v, 10) }
	_ = w.Write([]string{"at_s", "phase", "open", "sent_per_s", "acked_per_s", "delivered_per_s", "p50_us", "p99_us", "max_us",
		"unsent", "closed", "rejoined", "faults", "tool_cpu_percent", "server_cpu_percent", "server_rss_anon_bytes"}) // Error has it
	for i := range r.Timeline {
		s := &r.Timeline[i]
		_ = w.Write([]string{number(s.At), s.Phase, count(s.Open), number(s.Sent), number(s.Acked), number(s.Delivered),
			number(s.P50), number(s.P99), number(s.Max), count(s.Unsent), count(s.Closed), count(s.Rejoined), count(s.Faults),
			number(s.ToolCPU), s.CPU.cell(), s.RSSAnon.cell()}) // Error has it
	}
	w.Flush()
	return w.Error()
}
