package report

import "testing"

func TestSlope(t *testing.T) {
	steps := []DensityStep{{Conns: 0, RSSAnon: 900}, {Conns: 10, RSSAnon: 5000}, {Conns: 20, RSSAnon: 9000}, {Conns: 40, RSSAnon: 17000}}
	d := Density{Steps: steps}
	if d.Sum(); d.BytesPerConn < 399.9 || d.BytesPerConn > 400.1 {
		t.Fatalf("%v bytes a connection, want 400", d.BytesPerConn)
	}
	if got := slope(steps[:1], func(s *DensityStep) int64 { return s.RSSAnon }); got != 0 {
		t.Fatalf("slope of one step: %v", got)
	}
}
