package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"

	"github.com/hubbub-chat/hubbub/loadgen/chart"
)

//go:embed report.html
var pageText string

var page = template.Must(template.New("report").Parse(pageText))

// saveHTML writes the report as one page that needs nothing else.
func (r *Report) saveHTML(file File) error {
	var text bytes.Buffer
	if err := WriteTable(&text, r); err != nil {
		return err
	}
	return file.Write(func(w io.Writer) error {
		return page.Execute(w, map[string]any{"Report": r, "Text": text.String(), "Charts": r.charts(), "Verdict": r.headline(), "Bad": r.Verdict() != "ok"})
	})
}

// headline is the result in a line, with what was looked for.
func (r *Report) headline() string {
	if r.FindMax == nil {
		return r.Verdict()
	}
	if v := r.Verdict(); v != "ok" {
		return v + "; " + r.FindMax.Line()
	}
	return r.FindMax.Line()
}

// charts are the report's pictures, as many as there is something for.
func (r *Report) charts() (svgs []template.HTML) {
	add := func(c chart.Chart) { svgs = append(svgs, template.HTML(c.SVG())) } //nolint:gosec // its texts are escaped
	if len(r.Timeline) > 1 {
		bands := r.bands()
		micros := func(v float64) string { return Short(v) }
		add(chart.Chart{Title: "latency of deliveries, from the intended send time", XLabel: "seconds", LogY: true, YTick: micros, Bands: bands,
			Lines: r.lines(map[string]func(*Second) float64{"1 p50": p50, "2 p99": p99, "3 max": worst})})
		add(chart.Chart{Title: "messages a second", XLabel: "seconds", Bands: bands,
			Lines: r.lines(map[string]func(*Second) float64{"1 sent": sent, "2 acknowledged": acked})})
		add(chart.Chart{Title: "deliveries a second", XLabel: "seconds", Bands: bands, Lines: r.lines(map[string]func(*Second) float64{"1 delivered": delivered})})
		add(chart.Chart{Title: "connections", XLabel: "seconds", Bands: bands, Lines: r.lines(map[string]func(*Second) float64{"1 members": open})})
		add(chart.Chart{Title: "CPU, percent of one core", XLabel: "seconds", Bands: bands,
			Lines: r.lines(map[string]func(*Second) float64{"1 server": serverCPU, "2 this tool": toolCPU})})
	}
	if len(r.Curves) > 0 {
		add(percentiles(r.Curves))
	}
	if r.Density != nil {
		add(r.Density.chart())
	}
	if r.FindMax != nil {
		for _, c := range r.FindMax.charts() {
			add(c)
		}
	}
	return svgs
}

func p50(s *Second) float64       { return none(s.P50) }
func p99(s *Second) float64       { return none(s.P99) }
func worst(s *Second) float64     { return none(s.Max) }
func sent(s *Second) float64      { return s.Sent }
func acked(s *Second) float64     { return s.Acked }
func delivered(s *Second) float64 { return s.Delivered }
func open(s *Second) float64      { return float64(s.Open) }
func serverCPU(s *Second) float64 { return float64(s.CPU) }
func toolCPU(s *Second) float64   { return s.ToolCPU }

// none makes a gap of a second without a value.
func none(v float64) float64 {
	if v == 0 {
		return math.NaN()
	}
	return v
}

// lines are values over time; a name begins with its place.
func (r *Report) lines(of map[string]func(*Second) float64) []chart.Line {
	all := make([]chart.Line, len(of))
	for name, value := range of {
		l := chart.Line{Name: name[2:]}
		for i := range r.Timeline {
			l.Points = append(l.Points, chart.Point{X: r.Timeline[i].At, Y: value(&r.Timeline[i])})
		}
		all[name[0]-'1'] = l
	}
	return all
}

// bands are the phases.
func (r *Report) bands() (all []chart.Band) {
	for i := range r.Timeline {
		s := &r.Timeline[i]
		if last := len(all) - 1; last >= 0 && all[last].Name == s.Phase {
			all[last].To = s.At
		} else {
			all = append(all, chart.Band{Name: s.Phase, From: s.At - 1, To: s.At})
		}
	}
	return all
}

// percentiles draws distributions with the tail stretched out: each step to
// the right is a tenth of what was left.
func percentiles(curves []Curve) chart.Chart {
	c := chart.Chart{
		Title: "latency by percentile", LogX: true, LogY: true, YTick: func(v float64) string { return Short(v) },
		XTick: func(v float64) string { return fmt.Sprintf("%.6g%%", 100-100/v) },
	}
	for _, v := range curves {
		switch v.Name {
		case "delivery", "ack", "last member", "recovered", "tool lag":
		default:
			continue
		}
		l := chart.Line{Name: v.Name}
		for _, p := range v.Points {
			if p.Micros > 0 {
				l.Points = append(l.Points, chart.Point{X: 1 / (1 - p.Quantile), Y: p.Micros})
			}
		}
		c.Lines = append(c.Lines, l)
	}
	return c
}
