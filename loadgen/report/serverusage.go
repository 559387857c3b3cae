package report

// nothing is 0 of a figure that is known.
func nothing(of Figure) Figure { return 0 * of }

// NewServer puts the server's usage at the phases' ends in relation to what
// it did in them.
func NewServer(began, connected, from, to Usage, r *Report) *Server {
	v := &Server{
		ConnectCPU:  connected.CPU - began.CPU,
		MeasuredCPU: max(0, to.CPU-from.CPU), // it may have died
		RSS:         to.RSS, RSSAnon: to.RSSAnon, RSSAnonBefore: began.RSSAnon,
	}
	v.PerConnect = nothing(v.ConnectCPU)
	v.PerCPUSecond, v.CPUPercent = nothing(v.MeasuredCPU), nothing(v.MeasuredCPU)
	if n := r.Connections.Joined; n > 0 {
		v.PerConnect = v.ConnectCPU / Figure(n) * 1e6
	}
	if m := r.Messages; m != nil && v.MeasuredCPU > 0 {
		v.PerCPUSecond = Figure(m.DeliveredRate*m.Seconds) / v.MeasuredCPU
		v.CPUPercent = v.MeasuredCPU / Figure(m.Seconds) * 100
	}
	return v
}
