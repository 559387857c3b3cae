// Package chart draws small line charts as SVG, for a page that stands alone:
// no script, no font, nothing to be fetched.
package chart

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// Point is one point of a line.
type Point struct{ X, Y float64 }

// Line is one series. A NaN breaks it.
type Line struct {
	Name   string
	Points []Point
}

// Chart is one picture.
type Chart struct {
	Title  string
	XLabel string
	YLabel string
	LogY   bool
	LogX   bool                 // of percentiles: X is 1/(1-q)
	XTick  func(float64) string // text of a place on the X axis; nil: the number
	YTick  func(float64) string
	Dots   bool // the points themselves are shown: each is a measurement of its own
	Lines  []Line
	Bands  []Band // behind the lines
}

// Band is a named stretch of the X axis.
type Band struct {
	Name     string
	From, To float64
}

const (
	width, height            = 760.0, 260.0
	left, right, top, bottom = 70.0, 12.0, 30.0, 40.0
)

// The colours of the lines, told apart by people who see few of them too
// (Okabe and Ito).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"}

// axis maps values to a place between two.
type axis struct {
	min, max float64
	log      bool
	from, to float64
}

func (a *axis) at(v float64) float64 {
	lo, hi, v := a.scale(a.min), a.scale(a.max), a.scale(v)
	if hi == lo {
		return a.from
	}
	return a.from + (v-lo)/(hi-lo)*(a.to-a.from)
}

func (a *axis) scale(v float64) float64 {
	if a.log {
		return math.Log10(max(v, 1e-9))
	}
	return v
}

// ticks are round places on the axis.
func (a *axis) ticks() (t []float64) {
	if a.log {
		for e := math.Floor(math.Log10(a.min)); e <= math.Ceil(math.Log10(a.max)); e++ {
			if v := math.Pow(10, e); v >= a.min*0.999 && v <= a.max*1.001 {
				t = append(t, v)
			}
		}
		return t
	}
	step := math.Pow(10, math.Floor(math.Log10((a.max-a.min)/4)))
	for _, f := range []float64{5, 2} {
		if (a.max-a.min)/(step*f) >= 3 {
			step *= f
			break
		}
	}
	for v := math.Ceil(a.min/step) * step; v <= a.max*1.0001; v += step {
		t = append(t, v)
	}
	return t
}

// SVG draws the chart. One without a point says so.
func (c *Chart) SVG() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, width, height, html.EscapeString(c.Title))
	fmt.Fprintf(&b, `<text class="title" x="%g" y="16">%s</text>`, left, html.EscapeString(c.Title))
	x, y, any := c.axes()
	if !any {
		fmt.Fprintf(&b, `<text x="%g" y="%g">nothing was measured</text></svg>`, left, height/2)
		return b.String()
	}
	c.bands(&b, x)
	c.grid(&b, x, y)
	for i, l := range c.Lines {
		colour := colours[i%len(colours)]
		fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="1.6" d="%s"/>`, colour, path(l.Points, x, y))
		if c.Dots {
			dots(&b, colour, l.Points, x, y)
		}
		fmt.Fprintf(&b, `<text x="%g" y="16" text-anchor="end" fill="%s">%s</text>`, width-right-float64(len(c.Lines)-1-i)*110, colour, html.EscapeString(l.Name))
	}
	b.WriteString("</svg>")
	return b.String()
}

// axes fit the points.
func (c *Chart) axes() (x, y *axis, any bool) {
	x = &axis{math.Inf(1), math.Inf(-1), c.LogX, left, width - right}
	y = &axis{math.Inf(1), math.Inf(-1), c.LogY, height - bottom, top}
	for _, l := range c.Lines {
		for _, p := range l.Points {
			if math.IsNaN(p.Y) || c.LogY && p.Y <= 0 {
				continue
			}
			any = true
			x.min, x.max = min(x.min, p.X), max(x.max, p.X)
			y.min, y.max = min(y.min, p.Y), max(y.max, p.Y)
		}
	}
	if !any {
		return x, y, false
	}
	switch {
	case c.LogY:
		y.min, y.max = math.Pow(10, math.Floor(math.Log10(y.min))), math.Pow(10, math.Ceil(math.Log10(y.max)))
	default:
		y.min = min(0, y.min)
	}
	if y.max == y.min {
		y.max = y.min + 1
	}
	if x.max == x.min {
		x.max = x.min + 1
	}
	return x, y, true
}

func (c *Chart) bands(b *strings.Builder, x *axis) {
	for i, band := range c.Bands {
		from, to := x.at(max(band.From, x.min)), x.at(min(band.To, x.max))
		if to <= from {
			continue
		}
		if i%2 == 1 {
			fmt.Fprintf(b, `<rect class="band" x="%.1f" y="%g" width="%.1f" height="%g"/>`, from, top, to-from, height-top-bottom)
		}
		if to-from > float64(len(band.Name))*6 {
			fmt.Fprintf(b, `<text class="dim" x="%.1f" y="%g">%s</text>`, from+3, top+10, html.EscapeString(band.Name))
		}
	}
}

func (c *Chart) grid(b *strings.Builder, x, y *axis) {
	for _, v := range y.ticks() {
		at := y.at(v)
		fmt.Fprintf(b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="dim" x="%g" y="%.1f" text-anchor="end">%s</text>`,
			left, width-right, at, at, left-5, at+4, html.EscapeString(text(v, c.YTick)))
	}
	for _, v := range x.ticks() {
		at := x.at(v)
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/><text class="dim" x="%.1f" y="%g" text-anchor="middle">%s</text>`,
			at, at, top, height-bottom, at, height-bottom+14, html.EscapeString(text(v, c.XTick)))
	}
	fmt.Fprintf(b, `<text class="dim" x="%g" y="%g" text-anchor="end">%s</text>`, width-right, height-8, html.EscapeString(c.XLabel))
	fmt.Fprintf(b, `<text class="dim" x="12" y="%g" transform="rotate(-90 12 %g)" text-anchor="middle">%s</text>`, height/2, height/2, html.EscapeString(c.YLabel))
}

func text(v float64, f func(float64) string) string {
	if f != nil {
		return f(v)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

func path(points []Point, x, y *axis) string {
	var b strings.Builder
	pen := byte('M')
	for _, p := range points {
		if math.IsNaN(p.Y) || y.log && p.Y <= 0 {
			pen = 'M'
			continue
		}
		fmt.Fprintf(&b, "%c%.1f %.1f", pen, x.at(p.X), y.at(p.Y))
		pen = 'L'
	}
	return b.String()
}

func dots(b *strings.Builder, colour string, points []Point, x, y *axis) {
	for _, p := range points {
		if !math.IsNaN(p.Y) && (!y.log || p.Y > 0) {
			fmt.Fprintf(b, `<circle fill="%s" cx="%.1f" cy="%.1f" r="3"/>`, colour, x.at(p.X), y.at(p.Y))
		}
	}
}
