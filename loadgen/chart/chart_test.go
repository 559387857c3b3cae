package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

// TestSVG: every chart is well-formed, and its points are in the picture.
func TestSVG(t *testing.T) {
	for name, c := range map[string]Chart{
		"empty":    {Title: "a < b"},
		"one":      {Lines: []Line{{"x", []Point{{5, 5}}}}},
		"dots":     {Dots: true, LogY: true, Lines: []Line{{"x", []Point{{5, 5}, {6, math.NaN()}, {7, 0}}}}},
		"flat":     {Lines: []Line{{"x", []Point{{1, 0}, {2, 0}}}}},
		"gap":      {Lines: []Line{{"x & y", []Point{{1, 3}, {2, math.NaN()}, {3, 4}}}}},
		"log":      {LogY: true, LogX: true, Lines: []Line{{"x", []Point{{1, 3}, {10, 0}, {1000, 4e6}}}}},
		"bands":    {Bands: []Band{{"up", 0, 5}, {"down", 5, 900}}, Lines: []Line{{"x", []Point{{1, 3}, {10, -7}}}}},
		"far away": {Lines: []Line{{"x", []Point{{1e12, 1e-9}, {2e12, 1e12}}}}},
	} {
		svg := c.SVG()
		dec := xml.NewDecoder(strings.NewReader(svg))
		for {
			_, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, svg)
			}
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || len(svg) > 10_000 {
			t.Errorf("%s: %s", name, svg)
		}
	}
}
