package report

import (
	"math"
	"testing"
)

func TestDensitySum(t *testing.T) {
	d := Density{
		Steps: []DensityStep{{Conns: 0, RSSAnon: 900}, {Conns: 10, RSSAnon: 5000}, {Conns: 20, RSSAnon: 9000}, {Conns: 40, RSSAnon: 17000}},
		Rooms: &DensityRooms{Rooms: 5, Steps: []RoomStep{{25, 20_000}, {50, 20_000 + 5*25*100}, {100, 20_000 + 5*75*100}}},
	}
	near := func(got Figure, want float64) bool { return math.Abs(float64(got)-want) < 1e-6 }
	if d.Sum(); !near(d.BytesPerConn, 400) || !near(d.BaseBytes, 1000) || !near(d.Rooms.PerRoom, 100*100) {
		t.Errorf("%.1f bytes a connection above %.1f, want 400 above 1000; %.1f a room, want 10000", d.BytesPerConn, d.BaseBytes, d.Rooms.PerRoom)
	}
	one := Density{Steps: []DensityStep{{Conns: 0, RSSAnon: 900}, {Conns: 10, RSSAnon: 5000}}}
	if one.Sum(); !near(one.BytesPerConn, 410) || !near(one.BaseBytes, 900) {
		t.Errorf("one step: %.1f, above %.1f", one.BytesPerConn, one.BaseBytes)
	}
	none := Density{Steps: []DensityStep{{RSSAnon: 900}}}
	if none.Sum(); none.BytesPerConn != 0 || none.BaseBytes != 900 {
		t.Errorf("no step: %+v", none)
	}
}
