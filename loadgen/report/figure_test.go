package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// unknownUsage is what a system without /proc tells of a server.
var unknownUsage = Usage{CPU: Unknown(), RSS: Unknown(), RSSAnon: Unknown()}

// What is not known is null in JSON, empty in CSV and said in the table; never 0.
func TestFiguresNotKnown(t *testing.T) {
	r := Report{Run: "x", Began: time.Unix(0, 0), Messages: &Messages{Seconds: 2, DeliveredRate: 10}, Tool: Tool{CPU: 1, RSS: Unknown(), RSSAnon: Unknown()},
		Density: &Density{Steps: []DensityStep{{RSSAnon: Unknown(), Slab: Unknown(), Own: Unknown()}, {Conns: 10, RSSAnon: Unknown(), Slab: Unknown(), Own: Unknown(), PerConn: Unknown(), Heap: 1 << 20}},
			Rooms: &DensityRooms{Rooms: 2, Steps: []RoomStep{{25, Unknown()}, {50, Unknown()}}}}}
	r.Connections.Joined = 10
	r.Server = NewServer(unknownUsage, unknownUsage, unknownUsage, unknownUsage, &r)
	r.Density.Sum()
	r.Timeline = []Second{NewSecond(&Snapshot{Server: unknownUsage}, &Snapshot{At: 1e9, Server: unknownUsage, Own: Usage{CPU: 0.5}}, 0)}
	s, d := r.Server, r.Density
	for name, f := range map[string]Figure{
		"connect": s.ConnectCPU, "each": s.PerConnect, "measured": s.MeasuredCPU, "percent": s.CPUPercent, "deliveries": s.PerCPUSecond,
		"rss": s.RSS, "anonymous": s.RSSAnon, "before": s.RSSAnonBefore,
		"a connection": d.BytesPerConn, "slabs": d.SlabBytes, "own": d.OwnBytes, "base": d.BaseBytes, "a room": d.Rooms.PerRoom,
		"the second's": r.Timeline[0].CPU, "the second's memory": r.Timeline[0].RSSAnon,
		"without a join": NewServer(unknownUsage, unknownUsage, Usage{}, Usage{}, &Report{}).PerConnect,
	} {
		if f.Known() {
			t.Errorf("%s: %v of what is not known", name, f)
		}
	}
	if r.Timeline[0].ToolCPU != 50 || d.Steps[1].Heap != 1<<20 {
		t.Errorf("what is known is lost: %+v, %+v", r.Timeline[0], d)
	}
	text, err := json.Marshal(&r)
	if err != nil || !strings.Contains(string(text), `"rss_bytes":null`) {
		t.Fatalf("%v: %s", err, text)
	}
	var again Report
	if err := json.Unmarshal(text, &again); err != nil || again.Server.RSS.Known() || again.Density.BytesPerConn.Known() || again.Tool.CPU != 1 {
		t.Errorf("read again: %+v, %v", again, err)
	}
	var table, csv bytes.Buffer
	if err := WriteTable(&table, &r); err != nil || strings.Contains(table.String(), "NaN") || !strings.Contains(table.String(), "RSS "+notKnown) {
		t.Errorf("%v\n%s", err, table.String())
	}
	if err := r.writeCSV(&csv); err != nil || !strings.HasSuffix(csv.String(), ",50,,\n") {
		t.Errorf("%v\n%s", err, csv.String())
	}
	var both bytes.Buffer
	if _, err := Compare(&both, []string{"a", "b"}, []*Report{&r, &again}, 0); err != nil || strings.Contains(both.String(), "NaN") {
		t.Errorf("%v\n%s", err, both.String())
	}
	for _, c := range r.charts() {
		if strings.Contains(string(c), "NaN") {
			t.Errorf("a picture of what is not known: %s", c)
		}
	}
}
