package report

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// Series is one latency of a run by its name.
type Series struct {
	Name string
	Latency
}

// Curve is a latency's distribution: from the median on, each point half as
// far from 1 as the one before it.
type Curve struct {
	Name   string    `json:"name"`
	Points []quantum `json:"points"`
}

type quantum struct {
	Quantile float64 `json:"q"`
	Micros   float64 `json:"us"`
}

// Curve reads the distribution off the histogram.
func (s *Series) Curve() Curve {
	c := Curve{Name: s.Name}
	n := float64(s.h.TotalCount())
	for left := 1.0; left > 0.5/n; left /= math.Sqrt2 {
		q := 1 - left
		c.Points = append(c.Points, quantum{q, float64(s.h.ValueAtQuantile(q*100)) / 1e3})
	}
	return c
}

// saveHgrm writes each latency in the text form of HdrHistogram's plotter, in
// milliseconds.
func saveHgrm(dir string, all []Series) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := range all {
		file := File(filepath.Join(dir, strings.ReplaceAll(all[i].Name, " ", "-")+".hgrm"))
		err := file.Write(func(w io.Writer) error {
			_, err := all[i].h.PercentilesPrint(w, 5, 1e6)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
