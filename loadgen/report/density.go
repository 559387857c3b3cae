package report

import (
	"fmt"

	"github.com/hubbub-chat/hubbub/loadgen/chart"
)

// Density is the density scenario's part of a report.
type Density struct {
	Steps         []DensityStep `json:"steps"`           // the first is before any connection
	BytesPerConn  Figure        `json:"bytes_per_conn"`  // slope of RssAnon over all steps but the first
	HeapBytes     float64       `json:"heap_bytes"`      // the same of the server's Go heap, when metrics were asked for
	SlabBytes     Figure        `json:"slab_bytes"`      // the same of the kernel's slabs: of both ends, when both are here
	OwnBytes      Figure        `json:"own_bytes"`       // the same of this tool
	CPUPerConnect Figure        `json:"cpu_us_per_conn"` // of the server
	BaseBytes     Figure        `json:"base_bytes"`      // RssAnon of a server without connections, what it allocates once with the first included
	Rooms         *DensityRooms `json:"rooms,omitempty"` // absent: not measured
}

// DensityRooms is what rooms take beside their members.
type DensityRooms struct {
	Rooms   int        `json:"rooms"`
	Payload int        `json:"payload_bytes"` // of a message's data
	Steps   []RoomStep `json:"steps"`
	PerRoom Figure     `json:"bytes_per_room"` // with as many messages as the last step has: slope of RssAnon over the steps
}

// RoomStep is what was measured with so many messages in every room.
type RoomStep struct {
	Messages int    `json:"messages"`
	RSSAnon  Figure `json:"rss_anon_bytes"`
}

// Messages is how many every room has at the end.
func (d *DensityRooms) Messages() int {
	if len(d.Steps) == 0 {
		return 0
	}
	return d.Steps[len(d.Steps)-1].Messages
}

func (d *DensityRooms) sum() {
	var x, y []float64
	for _, s := range d.Steps {
		x, y = append(x, float64(s.Messages)*float64(d.Rooms)), append(y, float64(s.RSSAnon))
	}
	perMessage, _ := line(x, y)
	d.PerRoom = max(0, Figure(perMessage)*Figure(d.Messages()))
}

// DensityStep is what was measured with so many connections.
type DensityStep struct {
	Conns   int    `json:"conns"`
	RSSAnon Figure `json:"rss_anon_bytes"`
	Heap    int64  `json:"heap_bytes,omitempty"` // in use, when metrics were asked for
	Slab    Figure `json:"kernel_slab_bytes"`    // of the whole machine: sockets of both ends, when both are here
	Own     Figure `json:"own_rss_anon_bytes"`
	PerConn Figure `json:"bytes_per_conn"` // since the step before
}

// Sum draws the line through the steps. The first, without connections, is
// left out where there are enough others: it would add to the slope what a
// server allocates once.
func (d *Density) Sum() {
	steps := d.Steps
	if len(steps) > 2 {
		steps = steps[1:]
	}
	of := func(value func(*DensityStep) Figure) (slope, base Figure) {
		var x, y []float64
		for i := range steps {
			x, y = append(x, float64(steps[i].Conns)), append(y, float64(value(&steps[i])))
		}
		a, b := line(x, y)
		return Figure(a), Figure(b)
	}
	d.BytesPerConn, d.BaseBytes = of(func(s *DensityStep) Figure { return s.RSSAnon })
	heap, _ := of(func(s *DensityStep) Figure { return Figure(s.Heap) })
	d.HeapBytes = float64(heap)
	d.SlabBytes, _ = of(func(s *DensityStep) Figure { return s.Slab })
	d.OwnBytes, _ = of(func(s *DensityStep) Figure { return s.Own })
	if len(d.Steps) > 0 {
		d.BaseBytes = max(d.BaseBytes, d.Steps[0].RSSAnon)
	}
	if d.Rooms != nil {
		d.Rooms.sum()
	}
}

// line is the least-squares line through points, by its slope and its value at 0.
func line(x, y []float64) (slope, at0 float64) {
	var n, sx, sy, sxx, sxy float64
	for i := range x {
		n, sx, sy, sxx, sxy = n+1, sx+x[i], sy+y[i], sxx+x[i]*x[i], sxy+x[i]*y[i]
	}
	if d := n*sxx - sx*sx; d != 0 {
		slope = (n*sxy - sx*sy) / d
		return slope, (sy - slope*sx) / n
	}
	return 0, sy / max(n, 1)
}

func (t Table) density(d *Density) {
	fmt.Fprintf(t, "connections\tRssAnon\tbytes each\tGo heap\tkernel slab\tthis tool\n")
	for _, s := range d.Steps {
		each, heap := "", ""
		if s.Conns > 0 {
			each = s.PerConn.Text("%.0f")
		}
		if s.Heap > 0 {
			heap = Mib(s.Heap)
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", s.Conns, s.RSSAnon.Mib(), each, heap, s.Slab.Mib(), s.Own.Mib())
	}
	_ = t.Flush()
	t.Row("density", fmt.Sprintf("%s (slope of RssAnon); this tool %s, the kernel's slabs %s for both ends",
		d.BytesPerConn.Text("%.0f bytes a connection"), d.OwnBytes.Text("%.0f"), d.SlabBytes.Text("%.0f")))
	t.Row("without any", d.BaseBytes.Mib()+" (RssAnon)")
	if m := d.Rooms; m != nil {
		t.Row("rooms", fmt.Sprintf("%s with %d messages of %d bytes (slope of RssAnon over %d rooms)", m.PerRoom.Text("%.0f bytes a room"), m.Messages(), m.Payload, m.Rooms))
	}
}

func (d *Density) chart() chart.Chart {
	c := chart.Chart{Title: "resident memory of the server (RssAnon) by connections", XLabel: "connections",
		YTick: func(v float64) string { return Mib(int64(v)) }}
	l := chart.Line{Name: "RssAnon"}
	own := chart.Line{Name: "this tool"}
	for i := range d.Steps {
		s := &d.Steps[i]
		l.Points = append(l.Points, chart.Point{X: float64(s.Conns), Y: float64(s.RSSAnon)})
		own.Points = append(own.Points, chart.Point{X: float64(s.Conns), Y: float64(s.Own)})
	}
	c.Lines = []chart.Line{l, own}
	return c
}
