package report

// NewServer puts the server's usage at the phases' ends in relation to what
// it did in them.
func NewServer(began, connected, from, to Usage, r *Report) *Server {
	v := &Server{
		ConnectCPU:  (connected.CPU - began.CPU).Seconds(),
		MeasuredCPU: max(0, (to.CPU - from.CPU).Seconds()), // it may have died
		RSS:         to.RSS, RSSAnon: to.RSSAnon, RSSAnonBefore: began.RSSAnon,
	}
	if n := r.Connections.Joined; n > 0 {
		v.PerConnect = v.ConnectCPU / float64(n) * 1e6
	}
	if m := r.Messages; m != nil && v.MeasuredCPU > 0 {
		v.PerCPUSecond = m.DeliveredRate * m.Seconds / v.MeasuredCPU
		v.CPUPercent = v.MeasuredCPU / m.Seconds * 100
	}
	return v
}
